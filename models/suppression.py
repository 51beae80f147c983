"""Non-maximum suppression: of boxes of one class that overlap, the surest stays. Done by OpenCV."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_NO_THRESHOLD = -1.0
"""OpenCV drops scores at its threshold: with one below 0 it drops none."""


def suppress(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    class_ids: NDArray[np.int64],
    *,
    iou_threshold: float,
    most: int,
) -> NDArray[np.int64]:
    """Give the indices of the boxes that stay, at most `most`, the surest first.

    A box falls where its intersection over union with a surer one of its class that stays is above `iou_threshold`.

    Args:
        boxes: `(n, 4)`: left, top, right, bottom.
        scores: `(n,)`.
        class_ids: `(n,)`.
        iou_threshold: 0 to 1.
        most: How many may stay.

    """
    if len(boxes) == 0:
        return np.zeros(0, dtype=np.int64)
    sides = boxes[:, 2:] - boxes[:, :2]
    # OpenCV keeps classes apart by moving each by the largest coordinate, which takes boxes that begin at 0 or beyond.
    corners = boxes[:, :2] - boxes[:, :2].min(axis=0)
    order = np.argsort(-scores, kind="stable")
    # It takes arrays as well as the lists that it declares, a third faster.
    suppressed: Any = cv2.dnn.NMSBoxesBatched
    kept = suppressed(
        np.concatenate([corners, sides], axis=1)[order],
        scores[order].astype(np.float32),
        class_ids[order].astype(np.int32),
        _NO_THRESHOLD,
        iou_threshold,
    )
    places = np.sort(np.asarray(kept, dtype=np.int64))[:most]
    stays: NDArray[np.int64] = order[places]
    return stays
