"""How far elements with boxes are from each other: boxes alone, and with key points in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tasks.box_matching import class_counts, edges_px, matched_boxes
from tasks.element_differences import Difference

_BOX_KEYS = {"x", "y", "width", "height", "confidence", "class"}
_INSIDE = {"points", "rle", "keypoints", "face"}
"""What else a prediction with a box may have."""


def has_boxes(element: Any, inside: set[str]) -> bool:
    """Whether it has boxes, each with one of what `inside` names and nothing else within; none, where it is empty."""
    predictions = element.get("predictions") if isinstance(element, dict) else None
    return (
        isinstance(predictions, list)
        and "top" not in element
        and "similarity" not in element
        and all(
            isinstance(box, dict)
            and box.keys() >= _BOX_KEYS
            and not (_INSIDE - inside) & box.keys()
            and (not inside or inside & box.keys())
            for box in predictions
        )
    )


class DetectionComparer:
    """Boxes, matched by class and place whatever their order."""

    element_type: str = "object-detection"
    unit: str = "boxes"

    def __init__(self) -> None:
        self.compared = 0
        self._sizes = self._frames = self._unmatched = self._class_ids = 0
        self._box_px = self._score = 0.0

    @staticmethod
    def takes(element: Any) -> bool:
        """Whether it has boxes and nothing drawn inside them."""
        return has_boxes(element, set())

    def add(self, a: Any, b: Any) -> None:
        """See `Comparer.add`."""
        boxes_a, boxes_b = a["predictions"], b["predictions"]
        self._sizes += a.get("image") != b.get("image")
        self._frames += class_counts(boxes_a) != class_counts(boxes_b)
        pairs = matched_boxes(boxes_a, boxes_b)
        self.compared += len(pairs)
        self._unmatched += len(boxes_a) + len(boxes_b) - 2 * len(pairs)
        for left, right in ((boxes_a[i], boxes_b[j]) for i, j in pairs):
            self._class_ids += left.get("class_id") != right.get("class_id")
            self._score = max(self._score, abs(left["confidence"] - right["confidence"]))
            self._add_inside(left, right)
        if pairs:
            rows_a, rows_b = zip(*pairs, strict=True)
            apart = abs(edges_px(boxes_a)[list(rows_a)] - edges_px(boxes_b)[list(rows_b)])
            self._box_px = max(self._box_px, float(apart.max()))

    def differences(self) -> list[Difference]:
        """Frame sizes, classes, boxes without a partner, class ids; edges of matched boxes in pixels, scores."""
        return [
            Difference("frames_size_differ", self._sizes, "count"),
            Difference("frames_classes_differ", self._frames, "count"),
            Difference("boxes_unmatched", self._unmatched, "count"),
            Difference("boxes_class_id_differ", self._class_ids, "count"),
            Difference("max_box_px", self._box_px, "pixels"),
            Difference("max_score", self._score, "score"),
        ]

    def _add_inside(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
        """Compare what two boxes that belong together have inside."""


class KeyPointComparer(DetectionComparer):
    """Boxes as in detection, and the key points of matched boxes by name."""

    element_type: str = "keypoint-detection"

    def __init__(self) -> None:
        super().__init__()
        self._points_unmatched = 0
        self._point_px = self._point_score = 0.0

    @staticmethod
    def takes(element: Any) -> bool:
        """Whether its boxes have key points."""
        return has_boxes(element, {"keypoints"})

    def differences(self) -> list[Difference]:
        """Those of the boxes; points that one side lacks, their places in pixels, their scores."""
        return [
            *super().differences(),
            Difference("points_unmatched", self._points_unmatched, "count"),
            Difference("max_point_px", self._point_px, "pixels"),
            Difference("max_point_score", self._point_score, "score"),
        ]

    def _add_inside(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
        points_a, points_b = ({point["class"]: point for point in box["keypoints"]} for box in (a, b))
        self._points_unmatched += len(points_a.keys() ^ points_b.keys())
        for name in points_a.keys() & points_b.keys():
            one, other = points_a[name], points_b[name]
            apart_px = math.hypot(one["x"] - other["x"], one["y"] - other["y"])
            self._point_px = max(self._point_px, apart_px)
            self._point_score = max(self._point_score, abs(one["confidence"] - other["confidence"]))
