"""The samples of a segment as frames: sparsely by their times, or by counting where times tell nothing.

Runs in the decode worker only: imports av, numpy and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from av.video.frame import VideoFrame

from tasks.decode_damage import Damage
from tasks.decode_handout import Handout, Sink, Wanted
from tasks.decode_pictures import Pictures
from tasks.decode_sparse import SparseDecoding
from tasks.decode_video import VideoFile

__all__ = ["Sink", "Wanted", "decode_samples"]


def decode_samples(video: VideoFile, wanted: Wanted, sink: Sink, alive: Callable[[], None], *, counted: bool) -> None:
    """Hand every sample of `wanted` to `sink` in order; `alive` is called for every packet.

    `counted`: pts are ordinal numbers of decoded frames, so everything before the last one is decoded.
    """
    handout = Handout(wanted, sink, Pictures(video))
    if counted:
        _decode_counting(video, handout, alive)
    else:
        SparseDecoding(video, wanted, handout).run(alive)
    handout.finish()


def _decode_counting(video: VideoFile, handout: Handout, alive: Callable[[], None]) -> None:
    """Decode from the start and count; packets carry their number through the decoder, so that damage is traced.

    As in sparse decoding, frames are held until the packet behind them has been seen.
    """
    video.rewind()
    counted = _CountedFrames(handout)
    broken = False
    held: list[VideoFrame] = []
    for number, packet in enumerate(video.untimed_packets()):
        alive()
        packet.opaque = number
        lost_before, damage = video.met_damage(), video.damage_of(packet)
        frames, whole = video.decode(packet)
        broken_here = not whole or damage is not Damage.NONE
        if lost_before or (broken_here and not broken and damage is not Damage.INSIDE):
            counted.broken_packets.add(number - 1)
            broken = True
        if packet.is_keyframe and (broken or counted.awaited_key is not None):
            counted.awaited_key = number
        broken = broken_here or (broken and not packet.is_keyframe)
        if broken:
            counted.broken_packets.add(number)
        for frame in held:
            counted.take(frame)
        held = frames
        if handout.done:
            return
    for frame in [*held, *video.drain()]:
        counted.take(frame)


@dataclass
class _CountedFrames:
    """Numbers frames as they come, and tells which of them depend on a broken packet."""

    handout: Handout
    count: int = 0
    broken_packets: set[int] = field(default_factory=set)
    """Numbers of packets whose frames aren't whole."""
    awaited_key: int | None = None
    """The keyframe behind the damage, until it is shown: what is decoded after it and shown before looks back."""

    def take(self, frame: VideoFrame) -> None:
        """Hand out the next frame."""
        number = frame.opaque if isinstance(frame.opaque, int) else -1
        is_leading = self.awaited_key is not None and number > self.awaited_key
        if number == self.awaited_key:
            self.awaited_key = None
        if is_leading or number in self.broken_packets:
            self.broken_packets.discard(number)
            self.handout.damaged.add(self.count)
        self.handout.take(frame, self.count)
        self.count += 1
