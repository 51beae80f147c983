"""What every instance segmenter finds, whatever it runs on, and the predictions of an element made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.detections import CONFIDENCE_DECIMALS, class_name
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

    """

    scores: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    masks: Sequence[MaskCrop]

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

    A box holds its mask's pixels exactly, edge to edge: a mask of one pixel has a box of 1 × 1. Models that predict a
    box of their own beside the mask are read the same way.
    """
    order = np.argsort(-found.scores, kind="stable")[:most].tolist()
    confidences = found.scores.round(CONFIDENCE_DECIMALS).tolist()
    return [
        _detection(found.masks[index], confidences[index], int(found.class_ids[index]), class_names, image, mask_format)
        for index in order
    ]


def _detection(
    mask: MaskCrop,
    confidence: float,
    class_id: int,
    class_names: Sequence[str],
    image: ImageSize,
    mask_format: MaskFormat,
) -> InstanceDetection:
    left, top, right, bottom = mask.box
    place: InstanceDetection = {
        "x": (left + right) / 2,
        "y": (top + bottom) / 2,
        "width": float(right - left),
        "height": float(bottom - top),
        "confidence": confidence,
        "class": class_name(class_names, class_id),
        "mask_format": mask_format,
        "class_id": class_id,
    }
    if mask_format == "rle":
        return {**place, "rle": run_lengths(mask, image["height"], image["width"])}
    return {**place, "points": polygon(mask)}
