"""The few bits of MPEG-4 Visual headers that say which packets of an AVI are frames, and in which order they are shown.

ISO/IEC 14496-2, 6.2.3 (video object layer) and 6.2.5 (video object plane, VOP). Standard library only.
"""

from __future__ import annotations

import re
from enum import Enum


class Kind(Enum):
    """What a packet holds, as far as its first bits say."""

    KEY = "a frame that needs no other"
    DEPENDENT = "a frame that needs earlier ones"
    BETWEEN = "a frame that needs a later one and that no other needs"
    NO_FRAME = "a placeholder"
    UNKNOWN = "nothing that the codec writes"


_CODING_TYPES = (Kind.KEY, Kind.DEPENDENT, Kind.BETWEEN, Kind.DEPENDENT)
"""By vop_coding_type (table 6-20): intra, predicted, bidirectional, sprite."""
_LAYER_START = re.compile(b"\0\0\1[\x20-\x2f]")
_PLANE_START = re.compile(b"\0\0\1\xb6")
_PACKED_SIGNATURE = re.compile(b"DivX\\d+(?:Build|b)\\d+p")
_HEADER_BYTES = 64
_EXTENDED_ASPECT = 15
_GREY_SHAPE = 3
_BUFFER_PARAMETER_BITS = 79


class _Bits:
    """Reads a header bit by bit; zeroes follow its end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data.ljust(_HEADER_BYTES, b"\0")[:_HEADER_BYTES])
        self._left = 8 * _HEADER_BYTES

    def take(self, count: int) -> int:
        self._left = max(0, self._left - count)
        return self._value >> self._left & (1 << count) - 1

    def __bool__(self) -> bool:
        return self._left > 0


def time_bits(data: memoryview) -> int | None:
    """Width of a plane's vop_time_increment, from the first video object layer in `data`; None where there is none."""
    start = _LAYER_START.search(data)
    if start is None:
        return None
    bits = _Bits(bytes(data[start.end() : start.end() + _HEADER_BYTES]))
    bits.take(9)
    version = 1
    if bits.take(1):
        version = bits.take(4)
        bits.take(3)
    if bits.take(4) == _EXTENDED_ASPECT:
        bits.take(16)
    if bits.take(1):
        bits.take(3)
        if bits.take(1):
            bits.take(_BUFFER_PARAMETER_BITS)
    if bits.take(2) == _GREY_SHAPE and version != 1:
        bits.take(4)
    bits.take(1)
    resolution = bits.take(16)
    return max(1, (resolution - 1).bit_length()) if resolution else None


def plane_kind(data: memoryview, increment_bits: int) -> Kind:
    """What the first plane in `data` is; `UNKNOWN` where there is no whole plane header.

    A single byte is DivX's way to write a placeholder.
    """
    if len(data) == 1:
        return Kind.NO_FRAME
    start = _PLANE_START.search(data)
    if start is None:
        return Kind.UNKNOWN
    bits = _Bits(bytes(data[start.end() : start.end() + _HEADER_BYTES]))
    kind = _CODING_TYPES[bits.take(2)]
    while bits and bits.take(1):
        pass
    marker = bits.take(1)
    bits.take(increment_bits)
    if not marker or not bits.take(1):
        return Kind.UNKNOWN
    return kind if bits.take(1) else Kind.NO_FRAME


def second_plane(data: memoryview) -> int | None:
    """Where a second plane begins, None where there is but one."""
    planes = _PLANE_START.finditer(data)
    next(planes, None)
    second = next(planes, None)
    return second.start() if second else None


def says_packed(data: memoryview) -> bool:
    """Whether DivX's signature, which Xvid writes too, says that B-frames share packets with the frame after them."""
    return _PACKED_SIGNATURE.search(data) is not None
