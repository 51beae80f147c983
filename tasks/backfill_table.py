"""The state of a backfill: a row for each video, kept as `backfills/{name}/videos.parquet` in the store.

Pure but for reading and writing that file, which is replaced as a whole, so that a reader sees one moment.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID, uuid5

from models.errors import PermanentError
from tasks.backfill_items import Item
from tasks.store_interface import KeyNotFoundError, Store

if TYPE_CHECKING:
    import pyarrow as pa

RowState = Literal["waiting", "registered", "running", "done", "failed", "skipped"]
Again = Literal["no", "failed", "all"]
STATES: tuple[RowState, ...] = ("waiting", "registered", "running", "done", "failed", "skipped")
ENDED = frozenset({"done", "failed", "skipped"})
_JOBS = UUID("b3f3c1de-3a77-5c5e-9a0c-7d4b5f9e2a10")
"""The namespace of jobs that belong to a backfill."""


class DamagedTableError(PermanentError):
    """The file of a backfill's state cannot be read."""


@dataclass
class Row:
    """One video of a backfill."""

    source: str
    identity: str
    job_id: str
    stamp: str = ""
    overrides: str = "{}"
    """What the list said of it otherwise than the request, as JSON."""
    idempotency_key: str = ""
    state: RowState = "waiting"
    reason: str = ""
    """Why it failed, or was skipped."""
    may_pass: bool = False
    """Whether the failure is one that may be gone the next time."""
    video_id: str = ""
    frames_total: int = 0
    frames_failed: int = 0
    output_uri: str = ""
    attempts: int = 0
    """How often GPU runs were started for it."""
    decode_cpu_s: float = 0.0
    gpu_s: float = 0.0
    """Of all models."""
    read_bytes: int = 0
    written_bytes: int = 0
    updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def ended(self) -> bool:
        """Whether nothing more is done for it in this run."""
        return self.state in ENDED

    def to(self, state: RowState, **facts: Any) -> None:
        """Move it to a state, with what is known by then."""
        for name, value in {"reason": "", "may_pass": False, **facts}.items():
            setattr(self, name, value)
        self.state = state
        self.updated_at = datetime.now(UTC)


def table_key(name: str) -> str:
    """Where a backfill's state lies."""
    return f"backfills/{name}/videos.parquet"


def job_id_for(name: str, common: dict[str, Any], item: Item) -> str:
    """The id of the item's job: the same whenever the same backfill comes to the same file again."""
    facts = [name, common, item.identity, item.shown, dict(item.overrides), item.stamp]
    return str(uuid5(_JOBS, json.dumps(facts, sort_keys=True, default=str)))


def new_row(name: str, common: dict[str, Any], item: Item) -> Row:
    """The row of an item that nothing is known of."""
    return Row(
        source=item.shown,
        identity=item.identity,
        job_id=job_id_for(name, common, item),
        stamp=item.stamp,
        overrides=json.dumps(dict(item.overrides), sort_keys=True, default=str),
        idempotency_key=item.idempotency_key,
    )


def merged(rows: Sequence[Row], fresh: Sequence[Row], again: Again) -> list[Row]:
    """What stood in the table and what the source has now, in the source's order, then what it has no more.

    A file that changed since begins anew. A row that ended stays as it is, unless its failure may pass or `again` says
    so. A row that had not ended and is no longer in the source is skipped.
    """
    known = {row.identity: row for row in rows}
    found = [_gone_on(known.pop(row.identity, None), row, again) for row in fresh]
    gone = [row if row.ended else replace(row, state="skipped", reason=_GONE) for row in known.values()]
    return found + gone


_GONE = "it is no longer in the source"


def _gone_on(known: Row | None, fresh: Row, again: Again) -> Row:
    if known is None or known.job_id != fresh.job_id:
        return fresh
    come_back = known.state == "skipped" and known.reason == _GONE
    wanted = again == "all" or (known.state == "failed" and (known.may_pass or again == "failed")) or come_back
    if known.ended and not wanted:
        return known
    return replace(known, state="registered" if known.video_id else "waiting", reason="", may_pass=False)


def counts(rows: Iterable[Row]) -> dict[str, int]:
    """How many rows are in each state, in the states' order."""
    found = Counter(row.state for row in rows)
    return {state: found[state] for state in STATES}


def sums(rows: Iterable[Row]) -> dict[str, float]:
    """Frames and costs of all rows together."""
    names = ("frames_total", "frames_failed", "decode_cpu_s", "gpu_s", "read_bytes", "written_bytes")
    given = list(rows)
    return {name: round(sum(getattr(row, name) for row in given), 3) for name in names}


def write_table(store: Store, name: str, rows: Sequence[Row]) -> None:
    """Replace the backfill's state in the store."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=_schema())
    with pa.BufferOutputStream() as sink:
        pq.write_table(table, sink, compression="zstd")
        store.write(table_key(name), bytes(sink.getvalue()))


def read_table(store: Store, name: str) -> list[Row]:
    """The rows of a backfill's state, none where there is none yet. Raises `DamagedTableError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    key = table_key(name)
    try:
        table = pq.read_table(pa.BufferReader(store.read(key)))
        known = [field for field in _schema() if field.name in table.column_names]  # older tables lack the newest
        rows = table.select([field.name for field in known]).cast(pa.schema(known)).to_pylist()
        return [Row(**row) for row in rows]
    except KeyNotFoundError:
        return []
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise DamagedTableError(
            f"the backfill's state {key} cannot be read ({str(error).splitlines()[0]}); delete it from the store, and "
            "start the backfill again: finished results are found without it."
        ) from None


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds: dict[str, pa.DataType] = {
        "str": pa.string(),
        "RowState": pa.string(),
        "bool": pa.bool_(),
        "int": pa.int64(),
        "float": pa.float64(),
    }
    kinds["datetime"] = pa.timestamp("us", tz="UTC")
    return pa.schema([(one.name, kinds[str(one.type)]) for one in fields(Row)])
