"""What the columns of every inference type share: rows, checks of their keys, fields, and the ways to them and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.elements import Element, ImageSize
from models.errors import PermanentError

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


class ElementShapeError(PermanentError):
    """A model gave an element that its inference type does not allow."""


class ElementColumns(ABC):
    """The columns of one inference type. Stateless; `to_element(to_row(e)) == e`, keys in the format's order.

    Many rows at once are a `pa.RecordBatch` of the type's schema.
    """

    @abstractmethod
    def schema(self) -> pa.Schema:
        """Give the type's own columns; every one of them is null where a frame has no element.

        Columns of one name must be of one kind in all types (a list of structs, a struct, a number): a result's table
        has the fields of all of them.
        """

    @abstractmethod
    def to_row(self, element: Element) -> Row:
        """Spread an element over the columns. Raises `ElementShapeError` for keys too many or too few."""

    @abstractmethod
    def to_element(self, row: Mapping[str, Any]) -> Element:
        """Put the element of one row together again."""

    def rows(self, elements: Sequence[Element]) -> pa.RecordBatch:
        """Spread elements over the columns. Raises `ElementShapeError` as `to_row` does."""
        import pyarrow as pa

        return pa.RecordBatch.from_pylist([self.to_row(element) for element in elements], schema=self.schema())

    def elements(self, rows: pa.RecordBatch) -> list[Element]:
        """Put the elements of rows together again; no row is null."""
        return [self.to_element(row) for row in rows.to_pylist()]

    def stamped(self, rows: pa.RecordBatch, time_s: float, id_seeds: Sequence[str]) -> pa.RecordBatch:  # noqa: ARG002
        """Fill in what a model does not know: the time of each frame, and ids that follow from the seed of each row."""
        import pyarrow as pa

        place = rows.schema.get_field_index("time")
        return rows if place < 0 else rows.set_column(place, "time", pa.array(np.full(len(rows), time_s)))

    def json_texts(self, rows: pa.RecordBatch) -> list[bytes]:
        """Give the JSON of each row's element; no row is null."""
        import orjson

        return [orjson.dumps(element) for element in self.elements(rows)]


def frame_fields() -> list[tuple[str, pa.DataType]]:
    """Give the fields that most elements begin with: `time` and `image`."""
    import pyarrow as pa

    return [("time", pa.float64()), ("image", pa.struct([("width", pa.int64()), ("height", pa.int64())]))]


def frame_images(image: ImageSize, count: int) -> pa.StructArray:
    """Give the field `image` of `count` frames of one size."""
    import pyarrow as pa

    sides = [pa.array(np.full(count, image[side], np.int64)) for side in ("width", "height")]
    return pa.StructArray.from_arrays(sides, ["width", "height"])


def checked(value: Any, keys: Sequence[str], *, optional: Sequence[str] = ()) -> Row:
    """Copy a mapping whose keys are `keys`, give or take the optional ones; Arrow would drop others silently."""
    given = set(value) if isinstance(value, Mapping) else set()
    if given - set(keys) or set(keys) - set(optional) - given:
        raise ElementShapeError(
            f"The model gave an element with the keys {', '.join(sorted(map(str, given)))} where the result format has "
            f"{', '.join(keys)}; its inference type is implemented wrongly."
        )
    return dict(value)


def present(row: Mapping[str, Any], keys: Sequence[str]) -> Row:
    """Copy those of the keys, in their order, that the row does not have as null."""
    return {key: row[key] for key in keys if row.get(key) is not None}
