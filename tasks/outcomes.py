"""What one model made of each frame of a range, as rows of a table: an element's columns, or the reason for a null.

Columns: frame_offset, time_offset, status ("ok" or "null"), reason, passing, then those of the inference type. This
module knows nothing of files and stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.element_columns import ELEMENT_COLUMNS, all_finite
from models.elements import Element

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

NOT_FINITE = "the model gave a number that is not finite (NaN or infinity)"
_BYTES_AT_ONCE = 2**20
"""Of columns that are turned into elements or JSON together; as Python objects they weigh up to fifty times that."""


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


def outcome_schema(inference_type: str) -> pa.Schema:
    """Give the columns of a table of that type."""
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
    """Lay outcomes out in columns. Raises `models.element_columns.ElementShapeError`."""
    good = [number for number, outcome in enumerate(outcomes) if outcome.element is not None]
    places = np.full(len(outcomes), -1)
    places[good] = np.arange(len(good))
    elements = [outcome.element for outcome in outcomes if outcome.element is not None]
    return rows_table(
        inference_type,
        frame_offset=np.array([outcome.frame_offset for outcome in outcomes], np.int64),
        time_offset=np.array([outcome.time_offset for outcome in outcomes], np.float64),
        rows=[ELEMENT_COLUMNS[inference_type].rows(elements)],
        places=places,
        reasons=[outcome.reason for outcome in outcomes],
        passing=[outcome.passing for outcome in outcomes],
    )


def rows_table(
    inference_type: str,
    *,
    frame_offset: NDArray[np.int64],
    time_offset: NDArray[np.float64],
    rows: Sequence[pa.RecordBatch],
    places: NDArray[np.int64],
    reasons: Sequence[str | None],
    passing: Sequence[bool],
) -> pa.Table:
    """Lay n outcomes out in columns.

    `rows` hold elements in the type's columns; `places` `(n,)` says which of all their rows is each frame's, -1 for
    none. What is not pointed at is left out.
    """
    import pyarrow as pa

    missing = places < 0
    elements: dict[str, Any] = {}
    if not missing.all():
        pointers: Any = pa.array(places, mask=missing)
        taken = pa.Table.from_batches(rows).take(pointers)
        elements = dict(zip(taken.column_names, taken.columns, strict=True))
    heads: dict[str, Any] = {
        "frame_offset": frame_offset,
        "time_offset": time_offset,
        "status": pa.array(["ok", "null"]).take(missing.astype(np.int64)),
        "reason": pa.array(reasons, pa.string()),
        "passing": pa.array(passing, pa.bool_()),
    }
    schema = outcome_schema(inference_type)
    columns = heads | elements
    return pa.Table.from_arrays(
        [columns[field.name] if field.name in columns else pa.nulls(len(places), field.type) for field in schema],
        schema=schema,
    )


def null_table(
    inference_type: str,
    frame_offset: NDArray[np.int64],
    time_offset: NDArray[np.float64],
    reason: str,
    *,
    passing: bool,
) -> pa.Table:
    """Give a null for each frame, for one reason."""
    count = len(frame_offset)
    return rows_table(
        inference_type,
        frame_offset=frame_offset,
        time_offset=time_offset,
        rows=[],
        places=np.full(count, -1),
        reasons=[reason] * count,
        passing=[passing] * count,
    )


def with_finite_elements(table: pa.Table, inference_type: str) -> pa.Table:
    """Put a null with a reason in the place of each element with a NaN or an infinity."""
    if all_finite(table):
        return table
    is_finite = np.array([all_finite(table.slice(row, 1)) for row in range(len(table))])
    refused = [row for row in range(len(table)) if not is_finite[row]]
    places, reasons = np.where(is_finite & is_ok(table), np.arange(len(table)), -1), table["reason"].to_pylist()
    for row in refused:
        reasons[row] = NOT_FINITE
    own = table.select(ELEMENT_COLUMNS[inference_type].schema().names).combine_chunks()
    return rows_table(
        inference_type,
        frame_offset=table["frame_offset"].to_numpy(),
        time_offset=table["time_offset"].to_numpy(),
        rows=own.to_batches(),
        places=places,
        reasons=reasons,
        passing=table["passing"].to_numpy().tolist(),
    )


def is_ok(table: pa.Table) -> NDArray[np.bool_]:
    """Which rows have an element, `(n,)`."""
    import pyarrow.compute as pc

    compute: Any = pc
    made: NDArray[np.bool_] = compute.equal(table["status"], "ok").to_numpy()
    return made


def outcomes_of(table: pa.Table, inference_type: str) -> Iterator[Outcome]:
    """Yield the rows as outcomes."""
    columns = ELEMENT_COLUMNS[inference_type]
    for part, good in _parts(table, inference_type):
        heads = part.select(["frame_offset", "time_offset", "reason", "passing"]).to_pylist()
        elements = iter(columns.elements(good))
        for head, ok in zip(heads, is_ok(part), strict=True):
            element = next(elements) if ok else None
            yield Outcome(head["frame_offset"], head["time_offset"], element, head["reason"], head["passing"])


def json_of_elements(table: pa.Table, inference_type: str) -> Iterator[bytes]:
    """Yield the JSON of each row's element in order, many at a time with commas between; null where there is none."""
    columns = ELEMENT_COLUMNS[inference_type]
    for part, good in _parts(table, inference_type):
        texts = iter(columns.json_texts(good))
        yield b",".join([next(texts) if ok else b"null" for ok in is_ok(part).tolist()])


def _parts(table: pa.Table, inference_type: str) -> Iterator[tuple[pa.Table, pa.RecordBatch]]:
    """Cut a table into parts of a few megabytes; gives each with the columns of the elements that it has."""
    import pyarrow as pa

    schema = ELEMENT_COLUMNS[inference_type].schema()
    rows_at_once = max(1, _BYTES_AT_ONCE * len(table) // max(1, table.nbytes))
    for start in range(0, len(table), rows_at_once):
        part = table.slice(start, rows_at_once)
        ok = is_ok(part)
        good = part.select(schema.names)
        good = (good if ok.all() else good.filter(pa.array(ok))).combine_chunks()
        yield part, pa.RecordBatch.from_arrays([_only_chunk(column) for column in good.columns], schema=schema)


def _only_chunk(column: Any) -> Any:
    import pyarrow as pa

    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
