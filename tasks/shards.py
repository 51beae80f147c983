"""Shards: what one model says of one range of samples, as a Parquet file under the fingerprint of all that decides it.

A shard that holds a null with a passing cause is written beside its place as `.retry.parquet`: results may be put
together from it, but it never counts as finished work. This module knows nothing of plans, models and videos.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from models.element_columns import all_finite
from models.errors import PermanentError
from tasks.outcomes import Outcome, outcome_schema, outcome_table, outcomes_of, with_finite_elements
from tasks.parquet_columns import repeating_columns
from tasks.removals import wait_until_settled
from tasks.store_interface import KeyNotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.store_interface import Store

_FINISHED_NAME = re.compile(r"(\d+)-(\d+)\.parquet")


class DamagedShardError(PermanentError):
    """A shard in the store cannot be read, or does not hold what its name says."""


def shard_key(fingerprint: str, start: int, stop: int, *, retry: bool = False) -> str:
    """Give the store's key of the shard for samples `start` to `stop`, half-open."""
    return f"shards/{fingerprint}/{start}-{stop}{'.retry' if retry else ''}.parquet"


def finished_shards(store: Store, fingerprint: str) -> set[tuple[int, int]]:
    """Give the half-open ranges of samples whose work is done, from the names in the store alone.

    What is being removed for its age is waited for: a job asks when its spec says already that it uses them.
    """
    wait_until_settled(store, f"shards/{fingerprint}")
    names = (info.key.rpartition("/")[2] for info in store.list(f"shards/{fingerprint}"))
    found = (_FINISHED_NAME.fullmatch(name) for name in names)
    return {(int(match[1]), int(match[2])) for match in found if match}


def write_shard(
    store: Store, fingerprint: str, start: int, stop: int, inference_type: str, outcomes: Sequence[Outcome]
) -> None:
    """Write outcomes as `write_shard_table` does.

    Raises `models.element_columns.ElementShapeError` for an element that is not of the type.
    """
    write_shard_table(store, fingerprint, start, stop, inference_type, outcome_table(outcomes, inference_type))


def write_shard_table(
    store: Store, fingerprint: str, start: int, stop: int, inference_type: str, outcomes: pa.Table
) -> None:
    """Write the outcomes of samples `start` to `stop` atomically; the finished shard removes the one to be retried.

    `outcomes` are rows as `tasks.outcomes` has them. An element with a NaN or an infinity becomes a null with a reason.
    Raises `ValueError` when there is not one outcome for each sample in order.
    """
    _require_in_order(start, stop, outcomes)
    facts = {"fingerprint": fingerprint, "start": str(start), "stop": str(stop), "inference_type": inference_type}
    table = with_finite_elements(outcomes, inference_type)
    retry = bool(np.any(table["passing"].to_numpy()))
    store.write(shard_key(fingerprint, start, stop, retry=retry), _parquet(table, facts))
    if not retry:
        store.delete([shard_key(fingerprint, start, stop, retry=True)])


def load_shard(store: Store, fingerprint: str, start: int, stop: int, inference_type: str) -> pa.Table | None:
    """Give a shard's table, the finished one before the one to be retried, or `None` where there is neither.

    Its columns are those of `tasks.outcomes`. Raises `DamagedShardError`, which names the shard.
    """
    finished, retry = (shard_key(fingerprint, start, stop, retry=retry) for retry in (False, True))
    for key in (finished, retry, finished):  # the second may give way to the first between two looks
        try:
            data = store.read(key)
        except KeyNotFoundError:
            continue
        return _checked_table(key, data, start, stop, inference_type)
    return None


def read_shard(store: Store, fingerprint: str, start: int, stop: int, inference_type: str) -> Iterator[Outcome]:
    """Yield the outcomes of a shard, none where there is no shard. Raises `DamagedShardError`."""
    table = load_shard(store, fingerprint, start, stop, inference_type)
    if table is None:
        return
    yield from outcomes_of(table, inference_type)


def _require_in_order(start: int, stop: int, outcomes: pa.Table) -> None:
    if not 0 <= start < stop or len(outcomes) != stop - start:
        raise ValueError(f"a shard of samples {start} to {stop} cannot hold {len(outcomes)} outcomes")
    if np.any(np.diff(outcomes["frame_offset"].to_numpy()) <= 0):
        raise ValueError(f"the outcomes of samples {start} to {stop} do not stand in the order of their frames")


def _parquet(table: pa.Table, facts: dict[str, str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    facts = facts | {"written_at": datetime.now(UTC).isoformat()}
    with pa.BufferOutputStream() as sink:
        pq.write_table(
            table.replace_schema_metadata(facts),
            sink,
            compression="zstd",
            use_dictionary=repeating_columns(table.schema),
            write_statistics=False,  # nobody searches a shard, and checksums do not cover them
            write_page_checksum=True,
        )
        return bytes(sink.getvalue())


def _checked_table(key: str, data: bytes, start: int, stop: int, inference_type: str) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        facts = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
        table = table.select(outcome_schema(inference_type).names).cast(outcome_schema(inference_type))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _damaged(key, str(error).splitlines()[0]) from error
    said = (facts.get("inference_type"), facts.get("start"), facts.get("stop"))
    if said != (inference_type, str(start), str(stop)) or len(table) != stop - start:
        raise _damaged(key, f"it holds {len(table)} rows and says {said[0]}, samples {said[1]} to {said[2]}")
    if not all_finite(table):
        raise _damaged(key, "it holds a number that is not finite")
    return table


def _damaged(key: str, why: str) -> DamagedShardError:
    return DamagedShardError(f"The shard {key} is damaged ({why}); delete it from the store and submit the job again.")
