"""Every frame's presentation time and the keyframes, from one pass over the packets, nearly all of them undecoded.

Runs in the decode worker only: imports av, numpy and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tasks.decode_avi_chunks import TimesUnknownError
from tasks.decode_claims import rate_claims, tail_of
from tasks.decode_facts import facts_of
from tasks.decode_index_checks import DamageSpans, OrderCheck
from tasks.decode_index_parts import IndexSender
from tasks.decode_protocol import Channel
from tasks.decode_video import RefusedError, VideoFile

_LARGEST_TIME = 2**60


def send_index(video: VideoFile, channel: Channel, alive: Callable[[], None], *, counting: bool = False) -> None:
    """Find all frames of `video` and send them to the parent, part by part; `alive` is called for every packet.

    Frames are counted by decoding where the container's times don't tell them apart or cannot be trusted: where one
    is missing or lies before what was shown before its group, and in an AVI whose order only a decoder knows; and
    where the parent, who sees all times at once, found `counting` due. Raises `RefusedError` where nothing decodes.
    """
    if not video.is_fresh:
        video.rewind()
    if counting:
        channel.send({"say": "index", **_count(video, alive)})
        return
    parts = IndexSender(channel)
    try:
        found = _PacketTimes(video, parts).read(alive)
        parts.flush()
    except TimesUnknownError:
        parts.forget()
        video.rewind()
        found = _count(video, alive)
    channel.send({"say": "index", **found})


def _found(video: VideoFile, first_frame: VideoFrame, counted_by: str, **times: Any) -> dict[str, Any]:
    """The facts of a video, and what of its index isn't in the parts."""
    facts = {**facts_of(video, first_frame), "counted_by": counted_by}
    claims = {"average_rate": facts.pop("average_rate"), "rate_claims": rate_claims(video)}
    return {"facts": facts, "times": {"time_base": facts.pop("time_base"), **claims, **times}}


class _PacketTimes:
    """One pass that takes every frame's time from its packet."""

    def __init__(self, video: VideoFile, parts: IndexSender) -> None:
        self._video = video
        self._parts = parts
        self._is_vp8 = video.codec_name == "vp8"
        self._check = OrderCheck(video)
        self._damage = DamageSpans()
        self._packets = 0
        self._latest_key: int | None = None
        self._latest_pts: int | None = None
        """The greatest time of all packets so far, shown or not."""
        self._latest_but_one: int | None = None
        """What that was before."""
        self._last: tuple[int, int] | None = None
        """Time and duration of the last shown frame so far."""

    def read(self, alive: Callable[[], None]) -> dict[str, Any]:
        """Add all frames to the parts and return what else is found. Raises `TimesUnknownError` and `RefusedError`."""
        video = self._video
        packets = video.packets()
        if video.container_name == "avi" and video.avi_times is None:
            raise TimesUnknownError
        for packet in packets:
            alive()
            self._packets += 1
            self._check.take(packet)
            if packet.is_corrupt or video.saw_damage:
                video.saw_damage = False
                self._damage.begin(self._latest_key)
            if packet.pts is None:
                if video.avi_times is None or not video.avi_times.is_frameless(packet):
                    raise TimesUnknownError
                continue
            self._add(packet, packet.pts)
        self._damage.end(self._latest_pts)
        ended_early = video.saw_damage
        first_frame = self._check.finish()
        lost = video.avi_times.lost if video.avi_times else []
        for pts in lost:
            self._parts.add(pts)
        if first_frame is None or self._last is None:
            raise RefusedError("nothing_decodes")
        damaged = ended_early or bool(self._damage.spans)
        tail = tail_of(video, self._packets, max([self._last[0], *lost]), damaged=damaged)
        times = {
            "last_duration": self._last[1],
            "frames_lost": len(lost),
            "holes": self._holes(ended_early=ended_early),
            **tail,
        }
        return _found(video, first_frame, "index", **times)

    def _holes(self, *, ended_early: bool) -> list[tuple[int, int]]:
        """Stretches of time in which frames may be absent without leaving a trace.

        An mp4's table and an AVI's numbers know of every frame, whatever happened to it; but at a cut, frames may be
        gone that are shown before the last one that came.
        """
        holes = self._damage.spans if self._video.container_name in {"mkv", "webm"} else []
        if ended_early and self._latest_but_one is not None and self._latest_pts is not None:
            holes = [*holes, (self._latest_but_one, self._latest_pts)]
        return holes if self._video.container_name != "avi" else []

    def _add(self, packet: Packet[VideoStream], pts: int) -> None:
        if abs(pts) >= _LARGEST_TIME:
            raise TimesUnknownError
        if self._latest_key is None or (packet.is_keyframe and self._video.starts_group(packet)):
            if self._latest_pts is not None and pts <= self._latest_pts:
                raise TimesUnknownError
            self._damage.end(pts)
            self._latest_key = pts
            self._parts.add_key(pts)
        if self._is_vp8 and _is_hidden(packet):
            return
        if self._latest_pts is None or pts > self._latest_pts:
            self._latest_but_one, self._latest_pts = self._latest_pts, pts
        if packet.is_discard:
            return
        self._parts.add(pts, leading=pts < self._latest_key)
        if self._last is None or pts > self._last[0]:
            self._last = pts, packet.duration or 0


def _is_hidden(packet: Packet[VideoStream]) -> bool:
    """Whether a VP8 packet is never shown (RFC 6386, section 9.1: the bit `show_frame`)."""
    return not memoryview(packet)[0] >> 4 & 1


def _count(video: VideoFile, alive: Callable[[], None]) -> dict[str, Any]:
    """Decode everything and count: frame n stands at n / rate. Raises `RefusedError` where nothing decodes."""
    packets, count = 0, 0
    first_frame: VideoFrame | None = None
    for packet in video.untimed_packets():
        alive()
        packets += 1
        frames, _ = video.decode(packet)
        first_frame = first_frame or next(iter(frames), None)
        count += len(frames)
    rest = video.drain()
    first_frame = first_frame or next(iter(rest), None)
    count += len(rest)
    if first_frame is None:
        raise RefusedError("nothing_decodes")
    return _found(video, first_frame, "decoding", frames=count, **tail_of(video, packets, count - 1, damaged=False))
