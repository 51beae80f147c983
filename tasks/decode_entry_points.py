"""Which packets decoding can truly start at: not every keyframe that a container marks is one.

H.264 files may mark frames whose picture is complete only some frames later (periodic intra refresh), or intra frames
that later frames look back beyond. Starting there would lose frames or change them. The standard library and
unit parsing only.
"""

from __future__ import annotations

from collections.abc import Callable

from tasks.decode_units import length_size_of, units_of

_H264_SLICE, _H264_IDR, _H264_SEI = 1, 5, 6
_SEI_RECOVERY_POINT = 6
_HEVC_FIRST_IRAP, _HEVC_LAST_IRAP, _HEVC_FIRST_NON_PICTURE = 16, 21, 32


def entry_point_test(codec: str, extradata: bytes | None) -> Callable[[memoryview], bool]:
    """A function that says of a keyframe packet's bytes whether decoding can start there and lose nothing."""
    length_size = length_size_of(codec, extradata or b"")
    if codec == "h264":
        return lambda packet: _is_h264_entry(packet, length_size)
    if codec == "hevc":
        return lambda packet: _is_hevc_entry(packet, length_size)
    return lambda _: True


def _is_h264_entry(packet: memoryview, length_size: int) -> bool:
    """An IDR picture, or a recovery point from which on every shown frame is complete (H.264, D.2.8)."""
    recovers_at_once = False
    for unit in units_of(packet, length_size):
        kind = unit[0] & 31
        if kind == _H264_IDR:
            return True
        if kind == _H264_SEI:
            recovers_at_once = recovers_at_once or _recovers_at_once(bytes(unit[1:]))
        if kind == _H264_SLICE:
            return recovers_at_once
    return False


def _is_hevc_entry(packet: memoryview, length_size: int) -> bool:
    """The first picture unit is an intra random access picture (H.265, table 7-1)."""
    for unit in units_of(packet, length_size):
        kind = unit[0] >> 1 & 63
        if kind < _HEVC_FIRST_NON_PICTURE:
            return _HEVC_FIRST_IRAP <= kind <= _HEVC_LAST_IRAP
    return False


def _recovers_at_once(sei: bytes) -> bool:
    """Whether a SEI unit holds a recovery point whose recovery_frame_cnt, its first field, is 0."""
    data = sei.replace(b"\0\0\3", b"\0\0")
    position = 0
    while position + 2 < len(data):
        kind, position = _run_length(data, position)
        size, position = _run_length(data, position)
        if kind == _SEI_RECOVERY_POINT:
            return position < len(data) and bool(data[position] & 0x80)
        position += size
    return False


def _run_length(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    while position < len(data) and data[position] == 255:
        value += 255
        position += 1
    return value + (data[position] if position < len(data) else 0), position + 1
