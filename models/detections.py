"""What every detector finds, whatever it runs on, and the boxes of elements made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrow_arrays import texts
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


def image_size(frame: Frame) -> ImageSize:
    """The frame's size as elements say it."""
    return {"width": int(frame.shape[1]), "height": int(frame.shape[0])}


def class_name(class_names: Sequence[str], class_id: int) -> str:
    """The class's name; its number, as text, where the model names none."""
    return class_names[class_id] if 0 <= class_id < len(class_names) else str(class_id)


@dataclass(frozen=True)
class RoundedBoxes:
    """The boxes of a batch of frames as a result says them: frame after frame, the surest of each first.

    Attributes:
        counts: `(frames,)`: how many boxes each frame has, n together.
        places: `(n, 4)`: x and y of the centre, width, height, to a thousandth of a pixel.
        confidences: `(n,)`, 0 to 1.
        class_ids: `(n,)` whole numbers.

    """

    counts: NDArray[np.int64]
    places: NDArray[np.float64]
    confidences: NDArray[np.float64]
    class_ids: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not self.counts.sum() == len(self.places) == len(self.confidences) == len(self.class_ids):
            raise ValueError(
                f"expected {self.counts.sum()} of each, got {len(self.places)} places, {len(self.confidences)} "
                f"confidences and {len(self.class_ids)} classes"
            )

    def where(self, kept: NDArray[np.bool_]) -> RoundedBoxes:
        """Those for which `kept` `(n,)` is true."""
        frame_of = np.repeat(np.arange(len(self.counts)), self.counts)
        counts = np.bincount(frame_of[kept], minlength=len(self.counts))
        return RoundedBoxes(counts, self.places[kept], self.confidences[kept], self.class_ids[kept])

    def columns(self, class_names: Sequence[str]) -> dict[str, Any]:
        """What a box's fields are in Arrow columns, `(n,)` each, under the format's names; without ids."""
        return {
            **dict(zip(("x", "y", "width", "height"), self.places.T, strict=True)),
            "confidence": self.confidences,
            "class": _names(tuple(class_names), self.class_ids),
            "class_id": self.class_ids,
        }


def _names(class_names: tuple[str, ...], class_ids: NDArray[np.int64]) -> Any:
    """The name of each class id, as Arrow texts."""
    if len(class_ids) and (class_ids.min() < 0 or class_ids.max() >= len(class_names)):
        different, which = np.unique(class_ids, return_inverse=True)
        return texts([class_name(class_names, class_id) for class_id in different.tolist()], which)
    return texts(class_names, class_ids)


def rounded_boxes(found: Sequence[FoundBoxes], most: int) -> RoundedBoxes:
    """Bring what was found in each frame into a result's order, at most `most` of each."""
    counts = np.array([len(one) for one in found])
    boxes, scores, class_ids = (
        np.concatenate(every) for every in zip(*((one.boxes, one.scores, one.class_ids) for one in found), strict=True)
    )
    order = np.lexsort((-scores, np.repeat(np.arange(len(found)), counts)))
    if len(scores) and counts.max() > most:
        rank = np.arange(len(scores)) - np.repeat(np.cumsum(counts) - counts, counts)
        order, counts = order[rank < most], counts.clip(max=most)
    boxes = boxes[order]
    corners, opposite = boxes[:, :2], boxes[:, 2:]
    return RoundedBoxes(
        counts=counts,
        places=np.concatenate([(corners + opposite) / 2, opposite - corners], axis=1).round(PIXEL_DECIMALS),
        confidences=scores[order].round(CONFIDENCE_DECIMALS),
        class_ids=class_ids[order],
    )


def detections(found: FoundBoxes, class_names: Sequence[str], most: int) -> list[Detection]:
    """Give the boxes of one frame's element, at most `most`, the surest first."""
    boxes = rounded_boxes([found], most)
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
            boxes.places.tolist(), boxes.confidences.tolist(), boxes.class_ids.tolist(), strict=True
        )
    ]
