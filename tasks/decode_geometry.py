"""How a stored picture stands: mirrored or not, turned by so many quarters; and how it is brought upright.

Runs in the decode worker only: imports av and numpy, and nothing of ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

_side_data_of = cast("Callable[[VideoFrame], Mapping[str, Buffer]]", SideDataContainer)
_TILE = 128
"""Columns copied at a time: what a turned copy reads then stays in the processor's cache."""


@dataclass(frozen=True)
class Orientation:
    """What a player does to a stored picture: mirrors it left to right if `mirrored`, then turns it.

    Attributes:
        mirrored: whether the stored picture is a mirror image.
        quarter_turns: clockwise, 0 to 3.

    """

    mirrored: bool = False
    quarter_turns: int = 0

    @property
    def rotation(self) -> int:
        """Degrees clockwise: 0, 90, 180 or 270."""
        return 90 * self.quarter_turns

    def turned(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size in upright position of a picture stored in `size`, and the other way round."""
        return size if self.quarter_turns % 2 == 0 else (size[1], size[0])

    def upright(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A view of the stored `(h, w, 3)` pixels in upright position."""
        return np.rot90(pixels[:, ::-1] if self.mirrored else pixels, -self.quarter_turns)


UPRIGHT = Orientation()


def orientation_of(frame: VideoFrame) -> Orientation:
    """How the display matrix of a frame, the container's or the stream's own, wants it shown.

    The matrix holds, as 16.16 numbers, a b u c d v x y w, by which a stored point (p, q) is displayed at
    (ap + cq + x, bp + dq + y) (ISO/IEC 14496-12, 6.2.2); y points down. Scales and shifts are not followed, and what
    is no right angle is taken to the nearest one.
    """
    try:
        # `frame.side_data` is the same, but a frame that was asked for it refers to itself and lives on.
        side_data = _side_data_of(frame)
        if "DISPLAYMATRIX" not in side_data:
            return UPRIGHT
        matrix = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32)
    except ValueError:
        # PyAV knows no name for something else that the frame carries, and then shows none of it but the angle.
        return Orientation(quarter_turns=round(-frame.rotation / 90) % 4)
    a, b, c, d = (int(matrix[place]) for place in (0, 1, 3, 4))
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return Orientation(mirrored, round(math.degrees(math.atan2(b - c, a + d)) / 90) % 4)


def copy_pixels(place: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> None:
    """Copy `(h, w, 3)` pixels into `place`, as `numpy.copyto` does, and three times as fast where they are turned.

    NumPy walks a turned or mirrored picture three bytes at a time, colour by colour of every pixel; a colour as a whole
    goes faster.
    """
    if pixels.strides[1] == pixels.shape[2]:
        np.copyto(place, pixels)
        return
    tile = _TILE if abs(pixels.strides[1]) > abs(pixels.strides[0]) else pixels.shape[1]
    for start in range(0, pixels.shape[1], tile):
        columns = slice(start, start + tile)
        for colour in range(pixels.shape[2]):
            np.copyto(place[:, columns, colour], pixels[:, columns, colour])
