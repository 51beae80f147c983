"""Which columns of a Parquet file say the same few words again and again, and are worth a dictionary of them.

A dictionary of numbers or of ids costs a third of the time that writing takes, and makes the file larger.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_DIFFERENT_EACH_TIME = {"detection_id", "counts", "segmentation_mask", "confidence_mask"}


def repeating_columns(schema: pa.Schema) -> Any:
    """Give the paths of the texts that repeat, as Parquet counts columns: `predictions.list.element.class`.

    A list of str; pyarrow's stubs know no such value for its `use_dictionary`.
    """
    return [path for field in schema for path in _text_paths(field.name, field.name, field.type)]


def _text_paths(name: str, path: str, kind: Any) -> Iterator[str]:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        for field in kind:
            yield from _text_paths(field.name, f"{path}.{field.name}", field.type)
    elif pa.types.is_list(kind):
        yield from _text_paths(name, f"{path}.list.element", kind.value_type)
    elif pa.types.is_string(kind) and name not in _DIFFERENT_EACH_TIME:
        yield path
