"""Every frame's presentation time and the keyframes, from one pass over the packets, nearly all of them undecoded.

Runs in the decode worker only: imports av, numpy and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tasks.decode_facts import facts_of
from tasks.decode_protocol import Channel, memory_of, seal
from tasks.decode_video import RefusedError, VideoFile

_KEYFRAME, _LEADING = 1, 2
_FLAG_BITS = 2


@dataclass
class FoundFrames:
    """What an index pass finds: facts for JSON, `pts` `(n,)` and `key_pts` `(k,)` int64, `leading` `(n,)` uint8."""

    facts: dict[str, Any]
    pts: NDArray[np.int64]
    key_pts: NDArray[np.int64]
    leading: NDArray[np.uint8]

    def to_bytes(self) -> bytes:
        """The three arrays one after the other."""
        return self.pts.tobytes() + self.key_pts.tobytes() + self.leading.tobytes()


def send_index(video: VideoFile, channel: Channel, alive: Callable[[], None]) -> None:
    """Find all frames of `video` and send them to the parent."""
    found = index_video(video, alive)
    fd = memory_of(found.to_bytes())
    try:
        seal(fd)
        sizes = {"frames": len(found.pts), "keys": len(found.key_pts)}
        channel.send({"say": "index", "facts": found.facts, **sizes}, fd)
    finally:
        os.close(fd)


def index_video(video: VideoFile, alive: Callable[[], None]) -> FoundFrames:
    """Find all frames of `video`; `alive` is called for every packet.

    Frames are counted by decoding where the container's times don't tell them apart: AVI, and files in which a time is
    missing or stands twice. Raises `RefusedError` where nothing decodes.
    """
    found = None if video.container_name == "avi" else _from_packets(video, alive)
    if found is None:
        video.rewind()
        found = _by_decoding(video, alive)
    return found


def _from_packets(video: VideoFile, alive: Callable[[], None]) -> FoundFrames | None:
    """The index from presentation times alone, or None where a shown frame has none or two share one."""
    shown, keys = array("q"), array("q")
    last_pts, last_duration = None, 0
    flags = bytearray()
    latest_key: int | None = None
    first_frame: VideoFrame | None = None
    is_vp8 = video.codec_name == "vp8"
    for packet in video.packets():
        alive()
        if first_frame is None:
            first_frame = next(iter(video.decode(packet)[0]), None)
        pts = packet.pts
        if pts is None:
            return None
        if latest_key is None or (packet.is_keyframe and video.starts_group(packet)):
            latest_key = pts
            keys.append(pts)
        if packet.is_discard or (is_vp8 and _is_hidden(packet)):
            continue
        shown.append(pts)
        flags.append(_LEADING if pts < latest_key else 0)
        if last_pts is None or pts > last_pts:
            last_pts, last_duration = pts, packet.duration or 0
    first_frame = first_frame or next(iter(video.drain()), None)
    if first_frame is None or not shown:
        raise RefusedError("nothing_decodes")
    pts_array, leading = _in_order(shown, flags)
    if bool((pts_array[1:] == pts_array[:-1]).any()):
        return None
    key_pts = np.unique(np.frombuffer(keys, np.int64))
    facts = {**facts_of(video, first_frame), "counted_by": "index", "last_duration": last_duration}
    return FoundFrames(facts, pts_array, key_pts, leading)


def _is_hidden(packet: Packet[VideoStream]) -> bool:
    """Whether a VP8 packet is never shown (RFC 6386, section 9.1: the bit `show_frame`)."""
    return not memoryview(packet)[0] >> 4 & 1


def _in_order(shown: array[int], flags: bytearray) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Sort the times with their flags; in place, since a ten-hour video has a million of them."""
    packed = np.frombuffer(shown, np.int64)
    packed <<= _FLAG_BITS
    packed |= np.frombuffer(flags, np.uint8)
    packed.sort()
    leading = (packed & _LEADING != 0).astype(np.uint8)
    packed >>= _FLAG_BITS
    return packed, leading


def _by_decoding(video: VideoFile, alive: Callable[[], None]) -> FoundFrames:
    """Decode everything and count: frame n stands at n / rate."""
    count = 0
    first_frame: VideoFrame | None = None
    for packet in video.packets():
        alive()
        frames, _ = video.decode(packet)
        first_frame = first_frame or next(iter(frames), None)
        count += len(frames)
    rest = video.drain()
    first_frame = first_frame or next(iter(rest), None)
    count += len(rest)
    if first_frame is None:
        raise RefusedError("nothing_decodes")
    facts = {**facts_of(video, first_frame), "counted_by": "decoding", "last_duration": 1}
    return FoundFrames(facts, np.arange(count, dtype=np.int64), np.zeros(1, np.int64), np.zeros(count, np.uint8))
