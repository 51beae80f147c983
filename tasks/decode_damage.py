"""Whether the bytes of a packet can be what an encoder wrote, told without decoding them.

Decoders of arithmetic codes make pictures of any bytes, wrong ones too. What is looked for here costs microseconds a
packet: the framing of units, and runs of zeros (the usual face of bytes that were never written or never fetched),
which no encoder writes. The standard library and unit parsing only.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from tasks.decode_units import length_size_of

_FORBIDDEN_BIT = 0x80
_UNIT_ZEROS = bytes(16)
"""Three zeros never stand inside a unit (H.264, 7.4.1; H.265, 7.4.2); behind one there may be any number of them."""
_FRAME_ZEROS = bytes(32)
"""VP8 and VP9 forbid no bytes; from flat and still pictures and lossless ones their encoders wrote nine at most."""


class Damage(Enum):
    """What the bytes of a packet tell of damage to it."""

    NONE = "none"
    """Nothing: the packet may be whole."""
    INSIDE = "inside"
    """It is broken, but not from its start on: the packet before it in the file is not concerned."""
    FROM_START = "from start"
    """It is broken from its start on, so that the damage may have begun in the packet before it."""


def damage_test(codec: str, extradata: bytes | None) -> Callable[[memoryview], Damage]:
    """A function that looks for damage in the bytes of a packet; one that finds none where nothing is known to tell."""
    if codec in {"h264", "hevc"}:
        length_size = length_size_of(codec, extradata or b"")
        header_size = 1 if codec == "h264" else 2
        if length_size:
            return lambda packet: _damage_to_units(bytes(packet), length_size, header_size)
        return lambda packet: _damage_to_stream(bytes(packet))
    if codec in {"vp8", "vp9"}:
        return lambda packet: _damage_to_frame(bytes(packet))
    return lambda _: Damage.NONE


def _damage_to_units(data: bytes, length_size: int, header_size: int) -> Damage:
    """Damage to units with their lengths before them (ISO/IEC 14496-15, 5.3.2)."""
    position = 0
    while position + length_size < len(data):
        damage = Damage.INSIDE if position else Damage.FROM_START
        start = position + length_size
        end = start + int.from_bytes(data[position:start])
        if start + header_size > end or end > len(data) or not _is_header(data[start : start + header_size]):
            return damage
        zeros = data.find(_UNIT_ZEROS, start, end)
        if zeros >= 0 and data[zeros:end].strip(b"\0"):
            return damage if zeros < start + header_size else Damage.INSIDE
        position = end
    return Damage.NONE


def _is_header(header: bytes) -> bool:
    """A unit's header: no forbidden bit, and in HEVC's, of two bytes, a temporal layer."""
    return not header[0] & _FORBIDDEN_BIT and (len(header) == 1 or bool(header[1] & 7))


def _damage_to_stream(data: bytes) -> Damage:
    """Damage to units with start codes between them, before which any number of zeros may stand (H.264, annex B)."""
    if data[:64].lstrip(b"\0")[:1] not in {b"\1", b""}:
        return Damage.FROM_START
    zeros = data.find(_UNIT_ZEROS)
    while zeros >= 0:
        behind = len(data) - len(data[zeros:].lstrip(b"\0"))
        if behind < len(data) and data[behind] != 1:
            return _damage_at(zeros)
        zeros = data.find(_UNIT_ZEROS, behind)
    return Damage.NONE


def _damage_to_frame(data: bytes) -> Damage:
    zeros = data.find(_FRAME_ZEROS)
    return Damage.NONE if zeros < 0 else _damage_at(zeros)


def _damage_at(position: int) -> Damage:
    return Damage.INSIDE if position else Damage.FROM_START
