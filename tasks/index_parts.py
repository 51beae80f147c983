"""Puts a video's index together from what a decode worker sends of it.

The parent's side: nothing here decodes. A ten-hour video has a million frames, so that what comes is let go part by
part while it is put together, and everything is done in place.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.decode_protocol import INDEX_FLAG_BITS, INDEX_LEADING, ChannelClosedError, map_memory
from tasks.frame_rates import DEFAULT_RATE, VideoRate, believable_rate, lost_frames
from tasks.video_index import VideoIndex, blocks, increases


class UnorderedTimesError(Exception):
    """Two frames have the same time."""


class IndexParts:
    """What has come of an index so far."""

    def __init__(self) -> None:
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def take_in(self, message: dict[str, Any], fd: int | None) -> None:
        """Take a message that belongs to an index. Raises `ChannelClosedError` where it doesn't."""
        if message["say"] == "index-void":
            self._parts.clear()
            return
        if message["say"] != "index-part" or fd is None:
            raise ChannelClosedError(f"the decode worker said {message['say']!r} where an index was due")
        frames, keys = int(message["frames"]), int(message["keys"])
        with map_memory(fd, 8 * (frames + keys)) as memory:
            both = np.array(np.frombuffer(memory, np.int64, frames + keys))
        self._parts.append((both[:frames], both[frames:]))

    def take(self) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """Presentation times `(n,)`, sorted, leading flags `(n,)` and keyframes `(k,)`, sorted; the parts are gone.

        Raises `UnorderedTimesError` where two frames share a time.
        """
        pts = np.empty(sum(len(part) for part, _ in self._parts), np.int64)
        keys = np.empty(sum(len(part) for _, part in self._parts), np.int64)
        frame, key = 0, 0
        self._parts.reverse()
        while self._parts:
            more, more_keys = self._parts.pop()
            pts[frame : frame + len(more)] = more
            keys[key : key + len(more_keys)] = more_keys
            frame, key = frame + len(more), key + len(more_keys)
        pts.sort()
        leading = np.empty(len(pts), np.bool_)
        for block in blocks(len(pts)):
            leading[block] = pts[block] & INDEX_LEADING
        pts >>= INDEX_FLAG_BITS
        if not increases(pts):
            raise UnorderedTimesError
        keys.sort()
        if len(keys) == len(pts) and bool((keys == pts).all()):
            keys = pts
        return pts, leading, keys


def counted_index(container: str, times: dict[str, Any]) -> VideoIndex:
    """The index of a video whose frames were decoded and counted: frame n stands at n / rate.

    The rate is the first of the container's claims that can be one (`believable_rate`), else `DEFAULT_RATE`.
    """
    pts = np.arange(times["frames"], dtype=np.int64)
    rate = _counting_rate(container, times)
    return VideoIndex(pts, pts[:1], np.zeros(len(pts), np.bool_), 1 / rate, rate, 1, "decoding")


def timed_index(container: str, times: dict[str, Any], parts: IndexParts) -> tuple[VideoIndex, int]:
    """The index of a video whose packets tell its times, and how many of its frames are known to be lost in damage.

    AVI has no times but numbers of frames, so that its rate has to be believed or replaced as a counted video's. In
    mkv and webm, what the demuxer passes over in a hole is gone, and only the places in time show that it was there.
    Raises `UnorderedTimesError` where two frames share a time.
    """
    pts, leading, key_pts = parts.take()
    time_base, average_rate = Fraction(times["time_base"]), _fraction(times["average_rate"])
    lost = int(times["frames_lost"])
    if container == "avi":
        time_base = 1 / _counting_rate(container, times)
    absent = lost_frames(pts, time_base, average_rate, times["holes"])
    if len(absent):
        places = np.searchsorted(pts, absent)
        pts, leading = np.insert(pts, places, absent), np.insert(leading, places, values=False)
    # An mp4 counts what was cut off, whether it lies behind the last frame or before.
    lost += 0 if container in {"mp4", "mov"} else len(absent)
    last_duration = int(times["last_duration"])
    return VideoIndex(
        pts, key_pts, leading, time_base, average_rate, last_duration, ticks_are_frames=container == "avi"
    ), lost


def frames_cut_off(times: dict[str, Any], index: VideoIndex, rate: VideoRate) -> int:
    """Frames that the file says it holds after the last one that is there."""
    declared_end_s = times.get("declared_end_s")
    if declared_end_s is None:
        return int(times["frames_cut_off"])
    rest_s = Fraction(declared_end_s) - int(index.pts[-1]) * index.time_base
    return max(0, round(rest_s * rate.fps) - 1)


def _counting_rate(container: str, times: dict[str, Any]) -> Fraction:
    """An AVI's own clock ticks once a frame; the average that libav gives for it may be the codec's guess."""
    others, average_rate = map(_fraction, times["rate_claims"]), _fraction(times["average_rate"])
    if container == "avi":
        claims = [1 / Fraction(times["time_base"]), *others, average_rate]
    else:
        claims = [average_rate, *others]
    return believable_rate(claims) or DEFAULT_RATE


def _fraction(text: str | None) -> Fraction | None:
    return Fraction(text) if text else None
