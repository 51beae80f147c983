"""Decode the samples of one segment, and as little else as their pixels allow. Exact first, then sparse.

Runs in the decode worker only: imports av, numpy and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tasks.decode_pictures import PictureError, Pictures
from tasks.decode_video import VideoFile

DAMAGED = "the frame depends on a damaged packet"
MISSING = "the decoder gave no frame for this time"
_SKIPPABLE = {"h264", "hevc", "mpeg2video", "mpeg4", "vc1"}
"""Codecs whose streams say which frames no other frame refers to, and whose decoders can leave those out."""


class Sink(Protocol):
    """Takes samples in order: upright RGB pixels, or a reason why there are none."""

    def frame(self, sample: int, pixels: NDArray[np.uint8]) -> None:
        """Take `(height, width, 3)` uint8 of the sample; the array is only lent."""

    def null(self, sample: int, reason: str) -> None:
        """Take note that the sample has no pixels."""


@dataclass
class Wanted:
    """The samples of a segment in order: `pts`, `key_pts` `(m,)` int64 and `leading` `(m,)` bool as in a plan."""

    pts: NDArray[np.int64]
    key_pts: NDArray[np.int64]
    leading: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pts)


def decode_samples(video: VideoFile, wanted: Wanted, sink: Sink, alive: Callable[[], None], *, counted: bool) -> None:
    """Hand every sample of `wanted` to `sink` in order; `alive` is called for every packet.

    `counted`: pts are ordinal numbers of decoded frames, so everything before the last one is decoded.
    """
    handout = _Handout(wanted, sink, Pictures(video))
    if counted:
        _decode_counting(video, handout, alive)
    else:
        _SparseDecoding(video, wanted, handout).run(alive)
    handout.finish()


def is_skippable(video: VideoFile) -> bool:
    """Whether frames that no other refers to can be left out without changing any other frame."""
    if video.codec_name != "hevc":
        return video.codec_name in _SKIPPABLE
    # With temporal layers, a frame called unreferenced may be referred to by a higher layer (H.265, 7.4.2.2); the
    # number of layers stands in the configuration record (ISO/IEC 14496-15, 8.3.3.1).
    record = video.context.extradata or b""
    return len(record) > 22 and record[0] == 1 and record[21] >> 3 & 7 == 1


@dataclass
class _Handout:
    """Brings decoded frames and wanted samples together, by time, in order."""

    wanted: Wanted
    sink: Sink
    pictures: Pictures
    damaged: set[int] = field(default_factory=set)
    """Times of wanted frames that depend on a broken packet."""
    position: int = 0

    @property
    def done(self) -> bool:
        return self.position == len(self.wanted)

    @property
    def next_pts(self) -> int:
        return int(self.wanted.pts[self.position])

    def take(self, frame: VideoFrame, pts: int | None) -> None:
        """Hand out a decoded frame if it is wanted; samples passed over are handed out as missing."""
        if pts is None:
            return
        self.pass_over(pts)
        if self.done or self.next_pts != pts:
            return
        if frame.is_corrupt:
            self.damaged.add(pts)
        if pts in self.damaged:
            self._null()
        else:
            try:
                self.sink.frame(self.position, self.pictures.upright_rgb(frame))
            except PictureError as error:
                self.sink.null(self.position, str(error))
            self.position += 1

    def pass_over(self, pts: int) -> None:
        """Give up samples before `pts`: frames come in order, so theirs will not."""
        while not self.done and self.next_pts < pts:
            self._null()

    def finish(self) -> None:
        while not self.done:
            self._null()

    def _null(self) -> None:
        pts = self.next_pts
        self.sink.null(self.position, DAMAGED if pts in self.damaged else MISSING)
        self.damaged.discard(pts)
        self.position += 1


def _decode_counting(video: VideoFile, handout: _Handout, alive: Callable[[], None]) -> None:
    """Decode from the start and count; packets carry their number through the decoder, so that damage is traced."""
    video.rewind()
    broken_packets: set[int] = set()
    broken = False
    count = 0
    for number, packet in enumerate(video.packets()):
        alive()
        packet.opaque = number
        frames, whole = video.decode(packet)
        broken = not whole or (broken and not packet.is_keyframe)
        if broken:
            broken_packets.add(number)
        for frame in frames:
            count = _count_frame(frame, count, broken_packets, handout)
        if handout.done:
            return
    for frame in video.drain():
        count = _count_frame(frame, count, broken_packets, handout)


def _count_frame(frame: VideoFrame, count: int, broken_packets: set[int], handout: _Handout) -> int:
    if frame.opaque in broken_packets:
        broken_packets.discard(frame.opaque)
        handout.damaged.add(count)
    handout.take(frame, count)
    return count + 1


class _SparseDecoding:
    """Decodes only the groups of pictures that hold samples, each only as far as its last sample.

    A group is what lies, in decoding order, between keyframes that need nothing before them. Leading pictures of a
    group (decoded after its keyframe, shown before it) need the whole group before as well, so that one is then decoded
    to its end and nothing is flushed in between.
    """

    def __init__(self, video: VideoFile, wanted: Wanted, handout: _Handout) -> None:
        self._video = video
        self._handout = handout
        self._skippable = is_skippable(video)
        starts = np.flatnonzero(np.append(True, wanted.key_pts[1:] != wanted.key_pts[:-1])).tolist()
        stops = [*starts[1:], len(wanted)]
        self._wanted = wanted
        self._groups = {int(wanted.key_pts[a]): slice(a, b) for a, b in zip(starts, stops, strict=True)}
        self._decoding = False
        self._fresh = True
        self._to_feed: set[int] = set()
        self._leading_next: set[int] = set()
        self._key_pts = 0
        self._broken = False
        self._broken_before = False

    def run(self, alive: Callable[[], None]) -> None:
        for packet in self._video.packets_from(int(self._wanted.key_pts[0])):
            alive()
            if packet.pts is not None and (packet.pts in self._groups or self._video.starts_group(packet)):
                self._enter_group(packet.pts)
            elif self._decoding and not self._to_feed and not self._leading_next:
                self._stop()
            if self._decoding:
                self._feed(packet)
            if self._handout.done:
                break
        self._stop()

    def _enter_group(self, key_pts: int) -> None:
        samples = self._groups.get(key_pts, slice(0, 0))
        leading = self._wanted.leading[samples]
        carried = self._leading_next
        self._to_feed = set(self._wanted.pts[samples][~leading].tolist()) | carried
        self._leading_next = set(self._wanted.pts[samples][leading].tolist())
        if not self._to_feed and not self._leading_next:
            self._stop()
            return
        self._fresh = not self._decoding
        self._broken_before = self._broken and self._decoding
        self._broken = False
        self._decoding = True
        self._key_pts = key_pts

    def _stop(self) -> None:
        """Get what is still inside the decoder; decoding goes on with a later group, if at all."""
        if self._decoding:
            for frame in self._video.drain():
                self._handout.take(frame, frame.pts)
            self._decoding = False

    def _feed(self, packet: Packet[VideoStream]) -> None:
        pts = packet.pts
        is_wanted = pts in self._to_feed
        if self._skippable:
            self._video.context.skip_frame = "DEFAULT" if is_wanted else "NONREF"
        frames, whole = self._video.decode(packet)
        is_leading = pts is not None and pts < self._key_pts
        if not whole and not (is_leading and self._fresh):
            self._broken = True
        if is_wanted and pts is not None:
            if self._broken or (is_leading and self._broken_before):
                self._handout.damaged.add(pts)
            self._to_feed.discard(pts)
        for frame in frames:
            self._handout.take(frame, frame.pts)
