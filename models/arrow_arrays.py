"""Nested Arrow arrays out of plain ones: structs, lists by their lengths, names of class ids. Knows no inference type.

What has a few thousand objects goes through here in a few calls, however many objects there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


def filled(kind: Any, columns: Mapping[str, Any], length: int) -> list[pa.Array[Any]]:
    """Give an array of `length` for each field of the struct type or schema `kind`; null where `columns` has none.

    Columns are Arrow arrays, lists, or numpy arrays of numbers. Raises `KeyError` for one that `kind` does not have.
    """
    import pyarrow as pa

    fields = {field.name: field.type for field in kind}
    if surplus := columns.keys() - fields.keys():
        raise KeyError(f"no column for {', '.join(sorted(surplus))}")
    return [
        _typed(columns[name], of_field) if name in columns else pa.nulls(length, of_field)
        for name, of_field in fields.items()
    ]


def structs(kind: pa.StructType, columns: Mapping[str, Any], length: int) -> pa.StructArray:
    """Give `length` structs with what `columns` says of their fields, null in the others."""
    import pyarrow as pa

    return pa.StructArray.from_arrays(filled(kind, columns, length), fields=list(kind))


def lists(counts: NDArray[np.int64] | Sequence[int], values: pa.Array[Any]) -> pa.ListArray[Any]:
    """Give a list for each of `counts`, with so many of the values that follow each other."""
    import pyarrow as pa

    ends = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=ends[1:])
    made: pa.ListArray[Any] = pa.ListArray.from_arrays(cast("pa.Int32Array", pa.array(ends)), values)
    return made


def list_values(column: Any) -> tuple[NDArray[np.int64], pa.Array[Any]]:
    """Give how many values each list has, none for a null, and the values of all of them."""
    offsets = np.asarray(column.offsets).astype(np.int64)
    counts = np.diff(offsets)
    if column.null_count:
        counts[np.asarray(column.is_null())] = 0
    return counts, column.flatten()


def texts(names: Sequence[str], places: NDArray[np.int64]) -> pa.Array[Any]:
    """Give the name at each of `places` `(n,)`."""
    return _text_array(tuple(names)).take(places)


@lru_cache(maxsize=64)
def _text_array(names: tuple[str, ...]) -> pa.Array[Any]:
    """A model's class names, which are the same for each of its batches."""
    import pyarrow as pa

    return pa.array(names, pa.string())


def _typed(column: Any, kind: pa.DataType) -> Any:
    import pyarrow as pa

    if isinstance(column, np.ndarray):
        return pa.array(np.ascontiguousarray(column), kind)
    return pa.array(column, kind) if isinstance(column, list) else column
