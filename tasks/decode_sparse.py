"""The samples of a segment decoded, and as little else as their pixels allow. Exact first, then sparse.

Runs in the decode worker only: imports av, numpy and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tasks.decode_av1 import Av1Frames
from tasks.decode_damage import Damage
from tasks.decode_handout import Handout, Wanted
from tasks.decode_video import VideoFile

_SKIPPABLE = {"h264", "hevc", "mpeg2video", "mpeg4", "vc1"}
"""Codecs whose streams say which frames no other frame refers to, and whose decoders can leave those out."""


def is_skippable(video: VideoFile) -> bool:
    """Whether frames that no other refers to can be left out without changing any other frame."""
    if video.codec_name != "hevc":
        return video.codec_name in _SKIPPABLE
    # With temporal layers, a frame called unreferenced may be referred to by a higher layer (H.265, 7.4.2.2); the
    # number of layers stands in the configuration record (ISO/IEC 14496-15, 8.3.3.1).
    record = video.context.extradata or b""
    return len(record) > 22 and record[0] == 1 and record[21] >> 3 & 7 == 1


class SparseDecoding:
    """Decodes only the groups of pictures that hold samples, each only as far as its last sample.

    A group is what lies, in decoding order, between keyframes that need nothing before them. Leading pictures of a
    group (decoded after its keyframe, shown before it) need the whole group before as well, so that one is then decoded
    to its end and nothing is flushed in between.

    What depends on a broken packet is given up: all that is decoded from it on, up to the next keyframe that needs
    nothing before it. Where the damage may have begun in the packet before, whose bytes a decoder may have swallowed
    in silence, that one counts as broken too; hence frames are held until the packet that follows has been seen.
    """

    def __init__(self, video: VideoFile, wanted: Wanted, handout: Handout) -> None:
        self._video = video
        self._handout = handout
        self._skippable = is_skippable(video)
        self._av1_frames = Av1Frames() if video.codec_name == "av1" else None
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
        self._held: list[VideoFrame] = []
        self._previous: tuple[int | None, bool] | None = None
        """Time of the packet before, and whether it is wanted; None where that one was not decoded."""
        self._has_met_damage = False
        """Whether the decoder was given broken data."""
        self._skips: Literal["DEFAULT", "NONREF"] | None = None

    def run(self, alive: Callable[[], None]) -> None:
        """Hand out all that is wanted and decodes; `alive` is called for every packet."""
        for packet in self._video.packets_from(int(self._wanted.key_pts[0])):
            alive()
            damage = self._look_back(packet)
            if packet.pts is not None and (packet.pts in self._groups or self._video.starts_group(packet)):
                self._enter_group(packet.pts, is_whole=packet.is_keyframe)
            elif self._decoding and not self._to_feed and not self._leading_next:
                self._stop()
            if self._decoding:
                self._take(packet, damage or self._video.damage_of(packet))
            if self._handout.done:
                break
        if self._video.met_damage():
            self._suspect_previous()
        self._stop()

    def _look_back(self, packet: Packet[VideoStream]) -> Damage | None:
        """See whether the packet, or what the demuxer met on the way to it, makes the one before it suspect."""
        lost_before = self._video.met_damage()
        if not self._decoding:
            return None
        damage = self._video.damage_of(packet)
        if lost_before or damage is Damage.FROM_START:
            self._suspect_previous()
            self._broken = True
        return damage

    def _suspect_previous(self) -> None:
        if self._previous is not None:
            pts, is_wanted = self._previous
            if is_wanted and pts is not None:
                self._handout.damaged.add(pts)
            self._broken = True

    def _enter_group(self, key_pts: int, *, is_whole: bool) -> None:
        """Go on to the group that the packet shown at `key_pts` begins; the first one may lack its keyframe."""
        samples = self._groups.get(key_pts, slice(0, 0))
        leading = self._wanted.leading[samples]
        carried = self._leading_next
        self._to_feed = set(self._wanted.pts[samples][~leading].tolist()) | carried
        self._leading_next = set(self._wanted.pts[samples][leading].tolist())
        if not self._to_feed and not self._leading_next:
            self._stop()
            return
        self._broken_before = self._broken and self._decoding
        if self._has_met_damage:
            self._stop()
        self._fresh = not self._decoding
        self._broken = not is_whole
        self._decoding = True
        self._key_pts = key_pts

    def _stop(self) -> None:
        """Get what is still inside the decoder; decoding goes on with a later group, if at all."""
        if self._decoding:
            self._hand_out([*self._held, *self._video.drain()])
            if self._has_met_damage:
                self._video.renew_decoder()
                self._has_met_damage, self._skips = False, None
            self._held, self._previous = [], None
            self._decoding = False

    def _hand_out(self, frames: list[VideoFrame]) -> None:
        for frame in frames:
            self._handout.take(frame, frame.pts)

    def _take(self, packet: Packet[VideoStream], damage: Damage) -> None:
        """Decode a packet, or leave it out where nothing that is wanted depends on it."""
        is_wanted = packet.pts in self._to_feed
        if self._is_needless(packet, damage) and not is_wanted:
            self._previous = None
            return
        self._feed(packet, damage, is_wanted=is_wanted)
        self._previous = packet.pts, is_wanted

    def _is_needless(self, packet: Packet[VideoStream], damage: Damage) -> bool:
        if self._av1_frames is not None:
            # Every packet is shown to it, wanted or not: it follows the headers that say how to read the next ones.
            return not self._av1_frames.is_needed_later(memoryview(packet))
        # A whole one is left out by the decoder itself.
        return damage is Damage.INSIDE and self._skippable and self._video.is_unreferenced(packet)

    def _feed(self, packet: Packet[VideoStream], damage: Damage, *, is_wanted: bool) -> None:
        pts = packet.pts
        self._skip("DEFAULT" if is_wanted else "NONREF")
        frames, whole = self._video.decode(packet)
        is_leading = pts is not None and pts < self._key_pts
        if not (is_leading and self._fresh) and not (whole and damage is Damage.NONE):
            self._has_met_damage = True
            if damage is Damage.NONE and not self._broken:
                self._suspect_previous()
            self._broken = True
        if is_wanted and pts is not None:
            if self._broken or (is_leading and self._broken_before):
                self._handout.damaged.add(pts)
            self._to_feed.discard(pts)
        self._hand_out(self._held)
        self._held = frames

    def _skip(self, what: Literal["DEFAULT", "NONREF"]) -> None:
        if self._skippable and what != self._skips:
            self._video.context.skip_frame = self._skips = what
