"""How the elements of each inference type lie in Arrow columns, and the way back, exact to the last bit.

`ELEMENT_COLUMNS` holds one entry for each type. A row is a dict with a key for each column of the entry's schema; a key
that an element may lack is null in its row. This module knows nothing of frames, shards, stores or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol, cast
from uuid import UUID

from models.elements import ClassificationElement, DetectionElement, Element, MultiLabelElement
from models.errors import PermanentError

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


class ElementShapeError(PermanentError):
    """A model gave an element that its inference type does not allow."""


class ElementColumns(Protocol):
    """The columns of one inference type. Stateless; `to_element(to_row(e)) == e`, keys in the format's order."""

    def schema(self) -> pa.Schema:
        """Give the type's own columns; every one of them is null where a frame has no element."""

    def to_row(self, element: Element) -> Row:
        """Spread an element over the columns. Raises `ElementShapeError` for keys too many or too few."""

    def to_element(self, row: Mapping[str, Any]) -> Element:
        """Put the element of one row together again."""

    def stamp(self, element: Element, time_s: float, id_seed: str) -> Element:
        """Fill in what a model does not know: its time for this frame, and ids that follow from `id_seed`."""


def derived_id(id_seed: str, rank: int) -> str:
    """Give the UUID (RFC 9562, version 8) of the `rank`-th thing in the element that `id_seed` names; never drawn."""
    digest = bytearray(blake2b(f"{id_seed}:{rank}".encode(), digest_size=16).digest())
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(digest)))


_DETECTION_KEYS = ("x", "y", "width", "height", "confidence", "class", "class_id", "detection_id")
_CLASS_KEYS = ("class", "class_id", "confidence")


class DetectionColumns:
    """object-detection: `predictions` is a list of boxes, as in the JSON."""

    def schema(self) -> pa.Schema:
        """Columns `time`, `image`, `predictions`."""
        import pyarrow as pa

        numbers: list[tuple[str, pa.DataType]] = [
            (name, pa.float64()) for name in ("x", "y", "width", "height", "confidence")
        ]
        box = [*numbers, ("class", pa.string()), ("class_id", pa.int64()), ("detection_id", pa.string())]
        return pa.schema([*_frame_fields(), ("predictions", pa.list_(pa.struct(box)))])

    def to_row(self, element: Element) -> Row:
        """Give the element as it is, once its keys are found to be the format's."""
        row = _checked(element, ("time", "image", "predictions"), optional=("time",))
        row["predictions"] = [_checked(box, _DETECTION_KEYS, optional=("detection_id",)) for box in row["predictions"]]
        return row

    def to_element(self, row: Mapping[str, Any]) -> Element:
        """Give a `DetectionElement`."""
        element = _present(row, ("time", "image"))
        element["predictions"] = [
            _present(box, _DETECTION_KEYS) if None in box.values() else box for box in row["predictions"]
        ]
        return cast("DetectionElement", element)

    def stamp(self, element: Element, time_s: float, id_seed: str) -> Element:
        """Add `time`, and to each box the `detection_id` that its rank gives."""
        stamped: Row = {"time": time_s, **element}
        stamped["time"] = time_s
        stamped["predictions"] = [
            {**box, "detection_id": derived_id(id_seed, rank)} for rank, box in enumerate(stamped["predictions"])
        ]
        return cast("DetectionElement", stamped)


class ClassificationColumns:
    """classification: `predictions` is a list of classes in the columns, for one label and for many.

    A row with `predicted_classes` holds an element of many labels, whose JSON has a dict by class name in that place.
    """

    def schema(self) -> pa.Schema:
        """Columns `time`, `image`, `predictions`, and `top`, `confidence` or `predicted_classes`."""
        import pyarrow as pa

        score = pa.struct([("class", pa.string()), ("class_id", pa.int64()), ("confidence", pa.float64())])
        return pa.schema(
            [
                *_frame_fields(),
                ("predictions", pa.list_(score)),
                ("top", pa.string()),
                ("confidence", pa.float64()),
                ("predicted_classes", pa.list_(pa.string())),
            ]
        )

    def to_row(self, element: Element) -> Row:
        """Name the class inside each score; an element of many labels has it as the dict's key."""
        if "predicted_classes" in element:
            row = _checked(element, ("time", "image", "predictions", "predicted_classes"), optional=("time",))
            scores = [{"class": name, **score} for name, score in row["predictions"].items()]
        else:
            row = _checked(element, ("time", "image", "predictions", "top", "confidence"), optional=("time",))
            scores = row["predictions"]
        row["predictions"] = [_checked(score, _CLASS_KEYS) for score in scores]
        return row

    def to_element(self, row: Mapping[str, Any]) -> Element:
        """Give a `MultiLabelElement` where the row has `predicted_classes`, else a `ClassificationElement`."""
        element = _present(row, ("time", "image"))
        if row.get("predicted_classes") is None:
            return cast("ClassificationElement", element | _present(row, ("predictions", "top", "confidence")))
        element["predictions"] = {
            score["class"]: {"confidence": score["confidence"], "class_id": score["class_id"]}
            for score in row["predictions"]
        }
        element["predicted_classes"] = row["predicted_classes"]
        return cast("MultiLabelElement", element)

    def stamp(self, element: Element, time_s: float, id_seed: str) -> Element:  # noqa: ARG002 - classes have no ids
        """Add `time`."""
        stamped: Row = {"time": time_s, **element}
        stamped["time"] = time_s
        return cast("ClassificationElement", stamped)


ELEMENT_COLUMNS: dict[str, ElementColumns] = {
    "object-detection": DetectionColumns(),
    "classification": ClassificationColumns(),
}


def stamp(inference_type: str, element: Element, *, time_s: float, id_seed: str) -> Element:
    """Stamp an element of `inference_type`; `KeyError` for a type without columns."""
    return ELEMENT_COLUMNS[inference_type].stamp(element, time_s, id_seed)


def all_finite(table: pa.Table) -> bool:
    """Whether no float of the table, however deeply nested, is NaN or infinite: JSON has no word for those."""
    return all(_array_is_finite(chunk) for column in table.columns for chunk in column.chunks)


def _array_is_finite(array: Any) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(array.type):
        return pc.all(pc.is_finite(array)).as_py() is not False
    if pa.types.is_struct(array.type):
        return all(_array_is_finite(child) for child in array.flatten())
    if pa.types.is_nested(array.type):
        return _array_is_finite(array.flatten())
    return True


def _frame_fields() -> list[tuple[str, pa.DataType]]:
    import pyarrow as pa

    return [("time", pa.float64()), ("image", pa.struct([("width", pa.int64()), ("height", pa.int64())]))]


def _checked(value: Any, keys: Sequence[str], *, optional: Sequence[str] = ()) -> Row:
    """Copy a mapping whose keys are `keys`, give or take the optional ones; Arrow would drop others silently."""
    given = set(value)
    if given - set(keys) or set(keys) - set(optional) - given:
        raise ElementShapeError(
            f"The model gave an element with the keys {', '.join(map(str, value))} where the result format has "
            f"{', '.join(keys)}; its inference type is implemented wrongly."
        )
    return dict(value)


def _present(row: Mapping[str, Any], keys: Sequence[str]) -> Row:
    return {key: row[key] for key in keys if row.get(key) is not None}
