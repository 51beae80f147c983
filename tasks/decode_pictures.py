"""A decoded frame as RGB pixels, as a player shows it.

Colours follow the frame's own flags, as swscale reads them off the frame: the matrix (BT.601, BT.709, BT.2020, SMPTE
240M, FCC) and the range (limited or full). What the file doesn't say is BT.601 and limited, whatever the picture's
size, as FFmpeg, OpenCV and PyAV take it: models were trained on frames that were read so. Grey pictures are full range
even where they are flagged otherwise, and PQ and HLG are not tone-mapped: FFmpeg's rules too. So the pixels are, bit
by bit, those of PyAV's `frame.to_ndarray(format="rgb24")`, brought upright; but for matrices at which PyAV raises, and
for 16-bit RGB that it misreads.

Runs in the decode worker only: imports av and numpy, and nothing of ours that imports more.
"""

from __future__ import annotations

from typing import cast

import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from tasks.decode_geometry import orientation_of
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


class Pictures:
    """Turns frames of one video into upright RGB, all of the size in which the video's first frame is shown."""

    def __init__(self, video: VideoFile) -> None:
        """Looks for the first frame where nobody has yet: whoever decodes has to seek or rewind after that."""
        if video.shown_size is None:
            if not video.is_fresh:
                video.rewind()
            video.shown_size = _first_shown_size(video)
        self._size = video.shown_size
        self._max_pixels = video.max_pixels
        self._reformatter = VideoReformatter()

    def upright_rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """A view of the frame as `(height, width, 3)` RGB as a player shows it. Raises `PictureError`."""
        if frame.width * frame.height > self._max_pixels:
            raise PictureError(TOO_LARGE)
        orientation = orientation_of(frame)
        width, height = orientation.turned(self._size) if self._size else (frame.width, frame.height)
        _replace_unknown_matrix(frame)
        try:
            if frame.format.name in _MISREAD:
                frame = self._reformatter.reformat(frame, format=frame.format.name[:-2] + "le", threads=1)
            rgb = self._reformatter.reformat(frame, width, height, format="rgb24", threads=1)
        except (av.error.FFmpegError, ValueError) as error:
            raise PictureError(NO_RGB) from error
        return orientation.upright(cast("NDArray[np.uint8]", rgb.to_ndarray()))


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
