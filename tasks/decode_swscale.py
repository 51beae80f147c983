"""Frames drawn as RGB by libswscale itself, straight into the memory that they are to lie in.

PyAV's reformatter gives every picture memory of its own, out of which it then has to be copied: with 1080p the copy
takes nearly as long as the conversion. So the library that PyAV has loaded is called directly, with what PyAV would say
to it, for frames that need no more than the plain case: 8-bit planar, as large as they are to be, not interlaced.
Nothing that PyAV does not show of a frame (where its chroma lies) makes a difference to those.

That both ways draw the same is not taken for granted. For every kind of frame, noise and the first real frame are drawn
both ways; where a bit differs, or a byte too far behind the picture was touched, that kind is left to PyAV. So it is
with rows of 1 to 7 pixels more than a multiple of 16, whose last ones the library leaves out where rows lie close.
Runs in the decode worker only: imports av, numpy and the standard library, and nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import re
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

_STEP_BYTES = 64
"""The library writes so many pixels at once that it may go beyond a row's end, by 45 bytes; the next row puts that
right, and behind the last one there has to be room."""
ROOM_BEHIND_BYTES = 2 * _STEP_BYTES
"""Memory behind a picture that is lent with it: what may be written to, and what is watched."""
_FORMATS = {"yuv420p": 0, "yuv422p": 4, "yuv444p": 5, "yuvj420p": 12, "yuvj422p": 13, "yuvj444p": 14}
"""Formats of frames by the library's number (libavutil's pixfmt.h); the first ones of a list that only grows."""
_RGB24 = 2
_BILINEAR = 2
_MATRICES = {1, 2, 4, 5, 6, 7, 9}
"""Codes of matrices (ISO/IEC 23091-2, 8.3) that are the library's own numbers for them, and 2 for its default."""
_ONE = 1 << 16
_NOISE_ROWS = 16
_NOISE_FACTORS = (2654435769, 1640531527, 3432918353)
"""Odd numbers near parts of 2**32 that are no simple fractions: their multiples' top bits take all values in no order
(NumPy's own generators take longer to be imported than this saves)."""
_PLANES = 4
_Addresses = ctypes.c_void_p * _PLANES
_LineSizes = ctypes.c_int * _PLANES

ByPyAV = Callable[[VideoFrame], NDArray[np.uint8]]
"""Draws a frame in the way that is to be matched: `(height, width, 3)` RGB."""


@dataclass(frozen=True)
class Kind:
    """All of a frame that decides how its pixels become RGB, and how the library goes about it."""

    pixel_format: str
    width: int
    height: int
    matrix: int
    full_range: bool
    line_sizes: tuple[int, ...]
    """Bytes from row to row, plane by plane."""


def kind_of(frame: VideoFrame) -> Kind | None:
    """The kind of a frame; None where it is not one of the plain ones."""
    name, height = frame.format.name, frame.height
    if name not in _FORMATS or frame.colorspace not in _MATRICES or frame.interlaced_frame:
        return None
    if height % 2 and "444" not in name:
        return None
    line_sizes = tuple(plane.line_size for plane in frame.planes)
    if len(line_sizes) != len("YUV") or min(line_sizes) <= 0:
        return None
    full_range = name.startswith("yuvj") or frame.color_range == ColorRange.JPEG
    return Kind(name, frame.width, height, int(frame.colorspace), full_range, line_sizes)


class Drawing(Protocol):
    """A way to draw frames of one kind."""

    def draw(self, frame: VideoFrame, room: NDArray[np.uint8]) -> bool:
        """Draw `frame` at the start of `room`, flat uint8, row behind row; False where that failed."""


class SwscaleDrawing:
    """One kind's conversion by the library that PyAV has loaded."""

    def __init__(self, library: ctypes.CDLL, kind: Kind) -> None:
        """Raises `ValueError` where the library does not know how."""
        size = (kind.width, kind.height)
        context = library.sws_getContext(*size, _FORMATS[kind.pixel_format], *size, _RGB24, _BILINEAR, None, None, None)
        if not context:
            raise ValueError(f"libswscale converts no {kind}")
        weakref.finalize(self, library.sws_freeContext, context)
        matrix = library.sws_getCoefficients(kind.matrix)
        colours = (matrix, int(kind.full_range), matrix, 1, 0, _ONE, _ONE)
        if library.sws_setColorspaceDetails(context, *colours) < 0:
            raise ValueError(f"libswscale does not take the colours of {kind}")
        self._library = library
        self._context = context
        self._height = kind.height
        self._from_lines = _LineSizes(*kind.line_sizes)
        self._to_lines = _LineSizes(3 * kind.width)

    def draw(self, frame: VideoFrame, room: NDArray[np.uint8]) -> bool:
        """As `Drawing` says."""
        planes = _Addresses(*(plane.buffer_ptr for plane in frame.planes))
        place = _Addresses(room.__array_interface__["data"][0])
        rows = self._library.sws_scale(self._context, planes, self._from_lines, 0, self._height, place, self._to_lines)
        return bool(rows == self._height)


