"""A decoded frame as RGB pixels, as a player shows it.

Colours follow the frame's own flags, as swscale reads them off the frame: the matrix (BT.601, BT.709, BT.2020, SMPTE
240M, FCC) and the range (limited or full). What the file doesn't say is BT.601 and limited, whatever the picture's
size, as FFmpeg, OpenCV and PyAV take it: models were trained on frames that were read so. Grey pictures are full range
even where they are flagged otherwise, and PQ and HLG are not tone-mapped: FFmpeg's rules too. So the pixels are, bit
by bit, those of PyAV's `frame.to_ndarray(format="rgb24")`, brought upright; but for matrices at which PyAV raises, and
for 16-bit RGB that it misreads. Where a shorter way gives the same, they are drawn by that (see `decode_swscale`).

Runs in the decode worker only: imports av and numpy, and nothing of ours that imports more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from tasks.decode_geometry import UPRIGHT, Orientation, copy_pixels, orientation_of
from tasks.decode_swscale import ROOM_BEHIND_BYTES, StraightRgb, drawing_by_swscale
from tasks.decode_video import VideoFile

MATRICES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
"""The matrices that swscale knows, by their code (ISO/IEC 23091-2, 8.3); code 2 says nothing."""
UNSPECIFIED = 2
_BT2020_CONSTANT_LUMINANCE = 10
_MISREAD = {"rgb555be", "bgr555be", "rgb565be", "bgr565be"}
"""Raw 16-bit QuickTime: swscale takes the bytes of a pixel the wrong way round, unless it only has to swap them."""


TOO_LARGE = "the frame has more pixels than are allowed"
NO_RGB = "the frame's pixels are of a kind that cannot be turned into RGB"


class PictureError(Exception):
    """There are no pixels of the frame; the text says why."""


@dataclass(frozen=True)
class Picture:
    """A frame that is still to be drawn, upright, in RGB.

    Attributes:
        shape: `(height, width, 3)`.
        draw: draws it into flat uint8 of `room_bytes`, row behind row. Raises `PictureError`.

    """

    shape: tuple[int, int, int]
    draw: Callable[[NDArray[np.uint8]], None]

    @property
    def size_bytes(self) -> int:
        """What it takes when it is drawn."""
        return math.prod(self.shape)

    @property
    def room_bytes(self) -> int:
        """What it takes while it is drawn: what lies behind it may be written to, and means nothing."""
        return self.size_bytes + ROOM_BEHIND_BYTES


class Pictures:
    """Turns frames of one video into upright RGB, all of the size in which the video's first frame is shown."""

    def __init__(self, video: VideoFile, straight: StraightRgb | None = None) -> None:
        """Looks for the first frame where nobody has yet: whoever decodes has to seek or rewind after that.

        `straight`: the shorter way; unless given, the one that there is.
        """
        if video.shown_size is None:
            if not video.is_fresh:
                video.rewind()
            video.shown_size = _first_shown_size(video)
        self._size = video.shown_size
        self._max_pixels = video.max_pixels
        self._reformatter = VideoReformatter()
        self._straight = straight or StraightRgb(drawing_by_swscale())

    def of(self, frame: VideoFrame) -> Picture:
        """The frame as a player shows it. Raises `PictureError`."""
        if frame.width * frame.height > self._max_pixels:
            raise PictureError(TOO_LARGE)
        orientation = orientation_of(frame)
        width, height = self._size or displayed_size(frame)
        return Picture((height, width, 3), lambda room: self._draw(frame, orientation, (width, height), room))

    def _draw(
        self, frame: VideoFrame, orientation: Orientation, size: tuple[int, int], room: NDArray[np.uint8]
    ) -> None:
        _replace_unknown_matrix(frame)
        is_plain = orientation == UPRIGHT and (frame.width, frame.height) == size
        if is_plain and self._straight.draw(frame, room, self._rgb):
            return
        pixels = orientation.upright(self._rgb(frame, orientation.turned(size)))
        copy_pixels(room[: pixels.size].reshape(pixels.shape), pixels)

    def _rgb(self, frame: VideoFrame, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """The frame's pixels as they are stored, scaled to a size, their own unless given. Raises `PictureError`."""
        width, height = size or (frame.width, frame.height)
        try:
            if frame.format.name in _MISREAD:
                frame = self._reformatter.reformat(frame, format=frame.format.name[:-2] + "le", threads=1)
            rgb = self._reformatter.reformat(frame, width, height, format="rgb24", threads=1)
        except (av.error.FFmpegError, ValueError) as error:
            raise PictureError(NO_RGB) from error
        return _pixels_of(rgb)


def _pixels_of(rgb: VideoFrame) -> NDArray[np.uint8]:
    """The `(h, w, 3)` pixels of a frame in rgb24, in its own memory where they lie there row behind row."""
    (plane,) = rgb.planes
    if plane.line_size != 3 * rgb.width:
        return cast("NDArray[np.uint8]", rgb.to_ndarray())
    return np.frombuffer(memoryview(plane), np.uint8, rgb.height * plane.line_size).reshape(rgb.height, rgb.width, 3)


def is_full_range(frame: VideoFrame) -> bool:
    """Whether black is 0 and white the largest value, rather than 16 and 235 of 255."""
    is_grey = len(frame.format.components) < len("YUV")
    return is_grey or frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG


def displayed_size(frame: VideoFrame) -> tuple[int, int]:
    """Width and height of a frame as it is shown."""
    return orientation_of(frame).turned((frame.width, frame.height))


def _first_shown_size(video: VideoFile) -> tuple[int, int] | None:
    """The size of the first frame that decodes, read from where the file stands, its beginning."""
    for packet in video.untimed_packets():
        frames, _ = video.decode(packet)
        if frames:
            video.drain()
            return displayed_size(frames[0])
    return next(map(displayed_size, video.drain()), None)


def _replace_unknown_matrix(frame: VideoFrame) -> None:
    """Take a matrix that swscale refuses as FFmpeg's own command did before it refused them."""
    if frame.colorspace != UNSPECIFIED and frame.colorspace not in MATRICES:
        constant = frame.colorspace == _BT2020_CONSTANT_LUMINANCE
        frame.colorspace = Colorspace.BT2020 if constant else Colorspace.ITU601
