"""The videos that whole jobs are measured on: packets of one encoded minute, copied behind each other.

A long video, short clips of other pictures each, and the same clips as one video. Nothing is encoded twice, so that a
group of pictures is the same bytes wherever it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av

from tests.benchmarks.decode_files import CONTENT_VERSION, FILES, FPS, made

SOURCE_S = 60
GROUP_S = 1
"""The source has a keyframe every second, wherever its pictures cut."""
CLIP_S = 5


@dataclass(frozen=True)
class _Packet:
    """One coded picture; times in ticks from its group's keyframe."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool


def source(folder: Path) -> Path:
    """One minute of 1080p H.264 at 30 frames a second."""
    return made(FILES["h264-30"], folder, SOURCE_S)


def long_job_video(folder: Path, seconds: int) -> Path:
    """`seconds` of 1080p: the source again and again."""
    groups = [number % SOURCE_S for number in range(seconds)]
    return remuxed(source(folder), folder / f"job-{seconds}s-v{CONTENT_VERSION}.mp4", groups)


def clip_groups(number: int) -> list[int]:
    """The seconds of the source that clip `number` holds: each clip begins at another one than its neighbours."""
    start = number % (SOURCE_S - CLIP_S + 1)
    return list(range(start, start + CLIP_S))


def clips(folder: Path, count: int) -> list[Path]:
    """So many clips, no two with the same bytes: those of the same pictures differ by a comment in their header."""
    given, below = source(folder), folder / f"clips-v{CONTENT_VERSION}"
    return [
        remuxed(given, below / f"clip-{number:04d}.mp4", clip_groups(number), comment=f"clip {number}")
        for number in range(count)
    ]


def clips_as_one(folder: Path, count: int) -> Path:
    """The frames of those clips as one video."""
    groups = [group for number in range(count) for group in clip_groups(number)]
    return remuxed(source(folder), folder / f"clips-{count}-as-one-v{CONTENT_VERSION}.mp4", groups)


def remuxed(given: Path, path: Path, groups: Sequence[int], comment: str = "") -> Path:
    """The groups of pictures named, behind each other and without a pause; kept where it was made before."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    time_base, packets = _groups(given)
    ticks = round(GROUP_S / time_base)
    unfinished = path.with_name(f"unfinished-{path.name}")
    with av.open(str(given)) as original, av.open(str(unfinished), "w") as container:
        if comment:
            container.metadata["comment"] = comment
        stream = container.add_stream_from_template(original.streams.video[0])
        for place, group in enumerate(groups):
            for packet in packets[group]:
                copy = av.Packet(packet.data)
                copy.stream, copy.time_base, copy.is_keyframe = stream, time_base, packet.key
                copy.pts, copy.dts = packet.pts + place * ticks, packet.dts + place * ticks
                copy.duration = packet.duration
                container.mux(copy)
    return unfinished.rename(path)


@lru_cache(maxsize=1)
def _groups(given: Path) -> tuple[Fraction, list[list[_Packet]]]:
    """The time base and the closed groups of pictures, `GROUP_S` long each."""
    groups: list[list[_Packet]] = []
    with av.open(str(given)) as container:
        stream = container.streams.video[0]
        start = 0
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if packet.is_keyframe:
                start = packet.pts
                groups.append([])
            times = (packet.pts - start, packet.dts - start, packet.duration)
            groups[-1].append(_Packet(bytes(packet), *times, packet.is_keyframe))
        time_base = Fraction(stream.time_base)
    if any(len(group) != FPS * GROUP_S for group in groups):
        raise RuntimeError(f"{given} has groups of other lengths than {FPS * GROUP_S} frames")
    return time_base, groups
