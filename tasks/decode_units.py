"""The units (NAL) that H.264 and HEVC packets are made of. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator

START_CODE = b"\0\0\1"


def length_size_of(codec: str, extradata: bytes) -> int:
    """Bytes of a unit's length field (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1); 0 where units follow start codes."""
    place = {"h264": 4, "hevc": 21}.get(codec, 0)
    return (extradata[place] & 3) + 1 if len(extradata) > place and extradata[0] == 1 else 0


def units_of(packet: memoryview, length_size: int) -> Iterator[memoryview]:
    """The units of a packet that are not empty, with lengths before them or start codes between them."""
    if not length_size:
        data = bytes(packet)
        start = data.find(START_CODE)
        while start >= 0:
            following = data.find(START_CODE, start + 3)
            yield from _if_any(packet[start + 3 : following if following >= 0 else len(data)])
            start = following
        return
    position = 0
    while position + length_size < len(packet):
        length = int.from_bytes(packet[position : position + length_size])
        yield from _if_any(packet[position + length_size : position + length_size + length])
        position += length_size + length


def _if_any(unit: memoryview) -> Iterator[memoryview]:
    if len(unit):
        yield unit


def is_unreferenced(codec: str, packet: memoryview, length_size: int) -> bool:
    """Whether the packet's first picture unit says that no other picture refers to it.

    H.264: `nal_ref_idc` is 0 (7.4.1). HEVC: one of the sub-layer non-reference pictures (H.265, table 7-1).
    """
    for unit in units_of(packet, length_size):
        if codec == "h264" and 1 <= unit[0] & 31 <= 5:
            return not unit[0] & 0x60
        if codec == "hevc" and unit[0] >> 1 & 63 < 32:
            return unit[0] >> 1 & 63 in {0, 2, 4, 6, 8, 10, 12, 14}
    return False
