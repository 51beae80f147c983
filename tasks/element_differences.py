"""What a comparison of elements says, and what every comparer of one kind of element is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

Kind = Literal["count", "pixels", "score", "mask", "angle"]
"""What a difference is measured in; each kind has a tolerance of its own. A count of things that differ has none.

A mask's is the share of its pixels that only one side has (1 - IoU), an angle's is in radians.
"""


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
