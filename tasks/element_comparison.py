"""How far two elements of one kind are from each other. `COMPARERS` holds one entry for each shape of element.

A comparer is fed pairs of elements of the same frame and adds up. It knows nothing of results, files and requests:
which comparer fits is told by the elements themselves, so that results made elsewhere can be compared too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["count", "pixels", "score"]
"""What a difference is measured in; each kind has a tolerance of its own. A count of things that differ has none."""

_PIXELS_FOR_SCORE = 100.0
"""A score that is off by 0.01 makes two boxes as unlike as a pixel does."""
_SURELY_THE_SAME = 0.01
"""Pixels; boxes that lie so close in the order given need no search for better partners."""


@dataclass(frozen=True)
class Difference:
    """One figure: the count of things that differ, or the largest difference of a measure."""

    name: str
    value: float
    kind: Kind


class Comparer(Protocol):
    """Adds up how far pairs of elements differ."""

    element_type: str
    unit: str
    """What is compared, in the plural."""
    compared: int
    """Boxes or classes that found their partner."""

    @staticmethod
    def takes(element: Any) -> bool:
        """Whether the element has the shape that this comparer knows."""

    def add(self, a: Any, b: Any) -> None:
        """Compare two elements of one frame."""

    def differences(self) -> list[Difference]:
        """Give the figures of everything added so far; zero where nothing differs."""


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
        predictions = element.get("predictions") if isinstance(element, dict) else None
        return (
            isinstance(predictions, list)
            and "top" not in element
            and all(
                isinstance(box, dict)
                and {"x", "y", "width", "height", "confidence", "class"} <= box.keys()
                and not {"points", "rle", "keypoints"} & box.keys()
                for box in predictions
            )
        )

    def add(self, a: Any, b: Any) -> None:
        """See `Comparer.add`."""
        boxes_a, boxes_b = a["predictions"], b["predictions"]
        self._sizes += a.get("image") != b.get("image")
        self._frames += _classes(boxes_a) != _classes(boxes_b)
        pairs = matched_boxes(boxes_a, boxes_b)
        self.compared += len(pairs)
        self._unmatched += len(boxes_a) + len(boxes_b) - 2 * len(pairs)
        for left, right in ((boxes_a[i], boxes_b[j]) for i, j in pairs):
            self._class_ids += left.get("class_id") != right.get("class_id")
            self._score = max(self._score, abs(left["confidence"] - right["confidence"]))
        if pairs:
            rows_a, rows_b = zip(*pairs, strict=True)
            apart = abs(_edges_px(boxes_a)[list(rows_a)] - _edges_px(boxes_b)[list(rows_b)])
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


class ClassificationComparer:
    """One label: the best class, and the confidence of each class by name."""

    element_type: str = "classification"
    unit: str = "classes"
    verdict: str = "top"

    def __init__(self) -> None:
        self.compared = 0
        self._sizes = self._verdicts = self._unmatched = 0
        self._confidence = 0.0

    @staticmethod
    def takes(element: Any) -> bool:
        """Whether it names one best class."""
        return isinstance(element, dict) and "top" in element and isinstance(element.get("predictions"), list)

    def add(self, a: Any, b: Any) -> None:
        """See `Comparer.add`."""
        self._sizes += a.get("image") != b.get("image")
        self._verdicts += self._verdict(a) != self._verdict(b)
        scores_a, scores_b = self._scores(a), self._scores(b)
        both = scores_a.keys() & scores_b.keys()
        self.compared += len(both)
        self._unmatched += len(scores_a.keys() ^ scores_b.keys())
        self._confidence = max([self._confidence, *(abs(scores_a[name] - scores_b[name]) for name in both)])

    def differences(self) -> list[Difference]:
        """Frame sizes, verdicts, classes that one side lacks; confidences by class."""
        return [
            Difference("frames_size_differ", self._sizes, "count"),
            Difference(f"frames_{self.verdict}_differ", self._verdicts, "count"),
            Difference("classes_unmatched", self._unmatched, "count"),
            Difference("max_confidence", self._confidence, "score"),
        ]

    def _verdict(self, element: Any) -> Any:
        return element["top"]

    def _scores(self, element: Any) -> dict[str, float]:
        return {score["class"]: score["confidence"] for score in element["predictions"]}


class MultiLabelComparer(ClassificationComparer):
    """Many labels: which are predicted, and the confidence of each class by name."""

    element_type: str = "classification, many labels"
    verdict: str = "labels"

    @staticmethod
    def takes(element: Any) -> bool:
        """Whether it names the labels that it predicts."""
        return isinstance(element, dict) and "predicted_classes" in element

    def _verdict(self, element: Any) -> Any:
        return set(element["predicted_classes"])

    def _scores(self, element: Any) -> dict[str, float]:
        return {name: score["confidence"] for name, score in element["predictions"].items()}


class UnlikeComparer:
    """Elements of two types, of which no more can be said."""

    unit: str = "elements"

    def __init__(self, element_type: str) -> None:
        """Name both types in `element_type`."""
        self.element_type = element_type
        self.compared = 0
        self._frames = 0

    @staticmethod
    def takes(element: Any) -> bool:  # noqa: ARG004 - it stands in where no other comparer fits
        """Whether it is an element at all."""
        return True

    def add(self, a: Any, b: Any) -> None:  # noqa: ARG002
        """See `Comparer.add`."""
        self._frames += 1

    def differences(self) -> list[Difference]:
        """Every frame."""
        return [Difference("frames_type_differ", self._frames, "count")]


COMPARERS: tuple[type[Comparer], ...] = (DetectionComparer, ClassificationComparer, MultiLabelComparer)


def matched_boxes(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Pair boxes of the same class, the closest pairs of all first; give index pairs `(i in a, j in b)`.

    Close means the largest shift of an edge in pixels, and the score with a smaller weight, which tells boxes apart
    that lie on top of each other. What is left over on one side stays without a partner.
    """
    import numpy as np

    if not a or not b:
        return []
    edges_a, edges_b = _edges_px(a), _edges_px(b)
    scores_a, scores_b = (np.array([box["confidence"] for box in boxes], dtype=float) for boxes in (a, b))
    if [box["class"] for box in a] == [box["class"] for box in b]:
        apart = abs(edges_a - edges_b).max(axis=1) + _PIXELS_FOR_SCORE * abs(scores_a - scores_b)
        if apart.max() <= _SURELY_THE_SAME:
            return [(row, row) for row in range(len(a))]
    pairs: list[tuple[int, int]] = []
    for name in _classes(a).keys() & _classes(b).keys():
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


def _edges_px(boxes: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Left, top, right, bottom of each box, `(n, 4)`."""
    import numpy as np

    middle = np.array([[box["x"], box["y"]] for box in boxes], dtype=float)
    half = np.array([[box["width"], box["height"]] for box in boxes], dtype=float) / 2
    return np.hstack([middle - half, middle + half])


def _classes(boxes: Sequence[Mapping[str, Any]]) -> Counter[str]:
    return Counter(box["class"] for box in boxes)
