"""A decoded frame as RGB pixels, as a player shows it.

Runs in the decode worker only: imports av and numpy, and nothing of ours.
"""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray


def upright_rgb(frame: VideoFrame, reformatter: VideoReformatter) -> NDArray[np.uint8]:
    """The frame as `(height, width, 3)` RGB as a player shows it; colours as the stream says they are meant."""
    rgb = reformatter.reformat(frame, format="rgb24", threads=1)
    plane = rgb.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: rgb.height]
    pixels = rows[:, : rgb.width * 3].reshape(rgb.height, rgb.width, 3)
    return np.rot90(pixels, quarter_turns(frame))


def quarter_turns(frame: VideoFrame) -> int:
    """Quarter turns counterclockwise, 0 to 3, that bring a stored frame upright."""
    return round(frame.rotation / 90) % 4
