"""What a file claims to hold, beyond what its packets show: frames after the last one that came, and its rate.

Runs in the decode worker only: imports the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

from tasks.decode_video import VideoFile

_TRACK_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_MICROSECONDS = 1_000_000
_AVI_FRAME_DURATION = 32
"""Where the main header has dwMicroSecPerFrame: it is the first thing in an AVI."""


def tail_of(video: VideoFile, packets: int, last_pts: int, *, damaged: bool) -> dict[str, Any]:
    """What the file's own tables say was cut off, after a pass that gave `packets`, the last shown at `last_pts`.

    `frames_cut_off` where the container counts its frames and the file ends before the last of them; `declared_end_s`
    where it only gives a duration, and was found to be `damaged`. Healthy files with careless headers get
    neither.
    """
    if video.container_name in {"mp4", "mov"}:
        entries = video.stream.index_entries
        is_cut = bool(len(entries)) and entries[len(entries) - 1].pos + entries[len(entries) - 1].size > _size(video)
        return {"frames_cut_off": max(0, len(entries) - packets) if is_cut else 0}
    if video.container_name == "avi":
        is_cut = _riff_size(video) > _size(video)
        return {"frames_cut_off": max(0, video.stream.frames - last_pts - 1) if is_cut else 0}
    return {"frames_cut_off": 0, "declared_end_s": _declared_end_s(video) if damaged else None}


def _size(video: VideoFile) -> int:
    return Path(video.path).stat().st_size


def _riff_size(video: VideoFile) -> int:
    return 8 + _head_number(video, 4)


def _head_number(video: VideoFile, offset: int) -> int:
    with Path(video.path).open("rb") as file:
        file.seek(offset)
        number: int = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
    return number


def _declared_end_s(video: VideoFile) -> float | None:
    """Where the video track ends by its own tag, else where the file does."""
    tag = _TRACK_DURATION.match(video.stream.metadata.get("DURATION", ""))
    if tag:
        hours, minutes, seconds = tag.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return video.container.duration / _MICROSECONDS if video.container.duration else None


def rate_claims(video: VideoFile) -> list[str]:
    """What else than the stream's average rate speaks of frames a second, the most trustworthy first, as fractions."""
    claims = [video.stream.base_rate, video.stream.guessed_rate]
    if video.container_name == "avi":
        claims.insert(0, Fraction(_MICROSECONDS, max(1, _head_number(video, _AVI_FRAME_DURATION))))
    return [str(claim) for claim in claims if claim]
