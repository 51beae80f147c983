"""What an index pass looks out for beside the times themselves: damage, and frames that come in another order.

Runs in the decode worker only: imports av and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tasks.decode_avi_chunks import TimesUnknownError
from tasks.decode_video import VideoFile

_CHECKED_FRAMES = 24
_MOST_SPANS = 1000


class DamageSpans:
    """Stretches of time, each from a group of pictures that something broken was found in to the next whole one."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self._start: int | None = None

    def begin(self, key_pts: int | None) -> None:
        """Something broken was found in the group that starts at `key_pts`."""
        if self._start is None:
            self._start = key_pts

    def end(self, pts: int | None) -> None:
        """A whole group starts at `pts`, or the file ends there."""
        if self._start is None or pts is None:
            return
        if len(self.spans) >= _MOST_SPANS:
            self._start = self.spans.pop()[0]
        self.spans.append((self._start, pts))
        self._start = None


class OrderCheck:
    """Decodes the first packets: for the first picture, and in AVI to see whether frames come as their times say."""

    def __init__(self, video: VideoFile) -> None:
        self._video = video
        self._wanted = _CHECKED_FRAMES if video.container_name == "avi" else 1
        self._times: list[int] = []
        self._decoded: list[int | None] = []
        self._first_frame: VideoFrame | None = None

    def take(self, packet: Packet[VideoStream]) -> None:
        """Look at the next packet. Raises `TimesUnknownError`."""
        if len(self._decoded) >= self._wanted:
            return
        if packet.pts is not None:
            self._times.append(packet.pts)
        frames, whole = self._video.decode(packet)
        self._collect(frames)
        if not whole and self._first_frame is not None:
            self._wanted = 0
        if len(self._decoded) >= self._wanted:
            self._compare()
            self._video.drain()

    def finish(self) -> VideoFrame | None:
        """The first frame that could be decoded. Raises `TimesUnknownError`."""
        if len(self._decoded) < self._wanted:
            self._collect(self._video.drain())
            self._compare()
        return self._first_frame

    def _collect(self, frames: list[VideoFrame]) -> None:
        for frame in frames:
            self._first_frame = self._first_frame or frame
            self._decoded.append(frame.pts)

    def _compare(self) -> None:
        # Where the times are the container's own, frames may be hidden, or need others that were cut off before them.
        if self._video.container_name != "avi" or not self._wanted:
            return
        if self._decoded != sorted(self._times)[: len(self._decoded)]:
            raise TimesUnknownError
