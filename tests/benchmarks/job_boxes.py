"""A detector that sees nothing and finds as much as the request allows: what objects cost beside their network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.detections import FoundBoxes
from models.inference_types import TYPES
from models.object_detection import ObjectDetection
from models.vision_model import Frame, Precision

if TYPE_CHECKING:
    from models.request import InferenceParams


class _Everywhere:
    """Boxes at random places; its own for each call, as from a network."""

    class_names = ("circle", "square", "triangle", "star")

    def __init__(self, boxes: int) -> None:
        self._boxes = boxes

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def detect(self, frames: Sequence[Frame]) -> list[FoundBoxes]:
        random, found = np.random.default_rng(int(frames[0][0, 0, 0])), []
        height, width = frames[0].shape[:2]
        for _ in frames:
            corners = random.random((self._boxes, 2)) * (width / 2, height / 2)
            sides = random.random((self._boxes, 2)) * (width / 2, height / 2)
            boxes = np.concatenate([corners, corners + sides], axis=1)
            scores = 0.5 + random.random(self._boxes) / 2
            found.append(FoundBoxes(scores, random.integers(0, len(self.class_names), self._boxes), boxes))
        return found


class ManyBoxes(ObjectDetection):
    """`max_detections` boxes in every frame."""

    def __init__(self, folder: Path, params: InferenceParams, *, precision: Precision = "auto") -> None:
        super().__init__(folder, params, precision=precision)
        self._detector = _Everywhere(params.max_detections)

    def setup(self, device: str) -> None:
        """Nothing to load."""


def give_boxes() -> None:
    """Have every object detection of this process run by `ManyBoxes`."""
    TYPES["object-detection"] = f"{__name__}:ManyBoxes"
