"""The elements of a result, one per frame and model, as FORMAT-compatible tools read them.

Boxes are in pixels of the displayed frame, `x` and `y` the box's centre. Keys follow the responses of the open
`inference` server, so that `supervision.Detections.from_inference` takes an element as it is.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class ImageSize(TypedDict):
    """Pixels of the displayed frame."""

    width: int
    height: int


Detection = TypedDict(
    "Detection",
    {
        "x": float,
        "y": float,
        "width": float,
        "height": float,
        "confidence": float,
        "class": str,
        "class_id": int,
        "detection_id": NotRequired[str],
    },
)
"""One box: centre and size in pixels, confidence in 0…1."""


class DetectionElement(TypedDict):
    """Everything an object detector says of one frame, highest confidence first."""

    time: NotRequired[float]
    image: ImageSize
    predictions: list[Detection]


ClassScore = TypedDict("ClassScore", {"class": str, "class_id": int, "confidence": float})
"""One class of a one-label classifier with its softmax score."""


class ClassificationElement(TypedDict):
    """One label: classes sorted by confidence, the best one named again at the top."""

    time: NotRequired[float]
    image: ImageSize
    predictions: list[ClassScore]
    top: str
    confidence: float


class LabelScore(TypedDict):
    """One class of a many-label classifier with its sigmoid score."""

    confidence: float
    class_id: int


class MultiLabelElement(TypedDict):
    """Many labels: every class with its score, and those at or above the confidence threshold by name."""

    time: NotRequired[float]
    image: ImageSize
    predictions: dict[str, LabelScore]
    predicted_classes: list[str]


Element = DetectionElement | ClassificationElement | MultiLabelElement
