"""How far embeddings, and similarities to prompts, are from each other."""

from __future__ import annotations

from typing import Any

from tasks.element_differences import Difference


class EmbeddingComparer:
    """Embeddings, by the angle between them."""

    element_type: str = "clip-embed-image"
    unit: str = "embeddings"

    def __init__(self) -> None:
        self.compared = 0
        self._lengths = 0
        self._cosine_apart = 0.0

    @staticmethod
    def takes(element: Any) -> bool:
        """Whether it is a flat list of numbers."""
        return isinstance(element, list) and all(isinstance(number, (int, float)) for number in element)

    def add(self, a: Any, b: Any) -> None:
        """See `Comparer.add`."""
        if len(a) != len(b):
            self._lengths += 1
            return
        self.compared += 1
        if a != b:
            self._cosine_apart = max(self._cosine_apart, 1 - cosine(a, b))

    def differences(self) -> list[Difference]:
        """Embeddings of two lengths; 1 less the smallest cosine."""
        return [
            Difference("embeddings_size_differ", self._lengths, "count"),
            Difference("max_cosine_apart", self._cosine_apart, "score"),
        ]


class SimilarityComparer:
    """Similarities by prompt, and the zero-shot classes where both sides have them."""

    element_type: str = "clip-compare"
    unit: str = "prompts"

    def __init__(self) -> None:
        self.compared = 0
        self._unmatched = self._tops = 0
        self._similarity = self._confidence = 0.0

    @staticmethod
    def takes(element: Any) -> bool:
        """Whether it has similarities."""
        return isinstance(element, dict) and isinstance(element.get("similarity"), (list, dict))

    def add(self, a: Any, b: Any) -> None:
        """See `Comparer.add`."""
        by_prompt_a, by_prompt_b = (_by_prompt(element["similarity"]) for element in (a, b))
        both = by_prompt_a.keys() & by_prompt_b.keys()
        self.compared += len(both)
        self._unmatched += len(by_prompt_a.keys() ^ by_prompt_b.keys())
        self._similarity = max([self._similarity, *(abs(by_prompt_a[name] - by_prompt_b[name]) for name in both)])
        self._tops += a.get("top") != b.get("top")
        scores_a, scores_b = (
            {(one["class_id"], one["class"]): one["confidence"] for one in element.get("predictions", [])}
            for element in (a, b)
        )
        both_scores = scores_a.keys() & scores_b.keys()
        self._confidence = max([self._confidence, *(abs(scores_a[one] - scores_b[one]) for one in both_scores)])

    def differences(self) -> list[Difference]:
        """Prompts that one side lacks, best classes; similarities and confidences by prompt."""
        return [
            Difference("prompts_unmatched", self._unmatched, "count"),
            Difference("frames_top_differ", self._tops, "count"),
            Difference("max_similarity", self._similarity, "score"),
            Difference("max_confidence", self._confidence, "score"),
        ]


def cosine(a: list[float], b: list[float]) -> float:
    """The cosine of two embeddings of one length; 0 where one of them is nothing but zeros."""
    import numpy as np

    one, other = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0


def _by_prompt(similarity: list[float] | dict[str, float]) -> dict[str, float]:
    """By name, or by number in order."""
    return similarity if isinstance(similarity, dict) else {str(i): value for i, value in enumerate(similarity)}
