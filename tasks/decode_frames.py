"""The samples of a segment as frames: sparsely by their times, or by counting where times tell nothing.

Runs in the decode worker only: imports av, numpy and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

from collections.abc import Callable

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
    broken_packets: set[int] = set()
    broken = False
    count = 0
    held: list[VideoFrame] = []
    for number, packet in enumerate(video.untimed_packets()):
        alive()
        packet.opaque = number
        lost_before, damage = video.met_damage(), video.damage_of(packet)
        frames, whole = video.decode(packet)
        broken_here = not whole or damage is not Damage.NONE
        if lost_before or (broken_here and not broken and damage is not Damage.INSIDE):
            broken_packets.add(number - 1)
            broken = True
        broken = broken_here or (broken and not packet.is_keyframe)
        if broken:
            broken_packets.add(number)
        for frame in held:
            count = _count_frame(frame, count, broken_packets, handout)
        held = frames
        if handout.done:
            return
    for frame in [*held, *video.drain()]:
        count = _count_frame(frame, count, broken_packets, handout)


def _count_frame(frame: VideoFrame, count: int, broken_packets: set[int], handout: Handout) -> int:
    if frame.opaque in broken_packets:
        broken_packets.discard(frame.opaque)
        handout.damaged.add(count)
    handout.take(frame, count)
    return count + 1
