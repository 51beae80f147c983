"""Presentation times for the packets of an AVI, which only has a number for each chunk.

A chunk's number is its time in frames; empty chunks count too, they hold the place of frames that were dropped. Where
nothing is reordered, that is when the frame is shown. With B-frames, decoders of the time gave out a frame for every
chunk put in, one late: a B-frame at once, any other frame when the next such one came.

Runs in the decode worker only: imports av and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from av.packet import Packet
from av.video.stream import VideoStream

from tasks.decode_avi_chunks import TimesUnknownError, numbered, unpacked
from tasks.decode_mpeg4 import Kind, plane_kind, says_packed, time_bits

_INTRA_ONLY = {"dnxhd", "dvvideo", "ffvhuff", "huffyuv", "jpeg2000", "magicyuv", "mjpeg", "prores", "rawvideo"}
_FIRST_IS_KEY = {"cinepak", "flv1", "h263", "msmpeg4v1"}
"""Codecs that never reorder; which of their frames stand alone, nothing trustworthy says: the first one does."""
_KEY_TESTS: dict[str, Callable[[memoryview], bool]] = {
    # The first value of the range coder, whose state is 128 (RFC 9043, 3.8.1 and 4.4).
    "ffv1": lambda data: len(data) > 1 and data[0] << 8 | data[1] >= 0x7F80,
    # The picture type: two bits, in wmv2 one.
    "msmpeg4v2": lambda data: data[0] >> 6 == 0,
    "msmpeg4v3": lambda data: data[0] >> 6 == 0,
    "wmv1": lambda data: data[0] >> 6 == 0,
    "wmv2": lambda data: data[0] >> 7 == 0,
}


_MOST_HELD = 64
"""B-frames in a row; far beyond what any encoder writes."""


class AviTimes(Protocol):
    """Gives times to packets, pass after pass."""

    lost: list[int]
    """Times of frames that the last pass found to be in the file and to be had no more, in order."""

    def timed(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        """The packets with `pts` and `is_keyframe` set; `pts` is None where no time can be told.

        `is_corrupt` is set where a packet, or one that it builds on, was damaged or lost.
        """

    def is_frameless(self, packet: Packet[VideoStream]) -> bool:
        """Whether a packet without `pts` is accounted for: it holds no frame, or one that is in `lost`."""


def avi_times(codec: str, stream: VideoStream, *, reorders: bool) -> AviTimes | None:
    """Times for a stream of an AVI; None for codecs whose frames may be reordered in ways that only a decoder knows.

    `reorders`: whether a decoder that has seen nothing but the headers expects B-frames.
    """
    if codec == "mpeg4":
        headers = memoryview((stream.codec_context and stream.codec_context.extradata) or b"")
        increment_bits = time_bits(headers)
        if increment_bits is None:
            return None
        kind_of = partial(plane_kind, increment_bits=increment_bits)
        if reorders:
            return _ReorderedTimes(stream, kind_of, is_packed=says_packed(headers))
        return _TimesInOrder(stream, kind_of)
    if codec in _INTRA_ONLY:
        return _TimesInOrder(stream, lambda _: Kind.KEY)
    if codec in _FIRST_IS_KEY:
        return _TimesInOrder(stream, lambda _: Kind.DEPENDENT, first_is_key=True)
    if codec in _KEY_TESTS:
        is_key = _KEY_TESTS[codec]
        return _TimesInOrder(stream, lambda data: Kind.KEY if is_key(data) else Kind.DEPENDENT)
    return None


class _TimesInOrder:
    """Every chunk that holds a frame is shown at the chunk's number."""

    def __init__(
        self, stream: VideoStream, kind_of: Callable[[memoryview], Kind], *, first_is_key: bool = False
    ) -> None:
        self._stream = stream
        self._kind_of = kind_of
        self._first_is_key = first_is_key
        self.lost: list[int] = []

    def timed(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        self.lost = []
        follows_loss, started = False, False
        for number, packet in numbered(packets, self._stream):
            if packet is None:
                self.lost.append(number)
                follows_loss = True
                continue
            kind = self._kind_of(memoryview(packet))
            if self._first_is_key and number == self._stream.index_entries[0].timestamp:
                kind = Kind.KEY
            packet.is_keyframe = kind is Kind.KEY
            started = started or kind is Kind.KEY
            packet.pts = number if started and kind not in {Kind.BETWEEN, Kind.NO_FRAME} else None
            if kind is Kind.UNKNOWN or (follows_loss and kind is not Kind.KEY):
                packet.is_corrupt = True
            follows_loss = False
            yield packet

    def is_frameless(self, packet: Packet[VideoStream]) -> bool:
        return self._kind_of(memoryview(packet)) is Kind.NO_FRAME


class _ReorderedTimes:
    """B-frames may stand in packets of their own or packed behind the frame that they precede.

    Damage makes every time from the last sure one to the next keyframe unsure, since what kinds of frames were lost is
    not known: those frames are given up, and those that look back beyond that keyframe.
    """

    def __init__(self, stream: VideoStream, kind_of: Callable[[memoryview], Kind], *, is_packed: bool) -> None:
        self._stream = stream
        self._kind_of = kind_of
        self._is_packed = is_packed
        self.lost: list[int] = []
        self._held: list[tuple[int, Packet[VideoStream]]] = []
        """A frame, or placeholder, that waits for the next one that isn't between others, and those between."""
        self._holds_frame = False
        self._unsure_from: int | None = None
        self._sure: set[int] = set()

    def timed(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        self.lost, self._held, self._unsure_from = [], [], None
        number, started, recovering = -1, False, False
        chunks = numbered(packets, self._stream)
        for number, packet in unpacked(chunks, self._kind_of, is_packed=self._is_packed):
            kind = Kind.UNKNOWN if packet is None else self._kind_of(memoryview(packet))
            if kind is Kind.KEY and self._unsure_from is not None:
                self._give_up(number)
                recovering = True
            elif kind is Kind.UNKNOWN or self._unsure_from is not None:
                yield from self._doubt(number, packet)
                continue
            assert packet is not None
            started = started or kind is Kind.KEY
            packet.is_keyframe = kind is Kind.KEY
            packet.pts = None
            if not started:
                yield packet
            elif kind is Kind.BETWEEN and recovering:
                self.lost.append(number - 1)
            elif kind is Kind.BETWEEN:
                if len(self._held) > _MOST_HELD:
                    raise TimesUnknownError
                packet.pts = number - 1
                self._held.append((number, packet))
            else:
                recovering = recovering and kind is Kind.KEY and not self._held
                yield from self._release(number)
                self._held.append((number, packet))
                self._holds_frame = kind is not Kind.NO_FRAME
        if self._stream.frames > number + 1:
            # Cut off: the frames between that should follow the last frame, and tell its time, may be gone.
            yield from self._doubt(number + 1, None)
        if self._unsure_from is not None:
            self._give_up(number + 1)
        yield from self._release(number + 1)

    def is_frameless(self, packet: Packet[VideoStream]) -> bool:
        return packet.is_corrupt or self._kind_of(memoryview(packet)) is Kind.NO_FRAME

    def _release(self, next_number: int) -> Iterator[Packet[VideoStream]]:
        """Let go what is held, now that the next frame that isn't between others has come."""
        for place, (_, packet) in enumerate(self._held):
            if place == 0 and self._holds_frame:
                packet.pts = next_number - 1
            yield packet
        self._held = []

    def _doubt(self, number: int, packet: Packet[VideoStream] | None) -> Iterator[Packet[VideoStream]]:
        """Let go what is held and the packet, without times for what may be shown at any of several."""
        if self._unsure_from is None:
            self._unsure_from = self._held[0][0] if self._held else number
            self._sure = {between - 1 for between, _ in self._held[1:]}
        doubtful = [packet for _, packet in self._held[:1]] + ([] if packet is None else [packet])
        for each in doubtful:
            each.pts = None
            each.is_keyframe = False
            each.is_corrupt = True
        yield from (held for _, held in self._held)
        self._held = []
        if packet is not None:
            yield packet

    def _give_up(self, stop: int) -> None:
        """Note as lost what may have been shown from the first unsure time to before `stop`."""
        assert self._unsure_from is not None
        self.lost.extend(number for number in range(self._unsure_from, stop) if number not in self._sure)
        self._unsure_from = None
