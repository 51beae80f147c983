"""The chunks of an AVI: their numbers, also beyond damage, and frames that share a chunk taken apart.

Runs in the decode worker only: imports av and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from av.index import IndexEntries
from av.packet import Packet
from av.video.stream import VideoStream

from tasks.decode_mpeg4 import Kind, second_plane

_HEADER_BYTES = 8
"""A chunk's name and length; the file's index points at them, packets begin behind them."""


class TimesUnknownError(Exception):
    """The order of a file's frames cannot be told from its packets."""


NumberedPackets: TypeAlias = "Iterator[tuple[int, Packet[VideoStream] | None]]"


def numbered(packets: Iterator[Packet[VideoStream]], stream: VideoStream) -> NumberedPackets:
    """Packets with their chunks' numbers from 0, and None for each chunk that the file's index has and that is lost.

    The demuxer counts the chunks that it comes upon; behind a damaged place only the file's index knows the number.
    Raises `TimesUnknownError` where a packet has neither.
    """
    entries = stream.index_entries
    place: int | None = None
    for packet in packets:
        found = _place_of(packet, entries, place)
        if found is None:
            # Data that looks like a chunk, in the middle of damage; without a trustworthy index, the demuxer's count.
            if place is not None:
                continue
            if packet.dts is None:
                raise TimesUnknownError
            yield packet.dts, packet
            continue
        if place is not None:
            for lost in range(place + 1, found):
                if entries[lost].size:
                    yield entries[lost].timestamp, None
        place = found
        yield entries[found].timestamp, packet


def _place_of(packet: Packet[VideoStream], entries: IndexEntries, last: int | None) -> int | None:
    """Where the packet stands in the file's index, behind the place of the last one; None where it doesn't."""
    position = None if packet.pos is None else packet.pos - _HEADER_BYTES
    if position is None:
        return None
    low = 0 if last is None else last + 1
    if low < len(entries) and entries[low].pos == position:
        return low
    high = len(entries)
    while low < high:
        middle = (low + high) // 2
        if entries[middle].pos < position:
            low = middle + 1
        else:
            high = middle
    return low if low < len(entries) and entries[low].pos == position else None


def unpacked(chunks: NumberedPackets, kind_of: Callable[[memoryview], Kind], *, is_packed: bool) -> NumberedPackets:
    """Take B-frames out of the chunks that they share with the frame after them, as libavcodec's decoder does.

    A B-frame so packed takes the number, and the place, of the next chunk: a placeholder, or another B-frame that
    moves on by one in turn. Raises `TimesUnknownError` where neither follows, for then a decoder loses one of the two;
    and where frames share a chunk though the stream doesn't say so (`is_packed`), for then it loses the second.
    """
    waiting: bytes | None = None
    for number, packet in chunks:
        kind = Kind.UNKNOWN if packet is None else kind_of(memoryview(packet))
        if packet is None or kind is Kind.UNKNOWN:
            waiting = None
            yield number, packet
        elif waiting is not None:
            if kind not in {Kind.BETWEEN, Kind.NO_FRAME}:
                raise TimesUnknownError
            due, waiting = waiting, bytes(packet) if kind is Kind.BETWEEN else None
            yield number, _packet_of(due, packet)
        else:
            second = second_plane(memoryview(packet))
            if second is None:
                yield number, packet
                continue
            data = bytes(packet)
            if not is_packed or kind_of(memoryview(data)[second:]) is not Kind.BETWEEN:
                raise TimesUnknownError
            waiting = data[second:]
            yield number, _packet_of(data[:second], packet)


def _packet_of(data: bytes, chunk: Packet[VideoStream]) -> Packet[VideoStream]:
    """A packet for part of what a chunk holds, or for what takes its place."""
    packet: Packet[Any] = Packet(data)
    packet.dts, packet.duration, packet.time_base = chunk.dts, chunk.duration, chunk.time_base
    packet.is_corrupt = chunk.is_corrupt
    return packet
