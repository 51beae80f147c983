"""Hundreds of short clips, cut from real videos and encoded small: no two have the same bytes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

_WIDTH_PX = 160


def save_clips(folder: Path, sources: list[Path], count: int) -> list[Path]:
    """Write `count` clips of two to five seconds, as far as their source goes, taking turns among the sources."""
    folder.mkdir(parents=True, exist_ok=True)
    films = [_small_frames(path) for path in sources]
    written = []
    for number in range(count):
        frames, rate = films[number % len(films)]
        of_film, lengths = number // len(films), 7
        place = of_film % lengths
        length = min(len(frames) - 14 - place, int((2 + place / 2) * rate))
        start = of_film // lengths % (len(frames) - length)
        path = folder / f"clip-{number:04d}.mp4"
        _encode(path, frames[start : start + length], rate, crf=20 + of_film // 70)
        written.append(path)
    assert len({path.read_bytes() for path in written}) == count
    return written


def _small_frames(path: Path) -> tuple[list[av.VideoFrame], Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = Fraction(stream.average_rate or 25)
        height = round(_WIDTH_PX * stream.height / stream.width / 2) * 2
        frames = [frame.reformat(_WIDTH_PX, height, "yuv420p") for frame in container.decode(stream)]
    return frames, rate


def _encode(path: Path, frames: list[av.VideoFrame], rate: Fraction, *, crf: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": str(crf), "g": "50"})
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        stream.thread_count = 1
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, 1 / rate
            frame.pict_type = av.video.frame.PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
