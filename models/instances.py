"""What every instance segmenter finds, whatever it runs on, and the predictions of an element made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from models.detections import CONFIDENCE_DECIMALS, PIXEL_DECIMALS, class_name
from models.elements import ImageSize, InstanceDetection
from models.masks import MaskCrop, polygon, run_lengths

MaskFormat = Literal["polygon", "rle"]


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


def instance_detections(
    found: FoundInstances, class_names: Sequence[str], image: ImageSize, *, most: int, mask_format: MaskFormat
) -> list[InstanceDetection]:
    """Give the predictions of an element, at most `most`, the surest first.

    Where the network says no boxes, one holds its mask's pixels exactly, edge to edge: a mask of one pixel has a box of
    1 × 1.
    """
    order = np.argsort(-found.scores, kind="stable")[:most].tolist()
    confidences = found.scores.round(CONFIDENCE_DECIMALS).tolist()
    boxes = [mask.box for mask in found.masks] if found.boxes is None else found.boxes.tolist()
    return [
        _detection(
            found.masks[index],
            boxes[index],
            confidences[index],
            int(found.class_ids[index]),
            class_names,
            image,
            mask_format,
        )
        for index in order
    ]


def _detection(
    mask: MaskCrop,
    box: Sequence[float],
    confidence: float,
    class_id: int,
    class_names: Sequence[str],
    image: ImageSize,
    mask_format: MaskFormat,
) -> InstanceDetection:
    left, top, right, bottom = box
    drawn: dict[str, object] = (
        {"rle": run_lengths(mask, image["height"], image["width"])}
        if mask_format == "rle"
        else {"points": polygon(mask)}
    )
    prediction = {
        "x": round((left + right) / 2, PIXEL_DECIMALS),
        "y": round((top + bottom) / 2, PIXEL_DECIMALS),
        "width": round(float(right - left), PIXEL_DECIMALS),
        "height": round(float(bottom - top), PIXEL_DECIMALS),
        "confidence": confidence,
        "class": class_name(class_names, class_id),
        **drawn,
        "mask_format": mask_format,
        "class_id": class_id,
    }
    return cast("InstanceDetection", prediction)