class StraightRgb:
    """Draws frames straight into their place wherever that gives what PyAV gives."""

    def __init__(self, drawing_of: Callable[[Kind], Drawing] | None) -> None:
        """`drawing_of` raises `ValueError` for kinds that it doesn't draw; None leaves all of them to PyAV."""
        self._drawing_of = drawing_of
        self._kind: Kind | None = None
        self._drawing: Drawing | None = None

    def draw(self, frame: VideoFrame, room: NDArray[np.uint8], by_pyav: ByPyAV) -> bool:
        """Draw `frame` into `room`, flat uint8 with `ROOM_BEHIND_BYTES` more than the picture has.

        False leaves it to the caller to draw, whatever `room` holds by then. Raises what `by_pyav` raises.
        """
        kind = kind_of(frame) if self._drawing_of is not None else None
        if kind is None:
            return False
        if kind != self._kind:
            self._kind, self._drawing = kind, self._right_drawing(kind, frame, room, by_pyav)
            return self._drawing is not None
        return self._drawing is not None and self._drawing.draw(frame, room)

    def _right_drawing(self, kind: Kind, frame: VideoFrame, room: NDArray[np.uint8], by_pyav: ByPyAV) -> Drawing | None:
        """What draws frames of this kind, None where it is not right; `frame` is then drawn already."""
        assert self._drawing_of is not None
        noise = _noise_like(frame, kind)
        noise_kind = kind_of(noise)
        if noise_kind is None or replace(noise_kind, height=kind.height, line_sizes=kind.line_sizes) != kind:
            return None
        try:
            drawing, noise_drawing = self._drawing_of(kind), self._drawing_of(noise_kind)
        except ValueError:
            return None
        noise_room = np.empty(3 * noise.width * noise.height + ROOM_BEHIND_BYTES, np.uint8)
        is_right = _draws_as(by_pyav, noise_drawing, noise, noise_room) and _draws_as(by_pyav, drawing, frame, room)
        return drawing if is_right else None


def _draws_as(by_pyav: ByPyAV, drawing: Drawing, frame: VideoFrame, room: NDArray[np.uint8]) -> bool:
    """Whether a frame comes out the same both ways, and nothing is written far behind it."""
    expected = by_pyav(frame)
    watched = room[expected.size + _STEP_BYTES :]
    untouched = np.arange(len(watched), dtype=np.uint8)
    watched[:] = untouched
    if not drawing.draw(frame, room):
        return False
    drawn = room[: expected.size].reshape(expected.shape)
    # Some rows at a time, so that the comparison takes no fresh memory.
    bands = range(0, len(drawn), _NOISE_ROWS)
    same = all(np.array_equal(drawn[top : top + _NOISE_ROWS], expected[top : top + _NOISE_ROWS]) for top in bands)
    return same and np.array_equal(watched, untouched)


def _noise_like(frame: VideoFrame, kind: Kind) -> VideoFrame:
    """Some rows with all values of all colours, for a real frame may be black, and show no mistake."""
    noise = VideoFrame(kind.width, _NOISE_ROWS, kind.pixel_format)
    noise.colorspace, noise.color_range = frame.colorspace, frame.color_range
    for plane, factor in zip(noise.planes, _NOISE_FACTORS, strict=True):
        values = np.arange(plane.buffer_size, dtype=np.uint32) * np.uint32(factor) >> 24
        plane.update(values.astype(np.uint8).tobytes())
    return noise


def drawing_by_swscale() -> Callable[[Kind], Drawing] | None:
    """What draws with the library that PyAV has loaded; None where that is not to be found."""
    library = _loaded_library()
    return None if library is None else lambda kind: SwscaleDrawing(library, kind)


@cache
def _loaded_library() -> ctypes.CDLL | None:
    """The very libswscale in this process that has PyAV's version: it is found, never loaded."""
    try:
        mapped = set(re.findall(r"/.*/libswscale[^/\n]*$", Path("/proc/self/maps").read_text(), re.M))
        libraries = [ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_NOLOAD) for path in sorted(mapped)]
        major, minor, micro = av.library_versions["libswscale"]
        version = major << 16 | minor << 8 | micro
        found = next((each for each in libraries if each.swscale_version() == version), None)
        return None if found is None else _declared(found)
    except (OSError, AttributeError, KeyError):
        return None


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with the types of what is called (libswscale's swscale.h)."""
    number, address = ctypes.c_int, ctypes.c_void_p
    library.sws_getContext.restype = address
    library.sws_getContext.argtypes = [number] * 7 + [address] * 3
    library.sws_freeContext.restype = None
    library.sws_freeContext.argtypes = [address]
    library.sws_getCoefficients.restype = address
    library.sws_getCoefficients.argtypes = [number]
    library.sws_setColorspaceDetails.argtypes = [address, address, number, address, number, number, number, number]
    library.sws_scale.argtypes = [address, _Addresses, _LineSizes, number, number, _Addresses, _LineSizes]
    return library
