"""Shards: what one model says of one range of samples, as a Parquet file under the fingerprint of all that decides it.

A shard that holds a null with a passing cause is written beside its place as `.retry.parquet`: results may be put
together from it, but it never counts as finished work. This module knows nothing of plans, models and videos.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from models.element_columns import ELEMENT_COLUMNS, all_finite
from models.elements import Element
from models.errors import PermanentError
from tasks.store_interface import KeyNotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.store_interface import Store

NOT_FINITE = "the model gave a number that is not finite (NaN or infinity)"
_FINISHED_NAME = re.compile(r"(\d+)-(\d+)\.parquet")
_ROWS_AS_ELEMENTS = 256
"""Rows that stand as Python objects at one time; those of a crowded frame weigh fifty times their Arrow columns."""


class DamagedShardError(PermanentError):
    """A shard in the store cannot be read, or does not hold what its name says."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one model made of one frame: an element, or the reason why there is none.

    `passing` says that the cause may not come back when tried again.
    """

    frame_offset: int
    time_offset: float
    element: Element | None
    reason: str | None = None
    passing: bool = False

    def __post_init__(self) -> None:
        if (self.element is None) != (self.reason is not None) or (self.passing and self.element is not None):
            raise ValueError(f"frame {self.frame_offset} needs an element, or a reason why it has none, and not both")


def shard_key(fingerprint: str, start: int, stop: int, *, retry: bool = False) -> str:
    """Give the store's key of the shard for samples `start` to `stop`, half-open."""
    return f"shards/{fingerprint}/{start}-{stop}{'.retry' if retry else ''}.parquet"


def finished_shards(store: Store, fingerprint: str) -> set[tuple[int, int]]:
    """Give the half-open ranges of samples whose work is done, from the names in the store alone."""
    names = (info.key.rpartition("/")[2] for info in store.list(f"shards/{fingerprint}"))
    found = (_FINISHED_NAME.fullmatch(name) for name in names)
    return {(int(match[1]), int(match[2])) for match in found if match}


def write_shard(
    store: Store, fingerprint: str, start: int, stop: int, inference_type: str, outcomes: Sequence[Outcome]
) -> None:
    """Write the outcomes of samples `start` to `stop` atomically; the finished shard removes the one to be retried.

    An element with a NaN or an infinity becomes a null with a reason. Raises `ValueError` when there is not one outcome
    for each sample in order, `models.element_columns.ElementShapeError` for an element that is not of the type.
    """
    _require_in_order(start, stop, outcomes)
    facts = {"fingerprint": fingerprint, "start": str(start), "stop": str(stop), "inference_type": inference_type}
    table = _finite_table(outcomes, inference_type)
    retry = any(outcome.passing for outcome in outcomes)
    store.write(shard_key(fingerprint, start, stop, retry=retry), _parquet(table, facts))
    if not retry:
        store.delete([shard_key(fingerprint, start, stop, retry=True)])


def load_shard(store: Store, fingerprint: str, start: int, stop: int, inference_type: str) -> pa.Table | None:
    """Give a shard's table, the finished one before the one to be retried, or `None` where there is neither.

    Columns: frame_offset, time_offset, status ("ok" or "null"), reason, passing, then the type's own. Raises
    `DamagedShardError`, which names the shard.
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
    heads = table.select(["frame_offset", "time_offset", "reason", "passing"]).to_pylist()
    for head, element in zip(heads, elements_of(table, inference_type), strict=True):
        yield Outcome(head["frame_offset"], head["time_offset"], element, head["reason"], head["passing"])


def elements_of(table: pa.Table, inference_type: str) -> Iterator[Element | None]:
    """Yield each row's element, `None` where its status is null; a few hundred rows at a time are Python objects."""
    columns = ELEMENT_COLUMNS[inference_type]
    wanted = table.select(["status", *columns.schema().names])
    for start in range(0, len(wanted), _ROWS_AS_ELEMENTS):
        for row in wanted.slice(start, _ROWS_AS_ELEMENTS).to_pylist():
            yield columns.to_element(row) if row["status"] == "ok" else None


def outcome_schema(inference_type: str) -> pa.Schema:
    """Give the columns of a shard of that type."""
    import pyarrow as pa

    heads = [
        ("frame_offset", pa.int64()),
        ("time_offset", pa.float64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("passing", pa.bool_()),
    ]
    return pa.schema([*(pa.field(name, kind) for name, kind in heads), *ELEMENT_COLUMNS[inference_type].schema()])


def outcome_table(outcomes: Sequence[Outcome], inference_type: str) -> pa.Table:
    """Lay outcomes out in the columns of a shard. Raises `models.element_columns.ElementShapeError`."""
    import pyarrow as pa

    columns = ELEMENT_COLUMNS[inference_type]
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        row: dict[str, Any] = {
            "frame_offset": outcome.frame_offset,
            "time_offset": outcome.time_offset,
            "status": "null" if outcome.element is None else "ok",
            "reason": outcome.reason,
            "passing": outcome.passing,
        }
        rows.append(row if outcome.element is None else row | columns.to_row(outcome.element))
    return pa.Table.from_pylist(rows, schema=outcome_schema(inference_type))


def _require_in_order(start: int, stop: int, outcomes: Sequence[Outcome]) -> None:
    if not 0 <= start < stop or len(outcomes) != stop - start:
        raise ValueError(f"a shard of samples {start} to {stop} cannot hold {len(outcomes)} outcomes")
    offsets = [outcome.frame_offset for outcome in outcomes]
    if any(later <= earlier for earlier, later in itertools.pairwise(offsets)):
        raise ValueError(f"the outcomes of samples {start} to {stop} do not stand in the order of their frames")


def _finite_table(outcomes: Sequence[Outcome], inference_type: str) -> pa.Table:
    table = outcome_table(outcomes, inference_type)
    if all_finite(table):
        return table
    refused = [
        outcome if all_finite(table.slice(row, 1)) else _without_element(outcome)
        for row, outcome in enumerate(outcomes)
    ]
    return outcome_table(refused, inference_type)


def _without_element(outcome: Outcome) -> Outcome:
    return Outcome(outcome.frame_offset, outcome.time_offset, element=None, reason=NOT_FINITE)


def _parquet(table: pa.Table, facts: dict[str, str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    facts = facts | {"written_at": datetime.now(UTC).isoformat()}
    with pa.BufferOutputStream() as sink:
        pq.write_table(table.replace_schema_metadata(facts), sink, compression="zstd", write_page_checksum=True)
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
