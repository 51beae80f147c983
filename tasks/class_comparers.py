"""How far classifications are from each other, of one label and of many."""

from __future__ import annotations

from typing import Any

from tasks.element_differences import Difference


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
