"""Which AV1 packets change nothing in any later frame, read from their headers. Standard library only.

A frame that refreshes no reference slot leaves nothing behind: probabilities, motion vectors, segments, loop filter
deltas and film grain are kept with the slots (AV1 specification, 7.20), so that a decoder that never saw it decodes
the rest as if it had.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_SEQUENCE_HEADER, _TEMPORAL_DELIMITER, _FRAME_HEADER, _TILE_GROUP, _METADATA, _FRAME = 1, 2, 3, 4, 5, 6
_REDUNDANT_FRAME_HEADER, _PADDING = 7, 15
_INDIFFERENT = {_TEMPORAL_DELIMITER, _TILE_GROUP, _METADATA, _REDUNDANT_FRAME_HEADER, _PADDING}
_INTER_FRAME = 1
_HEADER_BYTES = 32
_SELECT = 2


@dataclass(frozen=True)
class _Sequence:
    """What of a sequence header decides where a frame header's fields stand (AV1 specification, 5.5)."""

    frame_id_bits: int
    order_hint_bits: int
    screen_content_tools: int
    integer_mv: int


class Av1Frames:
    """Follows a stream's packets, to say of each whether later frames need it."""

    def __init__(self) -> None:
        self._sequence: _Sequence | None = None

    def is_needed_later(self, packet: memoryview) -> bool:
        """Whether any later frame may depend on the packet; True for everything that is not understood."""
        try:
            return self._refreshes(packet)
        except (_UnknownCodingError, IndexError):
            return True

    def _refreshes(self, packet: memoryview) -> bool:
        refreshes, frames = False, 0
        for kind, payload in _units(packet):
            if kind == _SEQUENCE_HEADER:
                self._sequence = None
                self._sequence = _read_sequence(_Bits(payload))
                refreshes = True
            elif kind in {_FRAME, _FRAME_HEADER}:
                if self._sequence is None:
                    return True
                refreshes = refreshes or _refreshes_slots(_Bits(payload), self._sequence)
                frames += 1
            elif kind not in _INDIFFERENT:
                return True
        return refreshes or not frames


class _UnknownCodingError(Exception):
    """Something is coded in a way that is not followed here."""


class _Bits:
    """Reads the first bytes of a header bit by bit, most significant first."""

    def __init__(self, payload: memoryview) -> None:
        data = bytes(payload[:_HEADER_BYTES])
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise _UnknownCodingError
        return self._value >> self._left & ((1 << count) - 1)


def _units(packet: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Kind and payload of each unit (OBU) of a packet (5.3). Raises `_UnknownCodingError` for odd sizes and layers."""
    position = 0
    while position < len(packet):
        header = packet[position]
        forbidden_or_extended, has_size = header & 0x84, header & 2
        if forbidden_or_extended or not has_size:
            raise _UnknownCodingError
        size, start = _leb128(packet, position + 1)
        if start + size > len(packet):
            raise _UnknownCodingError
        yield header >> 3 & 15, packet[start : start + size]
        position = start + size


def _leb128(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[position + index]
        value |= (byte & 127) << 7 * index
        if not byte & 128:
            return value, position + index + 1
    raise _UnknownCodingError


def _read_sequence(bits: _Bits) -> _Sequence:
    """The fields of 5.5.1. Raises `_UnknownCodingError` for what is rare in files: decoder models, layers, stills."""
    bits.take(3 + 1)
    if bits.take(1):
        raise _UnknownCodingError
    if bits.take(1):
        bits.take(32 + 32)
        if bits.take(1):
            _skip_variable_length(bits)
        if bits.take(1):
            raise _UnknownCodingError
    has_display_delay = bits.take(1)
    if bits.take(5) or bits.take(12):
        raise _UnknownCodingError
    if bits.take(5) > 7:
        bits.take(1)
    if has_display_delay and bits.take(1):
        bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    bits.take(width_bits + height_bits)
    frame_id_bits = bits.take(4) + bits.take(3) + 3 if bits.take(1) else 0
    bits.take(3 + 4)
    has_order_hint = bits.take(1)
    if has_order_hint:
        bits.take(2)
    screen_content_tools = _SELECT if bits.take(1) else bits.take(1)
    integer_mv = _SELECT
    if screen_content_tools and not bits.take(1):
        integer_mv = bits.take(1)
    return _Sequence(frame_id_bits, bits.take(3) + 1 if has_order_hint else 0, screen_content_tools, integer_mv)


def _skip_variable_length(bits: _Bits) -> None:
    zeros = 0
    while not bits.take(1):
        zeros += 1
    bits.take(min(zeros, 32))


def _refreshes_slots(bits: _Bits, sequence: _Sequence) -> bool:
    """Whether a frame is kept for later ones: `refresh_frame_flags` (5.9.2); all but inter frames count as kept."""
    shows_existing = bits.take(1)
    if shows_existing or bits.take(2) != _INTER_FRAME:
        return True
    if not bits.take(1):
        bits.take(1)
    error_resilient = bits.take(1)
    bits.take(1)
    tools = bits.take(1) if sequence.screen_content_tools == _SELECT else sequence.screen_content_tools
    if tools and sequence.integer_mv == _SELECT:
        bits.take(1)
    bits.take(sequence.frame_id_bits)
    bits.take(1)
    bits.take(sequence.order_hint_bits)
    if not error_resilient:
        bits.take(3)
    return bits.take(8) != 0
