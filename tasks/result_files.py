"""The two files of a result while they are written: lists into one JSON object, rows into one Parquet table.

Both are streams: what was written is not held. This module knows nothing of stores, jobs and shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from models.element_columns import ELEMENT_COLUMNS
from tasks.parquet_columns import repeating_columns

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

_NUMBERS_AT_ONCE = 65536


class JsonLists:
    """One JSON object of lists, written list by list; `with` closes the object."""

    def __init__(self, file: BinaryIO) -> None:
        """Write into `file`, which stays open."""
        self._file = file
        self._separator = b"{"

    def __enter__(self) -> JsonLists:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._file.write(b"}\n" if self._separator == b"," else b"{}\n")

    def write_json(self, key: str, parts: Iterable[bytes]) -> None:
        """Append the list called `key`; each of `parts` is the JSON of one item or more, with commas between them."""
        import orjson

        self._file.write(self._separator + orjson.dumps(key) + b":[")
        self._separator = b","
        between = b""
        for part in parts:
            self._file.write(between + part)
            between = b","
        self._file.write(b"]")

    def write_numbers(self, key: str, numbers: NDArray[Any]) -> None:
        """Append the list called `key` of `numbers` `(n,)`, finite ones."""
        import orjson

        parts = (numbers[start : start + _NUMBERS_AT_ONCE] for start in range(0, len(numbers), _NUMBERS_AT_ONCE))
        option = orjson.OPT_SERIALIZE_NUMPY
        self.write_json(key, (orjson.dumps(np.ascontiguousarray(part), option=option)[1:-1] for part in parts))


class ResultTable:
    """predictions.parquet: one row for each frame and model, with the nested columns of all types in it."""

    def __init__(self, path: Path, inference_types: Sequence[str]) -> None:
        """Open `path` for writing; `with` closes it."""
        import pyarrow.parquet as pq

        self.schema = result_schema(inference_types)
        self._writer = pq.ParquetWriter(
            path, self.schema, compression="zstd", use_dictionary=repeating_columns(self.schema)
        )

    def __enter__(self) -> ResultTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def write(self, key: str, outcomes: pa.Table) -> None:
        """Append a shard's rows as rows of the model `key`."""
        self._writer.write_table(_as_result_rows(key, outcomes, self.schema))


def result_schema(inference_types: Sequence[str]) -> pa.Schema:
    """Give the columns of a result with models of these types.

    Where types share a column, its struct has the fields of all of them; a row has null in those of the others.
    """
    import pyarrow as pa

    heads: list[tuple[str, pa.DataType]] = [
        ("frame_offset", pa.int64()),
        ("time_offset", pa.float64()),
        ("model", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
    ]
    schemas = [ELEMENT_COLUMNS[inference_type].schema() for inference_type in dict.fromkeys(inference_types)]
    return pa.unify_schemas([pa.schema(heads), *schemas], promote_options="permissive")


def _as_result_rows(key: str, outcomes: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    rows = outcomes.append_column("model", pa.repeat(pa.scalar(key), len(outcomes)))
    columns = [
        rows.column(field.name).cast(field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
