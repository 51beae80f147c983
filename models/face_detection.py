"""Faces with BlazeFace, short range (Bazarevsky et al. 2019, https://arxiv.org/abs/1907.05047), from an ONNX file.

It sees faces that fill a tenth of the frame's longer side or more. Frames are padded to a square with black, as
MediaPipe pads them, and reduced by averaging, with which boxes tremble a third less than with plain bilinear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.frame_sizes import Size
from models.onnx_card import InputCard
from models.onnx_pictures import Placement, pictures, place
from models.onnx_runtime import Array, OnnxNetwork
from models.suppression import suppress
from models.vision_model import Frame, ModelLoadError

LANDMARKS = ("right eye", "left eye", "nose tip", "mouth", "right ear", "left ear")
"""What the landmarks are, right and left being the person's own."""

_SIDE_PX = 128
_INPUT = InputCard(
    layout="nhwc",
    resize="letterbox",
    filter="area",
    pad_value=0,
    scale=1 / 127.5,
    mean=[1.0],
    size=(_SIDE_PX, _SIDE_PX),
)
_GRIDS = ((8, 2), (16, 6))
"""Stride in pixels, and anchors for each cell."""
_NUMBERS = 4 + 2 * len(LANDMARKS)
_LARGEST_LOGIT = 100.0
"""MediaPipe clips scores so before its sigmoid."""


@dataclass(frozen=True)
class FoundFaces:
    """The faces of one frame, the surest first.

    Attributes:
        scores: `(n,)`, 0 to 1.
        boxes: `(n, 4)`: left, top, right, bottom in pixels of the frame; not clipped.
        landmarks: `(n, 6, 2)`: x and y in pixels of the frame, in the order of `LANDMARKS`.

    """

    scores: NDArray[np.float64]
    boxes: NDArray[np.float64]
    landmarks: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores)


class FaceDetector:
    """The network with its anchors."""

    def __init__(self, path: Path, device: str, *, confidence: float, iou_threshold: float, most: int) -> None:
        """Load `path`. Raises `ModelLoadError`."""
        self._network = OnnxNetwork(path, device)
        self._confidence, self._iou_threshold, self._most = confidence, iou_threshold, most
        if len(self._network.inputs) != 1 or len(self._network.output_names) != 2:
            raise ModelLoadError(f"{path.name} is not BlazeFace, which takes one picture and gives boxes and scores.")
        (self._input,) = self._network.inputs.values()
        shapes = {name: self._network.output_shape(name) for name in self._network.output_names}
        ends = {shape[-1] if shape else None: name for name, shape in shapes.items()}
        if self._input.shape[1:] != (_SIDE_PX, _SIDE_PX, 3) or set(ends) != {_NUMBERS, 1}:
            raise ModelLoadError(
                f"{path.name} is not BlazeFace, short range, which takes {_SIDE_PX} × {_SIDE_PX} pixels and gives "
                f"{_NUMBERS} numbers and a score for each anchor."
            )
        self._boxes_name, self._scores_name = ends[_NUMBERS], ends[1]

    def find(self, frames: Sequence[Frame]) -> list[FoundFaces]:
        """Give the faces of each frame; frames have one shape. Raises `OnnxRunError`."""
        placement = square_placement((int(frames[0].shape[0]), int(frames[0].shape[1])))
        outputs = self._network.run({self._input.name: pictures(frames, _INPUT, placement, self._input.dtype)})
        return [
            self._found(numbers, logits[:, 0], placement)
            for numbers, logits in zip(outputs[self._boxes_name], outputs[self._scores_name], strict=True)
        ]

    def _found(self, numbers: Array, logits: Array, placement: Placement) -> FoundFaces:
        scores = 1 / (1 + np.exp(-logits.astype(np.float64).clip(-_LARGEST_LOGIT, _LARGEST_LOGIT)))
        sure = scores >= self._confidence
        scores, boxes, landmarks = scores[sure], *decode_anchors(numbers[sure], anchors()[sure])
        kept = suppress(
            boxes, scores, np.zeros(len(boxes), np.int64), iou_threshold=self._iou_threshold, most=self._most
        )
        places = np.concatenate([boxes, landmarks.reshape(-1, 2 * len(LANDMARKS))], axis=1)
        blended = blend(places, scores, boxes, kept, self._iou_threshold)
        return FoundFaces(
            scores=scores[kept],
            boxes=placement.to_frame(blended[:, :4]),
            landmarks=placement.to_frame(blended[:, 4:].reshape(-1, 4)).reshape(-1, len(LANDMARKS), 2),
        )


def square_placement(frame: Size) -> Placement:
    """Where a frame lies in the middle of the square that the network sees, with the scale of each side as rounded."""
    found = place(_INPUT, frame, (_SIDE_PX, _SIDE_PX))
    return replace(found, scale=(found.content[1] / frame[1], found.content[0] / frame[0]))


@lru_cache(maxsize=1)
def anchors() -> NDArray[np.float64]:
    """Centres of the 896 anchors in pixels of the picture, `(896, 2)`: row by row, the finer grid first."""
    centres = []
    for stride, count in _GRIDS:
        cells = (np.arange(_SIDE_PX // stride) + 0.5) * stride
        across, down = np.meshgrid(cells, cells)
        centres.append(np.stack([across.ravel(), down.ravel()], axis=-1).repeat(count, axis=0))
    return np.concatenate(centres)


def decode_anchors(numbers: Array, centres: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes `(n, 4; left, top, right, bottom)` and landmarks `(n, 6, 2)` in pixels of the picture.

    `numbers` is `(n, 16)`: the box's centre from its anchor's, its width and height, and six points from the anchor.
    """
    values = numbers.astype(np.float64)
    middle, sides = values[:, :2] + centres, values[:, 2:4]
    boxes = np.concatenate([middle - sides / 2, middle + sides / 2], axis=1)
    return boxes, values[:, 4:].reshape(-1, len(LANDMARKS), 2) + centres[:, None]


def blend(
    places: NDArray[np.float64],
    scores: NDArray[np.float64],
    boxes: NDArray[np.float64],
    kept: NDArray[np.int64],
    iou_threshold: float,
) -> NDArray[np.float64]:
    """MediaPipe's weighted suppression: each kept face is the mean of those that it suppressed, weighted by score.

    Args:
        places: `(n, m)` numbers to average.
        scores: `(n,)`.
        boxes: `(n, 4)`.
        kept: k indices, the surest first.
        iou_threshold: Above which one box suppressed another.

    """
    together = _overlaps(boxes[kept], boxes) > iou_threshold
    together[np.arange(len(kept)), kept] = True
    first = together & (together.cumsum(axis=0) == 1)
    weights = first * scores
    blended: NDArray[np.float64] = (weights @ places) / weights.sum(axis=1, keepdims=True)
    return blended


def _overlaps(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of each pair: `(k, n)`."""
    corner = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    opposite = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    shared = (opposite - corner).clip(0).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=-1) for boxes in (ours, theirs)]
    found: NDArray[np.float64] = shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-12)
    return found
