"""How far elements of gaze are from each other."""

from __future__ import annotations

import math
from typing import Any

from tasks.box_matching import edges_px, matched_boxes
from tasks.element_differences import Difference


class GazeComparer:
    """Faces, matched by place whatever their order, and where each of them looks."""

    element_type: str = "gaze-detection"
    unit: str = "faces"

    def __init__(self) -> None:
        self.compared = 0
        self._unmatched = self._landmarks_unmatched = 0
        self._box_px = self._landmark_px = self._score = self._angle_rad = 0.0

    @staticmethod
    def takes(element: Any) -> bool:
        """Whether its predictions are faces with two angles each. It says nothing of the frame's size."""
        predictions = element.get("predictions") if isinstance(element, dict) else None
        return (
            isinstance(predictions, list)
            and not {"image", "top", "similarity"} & element.keys()
            and all(isinstance(gaze, dict) and {"face", "yaw", "pitch"} <= gaze.keys() for gaze in predictions)
        )

    def add(self, a: Any, b: Any) -> None:
        """See `Comparer.add`."""
        faces_a, faces_b = ([gaze["face"] for gaze in element["predictions"]] for element in (a, b))
        pairs = matched_boxes(faces_a, faces_b)
        self.compared += len(pairs)
        self._unmatched += len(faces_a) + len(faces_b) - 2 * len(pairs)
        for i, j in pairs:
            one, other = faces_a[i], faces_b[j]
            self._box_px = max(self._box_px, float(abs(edges_px([one]) - edges_px([other])).max()))
            self._score = max(self._score, abs(one["confidence"] - other["confidence"]))
            self._add_landmarks(one["landmarks"], other["landmarks"])
            self._angle_rad = max(self._angle_rad, angle_between(a["predictions"][i], b["predictions"][j]))

    def differences(self) -> list[Difference]:
        """Faces without a partner, landmarks that one side lacks; places in pixels, scores, the widest angle."""
        return [
            Difference("faces_unmatched", self._unmatched, "count"),
            Difference("landmarks_unmatched", self._landmarks_unmatched, "count"),
            Difference("max_box_px", self._box_px, "pixels"),
            Difference("max_landmark_px", self._landmark_px, "pixels"),
            Difference("max_score", self._score, "score"),
            Difference("max_angle_rad", self._angle_rad, "angle"),
        ]

    def _add_landmarks(self, a: list[dict[str, float]], b: list[dict[str, float]]) -> None:
        self._landmarks_unmatched += abs(len(a) - len(b))
        for one, other in zip(a, b, strict=False):
            apart_px = math.hypot(one["x"] - other["x"], one["y"] - other["y"])
            self._landmark_px = max(self._landmark_px, apart_px)


def angle_between(a: dict[str, Any], b: dict[str, Any]) -> float:
    """The angle between two directions of yaw and pitch, in radians from 0 to pi."""
    across, along = _direction(a), _direction(b)
    # By its sine and cosine: the arc cosine alone loses small angles in rounding.
    crossed = math.hypot(
        across[1] * along[2] - across[2] * along[1],
        across[2] * along[0] - across[0] * along[2],
        across[0] * along[1] - across[1] * along[0],
    )
    return math.atan2(crossed, sum(x * y for x, y in zip(across, along, strict=True)))


def _direction(gaze: dict[str, Any]) -> tuple[float, float, float]:
    yaw, pitch = gaze["yaw"], gaze["pitch"]
    return math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)
