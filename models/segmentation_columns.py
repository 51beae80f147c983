"""The columns of semantic segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from models.column_rows import ElementColumns, Row, checked, frame_fields, present
from models.elements import Element, SegmentationElement

if TYPE_CHECKING:
    import pyarrow as pa

_KEYS = ("segmentation_mask", "confidence_mask", "class_map", "present_class_ids")


class SegmentationColumns(ElementColumns):
    """semantic-segmentation: what the JSON calls `predictions` is the column `segmentation`, a struct.

    `predictions` is a list in every other type. The class map is a list of names with their ids.
    """

    def schema(self) -> pa.Schema:
        """Columns `time`, `image`, `segmentation`."""
        import pyarrow as pa

        name = pa.struct([("class_id", pa.int64()), ("class", pa.string())])
        masks: list[tuple[str, pa.DataType]] = [
            ("segmentation_mask", pa.string()),
            ("confidence_mask", pa.string()),
            ("class_map", pa.list_(name)),
            ("present_class_ids", pa.list_(pa.int64())),
        ]
        return pa.schema([*frame_fields(), ("segmentation", pa.struct(masks))])

    def to_row(self, element: Element) -> Row:
        """Move the masks into their column."""
        row = checked(element, ("time", "image", "predictions"), optional=("time",))
        masks = checked(row.pop("predictions"), _KEYS)
        names = [{"class_id": int(number), "class": name} for number, name in masks["class_map"].items()]
        row["segmentation"] = {**masks, "class_map": names}
        return row

    def to_element(self, row: Mapping[str, Any]) -> Element:
        """Give a `SegmentationElement`."""
        element = present(row, ("time", "image"))
        masks = row["segmentation"]
        names = {str(name["class_id"]): name["class"] for name in masks["class_map"]}
        element["predictions"] = {key: names if key == "class_map" else masks[key] for key in _KEYS}
        return cast("SegmentationElement", element)
