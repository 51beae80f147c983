"""Which box of one element is which of another, whatever their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PIXELS_FOR_SCORE = 100.0
"""A score that is off by 0.01 makes two boxes as unlike as a pixel does."""
_SURELY_THE_SAME = 0.01
"""Pixels; boxes that lie so close in the order given need no search for better partners."""


def matched_boxes(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Pair boxes of the same class, the closest pairs of all first; give index pairs `(i in a, j in b)`.

    Close means the largest shift of an edge in pixels, and the score with a smaller weight, which tells boxes apart
    that lie on top of each other. What is left over on one side stays without a partner.
    """
    import numpy as np

    if not a or not b:
        return []
    edges_a, edges_b = edges_px(a), edges_px(b)
    scores_a, scores_b = (np.array([box["confidence"] for box in boxes], dtype=float) for boxes in (a, b))
    if [box["class"] for box in a] == [box["class"] for box in b]:
        apart = abs(edges_a - edges_b).max(axis=1) + _PIXELS_FOR_SCORE * abs(scores_a - scores_b)
        if apart.max() <= _SURELY_THE_SAME:
            return [(row, row) for row in range(len(a))]
    pairs: list[tuple[int, int]] = []
    for name in class_counts(a).keys() & class_counts(b).keys():
        rows = [row for row, box in enumerate(a) if box["class"] == name]
        columns = [column for column, box in enumerate(b) if box["class"] == name]
        apart = abs(edges_a[rows][:, None] - edges_b[columns][None]).max(axis=2)
        apart += _PIXELS_FOR_SCORE * abs(scores_a[rows][:, None] - scores_b[columns][None])
        pairs += [(rows[row], columns[column]) for row, column in _closest_first(apart)]
    return pairs


def _closest_first(apart: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Take the smallest entry of `(n, m)` whose row and column are both free, until one side has none."""
    import numpy as np

    rows, columns = np.unravel_index(np.argsort(apart, axis=None, kind="stable"), apart.shape)
    free_rows, free_columns = set(range(apart.shape[0])), set(range(apart.shape[1]))
    pairs = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if row in free_rows and column in free_columns:
            free_rows.remove(row)
            free_columns.remove(column)
            pairs.append((row, column))
            if not free_rows or not free_columns:
                break
    return pairs


def edges_px(boxes: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Left, top, right, bottom of each box, `(n, 4)`."""
    import numpy as np

    middle = np.array([[box["x"], box["y"]] for box in boxes], dtype=float)
    half = np.array([[box["width"], box["height"]] for box in boxes], dtype=float) / 2
    return np.hstack([middle - half, middle + half])


def class_counts(boxes: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """How many boxes there are of each class."""
    return Counter(box["class"] for box in boxes)
