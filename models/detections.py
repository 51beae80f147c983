"""What every detector finds, whatever it runs on, and the boxes of an element made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.elements import Detection, ImageSize
from models.vision_model import Frame

PIXEL_DECIMALS = 3
CONFIDENCE_DECIMALS = 6


@dataclass(frozen=True)
class FoundBoxes:
    """Objects found in one frame, in any order.

    Attributes:
        scores: `(n,)`, 0 to 1.
        class_ids: `(n,)` whole numbers.
        boxes: `(n, 4)`: left, top, right, bottom in pixels of the frame; not clipped.

    """

    scores: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores)

    def surest(self, most: int) -> NDArray[np.int64]:
        """Which of them to keep: at most `most`, the surest first, as they came where scores are equal."""
        return np.argsort(-self.scores, kind="stable")[:most]


def image_size(frame: Frame) -> ImageSize:
    """The frame's size as elements say it."""
    return {"width": int(frame.shape[1]), "height": int(frame.shape[0])}


def class_name(class_names: Sequence[str], class_id: int) -> str:
    """The class's name; its number, as text, where the model names none."""
    return class_names[class_id] if 0 <= class_id < len(class_names) else str(class_id)


def detections(found: FoundBoxes, class_names: Sequence[str], most: int) -> list[Detection]:
    """Give the boxes of an element, at most `most`, the surest first, rounded to a thousandth of a pixel."""
    order = found.surest(most)
    boxes = found.boxes[order]
    corners, opposite = boxes[:, :2], boxes[:, 2:]
    places = np.concatenate([(corners + opposite) / 2, opposite - corners], axis=1).round(PIXEL_DECIMALS).tolist()
    confidences = found.scores[order].round(CONFIDENCE_DECIMALS).tolist()
    return [
        {
            "x": x,
            "y": y,
            "width": width,
            "height": height,
            "confidence": confidence,
            "class": class_name(class_names, class_id),
            "class_id": class_id,
        }
        for (x, y, width, height), confidence, class_id in zip(
            places, confidences, found.class_ids[order].tolist(), strict=True
        )
    ]
