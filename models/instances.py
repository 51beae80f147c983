"""What every instance segmenter finds, whatever it runs on, and the predictions of an element made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from models.box_columns import InstanceColumns
from models.detections import CONFIDENCE_DECIMALS, PIXEL_DECIMALS, class_name
from models.elements import ImageSize, InstanceDetection
from models.masks import MaskCrop, contour, run_lengths

if TYPE_CHECKING:
    import pyarrow as pa

MaskFormat = Literal["polygon", "rle"]
_COLUMNS = InstanceColumns()


@dataclass(frozen=True)
class FoundInstances:
    """Objects found in one frame, in any order, each with a mask of at least one pixel.

    Attributes:
        scores: `(n,)`, 0 to 1.
        class_ids: `(n,)` whole numbers.
        masks: n crops of the frame.
        boxes: `(n, 4)`: left, top, right, bottom in pixels of the frame, where the network says them beside the masks.

    """

    scores: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    masks: Sequence[MaskCrop]
    boxes: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if not len(self.scores) == len(self.class_ids) == len(self.masks):
            raise ValueError(
                f"expected as many of each, got {len(self.scores)} scores, {len(self.class_ids)} classes and "
                f"{len(self.masks)} masks"
            )

    def __len__(self) -> int:
        return len(self.scores)


def instance_rows(
    found: Sequence[FoundInstances],
    class_names: Sequence[str],
    image: ImageSize,
    *,
    most: int,
    mask_format: MaskFormat,
) -> pa.RecordBatch:
    """Give a row of the type's columns for each frame, all of one size: at most `most` instances, the surest first.

    Where the network says no boxes, one holds its mask's pixels exactly, edge to edge: a mask of one pixel has a box of
    1 × 1.
    """
    orders = [np.argsort(-one.scores, kind="stable")[:most].tolist() for one in found]
    kept = [(one, index) for one, order in zip(found, orders, strict=True) for index in order]
    masks = [one.masks[index] for one, index in kept]
    boxes = [_box(one, index) for one, index in kept]
    fields = {
        "x": [round((left + right) / 2, PIXEL_DECIMALS) for left, _, right, _ in boxes],
        "y": [round((top + bottom) / 2, PIXEL_DECIMALS) for _, top, _, bottom in boxes],
        "width": [round(float(right - left), PIXEL_DECIMALS) for left, _, right, _ in boxes],
        "height": [round(float(bottom - top), PIXEL_DECIMALS) for _, top, _, bottom in boxes],
        "confidence": [float(one.scores[index].round(CONFIDENCE_DECIMALS)) for one, index in kept],
        "class": [class_name(class_names, int(one.class_ids[index])) for one, index in kept],
        "mask_format": [mask_format] * len(kept),
        "class_id": [int(one.class_ids[index]) for one, index in kept],
        "rle": [run_lengths(mask, image["height"], image["width"]) for mask in masks] if mask_format == "rle" else None,
        "points": _COLUMNS.polygons([contour(mask) for mask in masks]) if mask_format == "polygon" else None,
    }
    said = {name: column for name, column in fields.items() if column is not None}
    return _COLUMNS.of_boxes(image, np.array([len(order) for order in orders]), said)


def instance_detections(
    found: FoundInstances, class_names: Sequence[str], image: ImageSize, *, most: int, mask_format: MaskFormat
) -> list[InstanceDetection]:
    """Give the predictions of one frame's element, as `instance_rows` has them."""
    rows = instance_rows([found], class_names, image, most=most, mask_format=mask_format)
    element: Any = _COLUMNS.elements(rows)[0]
    return cast("list[InstanceDetection]", element["predictions"])


def _box(found: FoundInstances, index: int) -> Sequence[float]:
    """Left, top, right, bottom."""
    return found.masks[index].box if found.boxes is None else cast("list[float]", found.boxes[index].tolist())
