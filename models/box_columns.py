"""The columns of types whose predictions are boxes: `predictions` is a list of boxes, as in the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from models.column_rows import Row, checked, derived_id, frame_fields, present, with_time
from models.elements import Element

if TYPE_CHECKING:
    import pyarrow as pa


class BoxColumns:
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

    def schema(self) -> pa.Schema:
        """Columns `time`, `image`, `predictions`."""
        import pyarrow as pa

        fields = self.fields()
        box = pa.struct([(key, fields[key]) for key in self.keys])
        return pa.schema([*frame_fields(), ("predictions", pa.list_(box))])

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

    def stamp(self, element: Element, time_s: float, id_seed: str) -> Element:
        """Add `time`, and to each box the `detection_id` that its rank gives."""
        stamped = with_time(element, time_s)
        stamped["predictions"] = [
            {**box, "detection_id": derived_id(id_seed, rank)} for rank, box in enumerate(stamped["predictions"])
        ]
        return cast("Element", stamped)


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


class KeyPointColumns(BoxColumns):
    """keypoint-detection: each box has `keypoints`."""

    keys = ("x", "y", "width", "height", "confidence", "class", "class_id", "keypoints", "detection_id")

    def fields(self) -> dict[str, pa.DataType]:
        """Give the type of each key of a box."""
        import pyarrow as pa

        numbers = [(key, pa.float64()) for key in ("x", "y", "confidence")]
        point = pa.struct([*numbers, ("class", pa.string()), ("class_id", pa.int64())])
        return {**super().fields(), "keypoints": pa.list_(point)}
