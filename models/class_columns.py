"""The columns of classification, and of everything else that says classes with scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from models.arrow_arrays import filled, lists, structs, texts
from models.column_rows import ElementColumns, Row, checked, frame_fields, frame_images, present
from models.elements import ClassificationElement, Element, ImageSize, MultiLabelElement
from models.json_texts import row_texts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

CLASS_KEYS = ("class", "class_id", "confidence")


def class_scores() -> pa.DataType:
    """Give the type of a list of classes with their scores."""
    import pyarrow as pa

    return pa.list_(pa.struct([("class", pa.string()), ("class_id", pa.int64()), ("confidence", pa.float64())]))


class ClassificationColumns(ElementColumns):
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

    def of_classes(
        self, image: ImageSize, class_ids: NDArray[np.int64], confidences: NDArray[np.float64], names: Sequence[str]
    ) -> pa.RecordBatch:
        """Give rows of one label for n frames of one size, from `(n, k)` class ids and confidences, the best first."""
        import pyarrow as pa

        count, of_each = class_ids.shape
        scores = {
            "class": texts(names, class_ids.reshape(-1)),
            "class_id": class_ids.reshape(-1),
            "confidence": confidences.reshape(-1),
        }
        kind: Any = class_scores()
        columns = {
            "image": frame_images(image, count),
            "predictions": lists([of_each] * count, structs(kind.value_type, scores, class_ids.size)),
            "top": texts(names, class_ids[:, 0]),
            "confidence": confidences[:, 0],
        }
        schema = self.schema()
        return pa.RecordBatch.from_arrays(filled(schema, columns, count), schema=schema)

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

    def json_texts(self, rows: pa.RecordBatch) -> list[bytes]:
        """Give the JSON of each row's element; many labels are a dict by name, which is no struct."""
        if rows.column("predicted_classes").null_count < len(rows):
            return super().json_texts(rows)
        return row_texts(rows)
