"""Arrow arrays → the JSON of each of their values, without a Python object for each.

Numbers are written by orjson, which takes a whole numpy array at once; keys, quotes and brackets are put around them by
Arrow. The bytes are those that orjson writes for the same values as Python objects, but for the fields of a struct
that are null: they are left out, as the result format has it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.arrow_arrays import list_values, lists

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_COMMA = ord(",")
_ESCAPED = np.isin(np.arange(256), [*range(32), ord('"'), ord("\\")])
"""Which bytes a JSON text does not have as they are."""


def row_texts(rows: pa.RecordBatch) -> list[bytes]:
    """Give an object for each row, its columns in their order; `ValueError` where no column is without nulls."""
    if not len(rows):
        return []
    texts = _struct_texts(list(zip(rows.schema.names, rows.columns, strict=True)))
    data, ends = _bytes_of(texts).tobytes(), _ends_of(texts)
    return [data[start:end] for start, end in itertools.pairwise((ends - ends[0]).tolist())]


def json_texts(array: Any) -> Any:
    """Give the JSON of each value as an array of texts; null stays null.

    Takes arrays of numbers, texts, truths, and structs and lists of them; `TypeError` for another type, `ValueError`
    for structs that have each of their fields null somewhere.
    """
    import pyarrow as pa

    kind = array.type
    if not len(array):
        return pa.array([], pa.string())
    if array.null_count:
        return _with_nulls(array)
    if pa.types.is_struct(kind):
        return _struct_texts([(field.name, child) for field, child in zip(kind, array.flatten(), strict=True)])
    if pa.types.is_list(kind):
        return _list_texts(array)
    if pa.types.is_string(kind):
        return _quoted(array)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _number_texts(array)
    raise TypeError(f"no JSON is known for {kind}")


def _struct_texts(fields: Sequence[tuple[str, Any]]) -> Any:
    """Give an object for each row of `fields`, names and columns of one length, in their order."""
    import orjson

    there = [(orjson.dumps(name).decode() + ":", column) for name, column in fields if column.null_count < len(column)]
    always = [number for number, (_, column) in enumerate(there) if column.null_count == 0]
    if not always:
        raise ValueError(f"expected a field without nulls among {', '.join(name for name, _ in fields)}")
    parts: list[Any] = ["{"]
    for number, (key, column) in enumerate(there):
        # Commas stand on the side of the first field that is always there: what is left out takes its comma with it.
        before, after = ("," if number > always[0] else ""), ("," if number < always[0] else "")
        if column.null_count:
            parts.append(_joined(before + key, json_texts(column), after).fill_null(""))
        else:
            parts += [before + key, *_parts_of(column), after]
    return _joined(*parts, "}")


def _joined(*parts: Any) -> Any:
    """Write texts one behind the other, row by row; a part is an array, or the same for all rows."""
    import pyarrow.compute as pc

    merged: list[Any] = []
    for part in parts:  # each part that is left takes a pass over all rows
        if merged and isinstance(part, str) and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    compute: Any = pc
    return compute.binary_join_element_wise(*merged, "")


def _with_nulls(array: Any) -> Any:
    """Write the values that are there, and put each into its place."""
    import pyarrow as pa

    is_there = np.asarray(array.is_valid())
    return json_texts(array.drop_null()).take(pa.array(np.cumsum(is_there) - 1, mask=~is_there))


def _list_texts(array: Any) -> Any:
    import pyarrow.compute as pc

    counts, values = list_values(array)
    return _joined("[", pc.binary_join(lists(counts, json_texts(values).fill_null("null")), ","), "]")


def _parts_of(array: Any) -> list[Any]:
    """What is joined to the JSON of an array without nulls: the quotes of plain texts can wait for their neighbours."""
    import pyarrow as pa

    if pa.types.is_string(array.type) and not _ESCAPED[_bytes_of(array)].any():
        return ['"', array, '"']
    return [json_texts(array)]


def _quoted(array: Any) -> Any:
    import orjson
    import pyarrow as pa

    if not _ESCAPED[_bytes_of(array)].any():
        return _joined('"', array, '"')
    coded = array.dictionary_encode()
    escaped = [orjson.dumps(text).decode() for text in coded.dictionary.to_pylist()]
    return pa.array(escaped, pa.string()).take(coded.indices)


def _number_texts(array: Any) -> Any:
    """Write all numbers as one list, and cut it at its commas."""
    import orjson
    import pyarrow as pa

    written = np.frombuffer(orjson.dumps(array.to_numpy(), option=orjson.OPT_SERIALIZE_NUMPY), np.uint8)
    inside: NDArray[np.uint8] = written[1:-1]
    is_comma = inside == _COMMA
    commas = np.flatnonzero(is_comma)
    ends = np.zeros(len(array) + 1, np.int32)
    ends[1:-1] = commas - np.arange(len(commas))
    ends[-1] = len(inside) - len(commas)
    data = inside[~is_comma].tobytes()
    return pa.StringArray.from_buffers(len(array), pa.py_buffer(ends.tobytes()), pa.py_buffer(data))


def _bytes_of(array: Any) -> NDArray[np.uint8]:
    """All texts, one after the other, in UTF-8."""
    ends, data = _ends_of(array), array.buffers()[2]
    return np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]]


def _ends_of(array: Any) -> NDArray[np.int32]:
    """`(n + 1,)`: where each text begins and the last one ends, in the bytes of the array's buffer."""
    ends = np.frombuffer(array.buffers()[1] or bytes(4), np.int32)
    return ends[array.offset : array.offset + len(array) + 1]
