"""The columns of types whose predictions are boxes: `predictions` is a list of boxes, as in the JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from models.arrow_arrays import filled, list_values, lists, structs, texts
from models.column_rows import ElementColumns, Row, checked, frame_fields, frame_images, present
from models.derived_ids import derived_ids
from models.elements import Element, ImageSize
from models.json_texts import row_texts

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


class BoxColumns(ElementColumns):
    """object-detection; types with more in each box add to `fields` and `keys`."""

    keys: ClassVar[tuple[str, ...]] = (
        "x",
        "y",
        "width",
        "height",
        "confidence",
        "class",
        "class_id",
        "detection_id",
    )
    """Of one box, in the format's order."""
    optional: ClassVar[tuple[str, ...]] = ("detection_id",)

    def fields(self) -> dict[str, pa.DataType]:
        """Give the type of each key of a box."""
        import pyarrow as pa

        numbers = dict.fromkeys(("x", "y", "width", "height", "confidence"), pa.float64())
        return {**numbers, "class": pa.string(), "class_id": pa.int64(), "detection_id": pa.string()}

    @cache  # noqa: B019 - one object of each class lives, as long as the process
    def schema(self) -> pa.Schema:
        """Columns `time`, `image`, `predictions`."""
        import pyarrow as pa

        return pa.schema([*frame_fields(), ("predictions", pa.list_(self.box()))])

    @cache  # noqa: B019
    def box(self) -> pa.StructType:
        """Give the type of a box."""
        import pyarrow as pa

        fields = self.fields()
        return pa.struct([(key, fields[key]) for key in self.keys])

    def of_boxes(self, image: ImageSize, counts: NDArray[np.int64], boxes: Mapping[str, Any]) -> pa.RecordBatch:
        """Give a row for each of `counts`, the boxes of each frame, with what `boxes` says of their fields, in order.

        Fields are arrays of one length, Arrow's or numpy's; those that are not there are null.
        """
        import pyarrow as pa

        total = int(counts.sum())
        columns = {
            "image": frame_images(image, len(counts)),
            "predictions": lists(counts, structs(self.box(), boxes, total)),
        }
        schema = self.schema()
        return pa.RecordBatch.from_arrays(filled(schema, columns, len(counts)), schema=schema)

    def to_row(self, element: Element) -> Row:
        """Give the element as it is, once its keys are found to be the format's."""
        row = checked(element, ("time", "image", "predictions"), optional=("time",))
        row["predictions"] = [checked(box, self.keys, optional=self.optional) for box in row["predictions"]]
        return row

    def to_element(self, row: Mapping[str, Any]) -> Element:
        """Give the element of boxes."""
        element = present(row, ("time", "image"))
        element["predictions"] = [
            present(box, self.keys) if None in box.values() else box for box in row["predictions"]
        ]
        return cast("Element", element)

    def stamped(self, rows: pa.RecordBatch, time_s: float, id_seeds: Sequence[str]) -> pa.RecordBatch:
        """Fill in `time`, and the `detection_id` that its rank gives to each box."""
        rows = super().stamped(rows, time_s, id_seeds)
        boxes: Any
        counts, boxes = list_values(rows.column("predictions"))
        ids = derived_ids(id_seeds, counts.tolist())
        fields = {**dict(zip(self.keys, boxes.flatten(), strict=True)), "detection_id": ids}
        named = lists(counts, structs(self.box(), fields, len(ids)))
        return rows.set_column(rows.schema.get_field_index("predictions"), "predictions", named)

    def json_texts(self, rows: pa.RecordBatch) -> list[bytes]:
        """Give the JSON of each row's element."""
        return row_texts(rows)


class InstanceColumns(BoxColumns):
    """instance-segmentation: each box has `points` or `rle`."""

    keys = (
        "x",
        "y",
        "width",
        "height",
        "confidence",
        "class",
        "points",
        "rle",
        "mask_format",
        "class_id",
        "detection_id",
    )
    optional = ("points", "rle", "detection_id")

    def fields(self) -> dict[str, pa.DataType]:
        """Give the type of each key of a box."""
        import pyarrow as pa

        return {
            **super().fields(),
            "points": pa.list_(pa.struct([("x", pa.float64()), ("y", pa.float64())])),
            "rle": pa.struct([("size", pa.list_(pa.int64())), ("counts", pa.string())]),
            "mask_format": pa.string(),
        }

    def polygons(self, places: Sequence[NDArray[np.float64]]) -> pa.ListArray[Any]:
        """Give the field `points` of n boxes, of each box `(points, 2)` pixels."""
        kind: Any = self.fields()["points"]
        every = np.concatenate([np.zeros((0, 2)), *places])
        points = {"x": every[:, 0], "y": every[:, 1]}
        return lists([len(one) for one in places], structs(kind.value_type, points, len(every)))


class KeyPointColumns(BoxColumns):
    """keypoint-detection: each box has `keypoints`."""

    keys = ("x", "y", "width", "height", "confidence", "class", "class_id", "keypoints", "detection_id")

    def fields(self) -> dict[str, pa.DataType]:
        """Give the type of each key of a box."""
        import pyarrow as pa

        numbers = [(key, pa.float64()) for key in ("x", "y", "confidence")]
        point = pa.struct([*numbers, ("class", pa.string()), ("class_id", pa.int64())])
        return {**super().fields(), "keypoints": pa.list_(point)}

    def key_points(
        self, places: NDArray[np.float64], confidences: NDArray[np.float64], names: Sequence[str]
    ) -> pa.ListArray[Any]:
        """Give the field `keypoints` of n boxes: pixels `(n, k, 2)` and confidences `(n, k)` of k named points each."""
        count, of_each = confidences.shape
        numbers = np.tile(np.arange(of_each), count)
        points = {
            "x": places[..., 0].reshape(-1),
            "y": places[..., 1].reshape(-1),
            "confidence": confidences.reshape(-1),
            "class": texts(names, numbers),
            "class_id": numbers,
        }
        kind: Any = self.fields()["keypoints"]
        return lists(np.full(count, of_each), structs(kind.value_type, points, len(numbers)))
