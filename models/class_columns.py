"""The columns of classification, and of everything else that says classes with scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from models.column_rows import Row, checked, frame_fields, present, with_time
from models.elements import ClassificationElement, Element, MultiLabelElement

if TYPE_CHECKING:
    import pyarrow as pa

CLASS_KEYS = ("class", "class_id", "confidence")


def class_scores() -> pa.DataType:
    """Give the type of a list of classes with their scores."""
    import pyarrow as pa

    return pa.list_(pa.struct([("class", pa.string()), ("class_id", pa.int64()), ("confidence", pa.float64())]))


class ClassificationColumns:
    """classification: `predictions` is a list of classes in the columns, for one label and for many.

    A row with `predicted_classes` holds an element of many labels, whose JSON has a dict by class name in that place.
    """

    def schema(self) -> pa.Schema:
        """Columns `time`, `image`, `predictions`, and `top`, `confidence` or `predicted_classes`."""
        import pyarrow as pa

        return pa.schema(
            [
                *frame_fields(),
                ("predictions", class_scores()),
                ("top", pa.string()),
                ("confidence", pa.float64()),
                ("predicted_classes", pa.list_(pa.string())),
            ]
        )

    def to_row(self, element: Element) -> Row:
        """Name the class inside each score; an element of many labels has it as the dict's key."""
        if "predicted_classes" in element:
            row = checked(element, ("time", "image", "predictions", "predicted_classes"), optional=("time",))
            scores = [{"class": name, **score} for name, score in row["predictions"].items()]
        else:
            row = checked(element, ("time", "image", "predictions", "top", "confidence"), optional=("time",))
            scores = row["predictions"]
        row["predictions"] = [checked(score, CLASS_KEYS) for score in scores]
        return row

    def to_element(self, row: Mapping[str, Any]) -> Element:
        """Give a `MultiLabelElement` where the row has `predicted_classes`, else a `ClassificationElement`."""
        element = present(row, ("time", "image"))
        if row.get("predicted_classes") is None:
            return cast("ClassificationElement", element | present(row, ("predictions", "top", "confidence")))
        element["predictions"] = {
            score["class"]: {"confidence": score["confidence"], "class_id": score["class_id"]}
            for score in row["predictions"]
        }
        element["predicted_classes"] = row["predicted_classes"]
        return cast("MultiLabelElement", element)

    def stamp(self, element: Element, time_s: float, id_seed: str) -> Element:  # noqa: ARG002 - classes have no ids
        """Add `time`."""
        return cast("ClassificationElement", with_time(element, time_s))
