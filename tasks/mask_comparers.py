"""How far masks are from each other: those of instances, and maps of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.box_comparers import DetectionComparer, has_boxes
from tasks.element_differences import Difference
from tasks.element_masks import grey_png, mask_of

_PNG_KEYS = {"segmentation_mask", "confidence_mask"}


class InstanceComparer(DetectionComparer):
    """Boxes as in detection, and the masks of matched boxes pixel by pixel, whichever way each is written."""

    element_type: str = "instance-segmentation"

    def __init__(self) -> None:
        super().__init__()
        self._mask_apart = 0.0

    @staticmethod
    def takes(element: Any) -> bool:
        """Whether its boxes have masks."""
        return has_boxes(element, {"points", "rle"})

    def differences(self) -> list[Difference]:
        """Those of the boxes; the largest share of a mask's pixels, of both sides together, that one side lacks."""
        return [*super().differences(), Difference("max_mask_apart", self._mask_apart, "mask")]

    def _add_inside(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
        if a.get("points") == b.get("points") and a.get("rle") == b.get("rle"):
            return
        self._mask_apart = max(self._mask_apart, mask_apart(a, b))


class SegmentationComparer:
    """Maps of classes, pixel by pixel."""

    element_type: str = "semantic-segmentation"
    unit: str = "maps"

    def __init__(self) -> None:
        self.compared = 0
        self._sizes = self._names = 0
        self._pixels = self._confidence = 0.0

    @staticmethod
    def takes(element: Any) -> bool:
        """Whether it has a map of classes."""
        predictions = element.get("predictions") if isinstance(element, dict) else None
        return isinstance(predictions, dict) and predictions.keys() >= _PNG_KEYS

    def add(self, a: Any, b: Any) -> None:
        """See `Comparer.add`. Maps of two sizes differ as wholes."""
        maps_a, maps_b = a["predictions"], b["predictions"]
        self._names += maps_a.get("class_map") != maps_b.get("class_map")
        ids_a, ids_b = (grey_png(one["segmentation_mask"]) for one in (maps_a, maps_b))
        if ids_a.shape != ids_b.shape:
            self._sizes += 1
            return
        self.compared += 1
        self._pixels = max(self._pixels, float((ids_a != ids_b).mean()))
        sure_a, sure_b = (grey_png(one["confidence_mask"]).astype(float) / 255 for one in (maps_a, maps_b))
        self._confidence = max(self._confidence, float(abs(sure_a - sure_b).mean()))

    def differences(self) -> list[Difference]:
        """Frame sizes, names of classes; of the worst frame the share of pixels and the mean difference of scores."""
        return [
            Difference("frames_size_differ", self._sizes, "count"),
            Difference("frames_class_map_differ", self._names, "count"),
            Difference("max_share_of_pixels", self._pixels, "mask"),
            Difference("max_mean_score", self._confidence, "score"),
        ]


def mask_apart(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """1 less intersection over union of two predictions' masks; 0 for two without a pixel."""
    import numpy as np

    (left_a, top_a, mask_a), (left_b, top_b, mask_b) = mask_of(a), mask_of(b)
    left, top = min(left_a, left_b), min(top_a, top_b)
    width = max(left_a + mask_a.shape[1], left_b + mask_b.shape[1]) - left
    height = max(top_a + mask_a.shape[0], top_b + mask_b.shape[0]) - top
    canvas = np.zeros((2, height, width), dtype=bool)
    for layer, (at, row, mask) in enumerate(((left_a, top_a, mask_a), (left_b, top_b, mask_b))):
        canvas[layer, row - top : row - top + mask.shape[0], at - left : at - left + mask.shape[1]] = mask
    union = int(canvas.any(axis=0).sum())
    return 1 - int(canvas.all(axis=0).sum()) / union if union else 0.0
