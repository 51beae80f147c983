"""Square cut-outs of faces and eyes, turned upright where asked: what gaze networks look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from models.onnx_runtime import Array, OnnxNetwork
from models.vision_model import Frame, ModelLoadError


@dataclass(frozen=True)
class Square:
    """A square of a frame, in its pixels; it may reach beyond the frame, whose border then goes on.

    `turn_degrees` is how far the cut-out is turned counter-clockwise against the frame.
    """

    centre: tuple[float, float]
    side: float
    turn_degrees: float = 0.0

    @property
    def corner(self) -> tuple[float, float]:
        """Left and top, before turning."""
        return self.centre[0] - self.side / 2, self.centre[1] - self.side / 2


@dataclass(frozen=True)
class FaceInFrame:
    """One face: its frame, and its box as left, top, right, bottom in the frame's pixels."""

    frame: Frame
    box: NDArray[np.float64]


class GazeEstimator(Protocol):
    """Networks that say where faces look."""

    def angles(self, faces: Sequence[FaceInFrame]) -> NDArray[np.float64]:
        """Give `(n, 2)`: yaw and pitch in radians, as `models.gaze` defines their signs; n is at least 1."""


def square_around(box: NDArray[np.float64], *, growth: float, lift: float) -> Square:
    """The square whose side is the longer of the box's, times `growth`; moved up by `lift` times that side."""
    left, top, right, bottom = box.tolist()
    longer = max(right - left, bottom - top)
    return Square(((left + right) / 2, (top + bottom) / 2 - lift * longer), max(longer, 1.0) * growth)


def cut_out(frame: Frame, square: Square, side_px: int) -> Frame:
    """Give the square as `(side_px, side_px, 3)`, by bilinear interpolation."""
    turn, step = np.radians(square.turn_degrees), square.side / side_px
    across = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * step
    # From the middle of a cut-out's pixel to the middle of a frame's.
    middle = np.array(square.centre) - 0.5 - across @ np.full(2, (side_px - 1) / 2)
    cut = cv2.warpAffine(
        frame,
        np.column_stack([across, middle]),
        (side_px, side_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(cut, dtype=np.uint8)


def blue_green_red(cut_outs: Sequence[Frame]) -> Array:
    """Stack cut-outs as Open Model Zoo's networks take them: `(n, 3, side, side)` BGR, 0 to 255, float32."""
    batch = np.stack(cut_outs)[..., ::-1].transpose(0, 3, 1, 2)
    return np.ascontiguousarray(batch, dtype=np.float32)


def check_names(network: OnnxNetwork, *, inputs: Sequence[str], outputs: Sequence[str], what: str) -> None:
    """See that a network has the inputs and outputs named. Raises `ModelLoadError`."""
    missing = [name for name in inputs if name not in network.inputs]
    missing += [name for name in outputs if name not in network.output_names]
    if missing or len(network.inputs) != len(inputs):
        has = ", ".join([*network.inputs, *network.output_names])
        lacks = f" lacks {', '.join(missing)} and" if missing else ""
        raise ModelLoadError(f"{network.name} is not {what}: it{lacks} has {has}; name another file in the card.")
