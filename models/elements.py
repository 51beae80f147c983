"""The elements of a result, one per frame and model, as FORMAT-compatible tools read them.

Boxes are in pixels of the displayed frame, `x` and `y` the box's centre. Keys follow the responses of the open
`inference` server, so that `supervision.Detections.from_inference` takes an element as it is.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


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


class Point(TypedDict):
    """A place in pixels of the displayed frame."""

    x: float
    y: float


class RunLengths(TypedDict):
    """A mask of COCO's compressed run lengths: `size` is `[height, width]`, `counts` their text."""

    size: list[int]
    counts: str


InstanceDetection = TypedDict(
    "InstanceDetection",
    {
        "x": float,
        "y": float,
        "width": float,
        "height": float,
        "confidence": float,
        "class": str,
        "points": NotRequired[list[Point]],
        "rle": NotRequired[RunLengths],
        "mask_format": Literal["polygon", "rle"],
        "class_id": int,
        "detection_id": NotRequired[str],
    },
)
"""A box with its mask: `points`, the outer contour of its largest part, or `rle`, the whole of it."""


class InstanceElement(TypedDict):
    """Everything an instance segmentation model says of one frame, highest confidence first."""

    time: NotRequired[float]
    image: ImageSize
    predictions: list[InstanceDetection]


KeyPoint = TypedDict("KeyPoint", {"x": float, "y": float, "confidence": float, "class": str, "class_id": int})
"""One named point of an object."""

KeyPointDetection = TypedDict(
    "KeyPointDetection",
    {
        "x": float,
        "y": float,
        "width": float,
        "height": float,
        "confidence": float,
        "class": str,
        "class_id": int,
        "keypoints": list[KeyPoint],
        "detection_id": NotRequired[str],
    },
)
"""A box with its key points."""


class KeyPointElement(TypedDict):
    """Everything a key point model says of one frame, highest confidence first."""

    time: NotRequired[float]
    image: ImageSize
    predictions: list[KeyPointDetection]


class SegmentationMasks(TypedDict):
    """Two PNG files of 8 bits in base64, as large as the frame, and what the class ids in the first one mean.

    `confidence_mask` holds the class's score times 255. `class_map` names every class id, as text.
    """

    segmentation_mask: str
    confidence_mask: str
    class_map: dict[str, str]
    present_class_ids: list[int]


class SegmentationElement(TypedDict):
    """What a semantic segmentation model says of one frame: a class for every pixel."""

    time: NotRequired[float]
    image: ImageSize
    predictions: SegmentationMasks


Face = TypedDict(
    "Face",
    {
        "x": float,
        "y": float,
        "width": float,
        "height": float,
        "confidence": float,
        "class": str,
        "class_id": int,
        "landmarks": list[Point],
    },
)
"""The box of a face and its landmarks."""


class Gaze(TypedDict):
    """A face and where it looks, in radians."""

    face: Face
    yaw: float
    pitch: float


class GazeElement(TypedDict):
    """Every face of one frame; times in seconds, `time` being the whole."""

    predictions: list[Gaze]
    time: NotRequired[float]
    time_face_det: NotRequired[float]
    time_gaze_det: NotRequired[float]


EmbeddingElement = list[float]
"""The embedding of one frame as the model gives it, not normalised: a flat list without a `time`."""


class SimilarityElement(TypedDict):
    """Cosine of a frame's embedding and each prompt's; by name where the prompts were given by name.

    Where zero-shot classes were asked for, they stand beside it as in a `ClassificationElement`.
    """

    similarity: list[float] | dict[str, float]
    time: NotRequired[float]
    predictions: NotRequired[list[ClassScore]]
    top: NotRequired[str]
    confidence: NotRequired[float]


Element = (
    DetectionElement
    | ClassificationElement
    | MultiLabelElement
    | InstanceElement
    | KeyPointElement
    | SegmentationElement
    | GazeElement
    | EmbeddingElement
    | SimilarityElement
)
