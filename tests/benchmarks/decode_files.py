"""The videos that decoding is measured on: made here, kept in a folder, 1080p at 30 frames a second.

Content that moves like a hand-held camera over a textured scene, with things moving through it, rippling water and a
grain of its own in every frame, so that frames are told apart and bit rates are those of ordinary video (3–7 Mbit/s).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, FPS = 1920, 1080, 30
CONTENT_VERSION = 1
"""Raised by hand when the same name would hold other pictures, so that kept files are made again."""
_ROAM = 320
"""Pixels that the camera strays from the middle of the scene, in each direction."""
_WATER = 720
"""Rows from here down ripple, which no motion vector follows well."""
_NEUTRAL = 128


@dataclass(frozen=True)
class BenchFile:
    """One kind of video: how it is encoded, everything else as the encoder has it by default."""

    name: str
    label: str
    extension: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)

    def path(self, folder: Path, seconds: int) -> Path:
        """Where it is kept, `seconds` long."""
        return folder / f"{self.name}-{seconds}s-v{CONTENT_VERSION}.{self.extension}"


_X264 = {"preset": "veryfast", "crf": "23"}
_X265 = {"preset": "ultrafast", "crf": "20", "x265-params": "log-level=1"}
_VP9 = {"deadline": "realtime", "cpu-used": "7", "b": "4000000", "row-mt": "1"}
FILES = {
    file.name: file
    for file in (
        BenchFile("h264-250", "H.264, groups of 250", "mp4", "libx264", {**_X264, "g": "250"}),
        BenchFile("h264-30", "H.264, groups of 30", "mp4", "libx264", {**_X264, "g": "30", "sc_threshold": "0"}),
        # The encoder's own cuts move the keyframes, so that samples at whole seconds lie anywhere in their groups.
        BenchFile("h264-cuts", "H.264, groups of 30 at most", "mp4", "libx264", {**_X264, "g": "30"}),
        BenchFile("hevc", "HEVC", "mp4", "libx265", _X265),
        BenchFile("vp9", "VP9", "webm", "libvpx-vp9", _VP9),
        BenchFile("av1", "AV1", "mp4", "libsvtav1", {"preset": "11", "crf": "30"}),
        BenchFile("mpeg4", "MPEG-4 in AVI", "avi", "mpeg4", {"b": "6000000"}),
    )
}


def made(file: BenchFile, folder: Path, seconds: int) -> Path:
    """The file, encoded now unless it is there from an earlier run."""
    path = file.path(folder, seconds)
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"unfinished-{path.name}")
    with av.open(str(unfinished), "w") as container:
        stream = container.add_stream(file.codec, rate=FPS, options=file.options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        stream.codec_context.thread_count = 0
        for number, picture in enumerate(pictures(seconds * FPS)):
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return unfinished.rename(path)


def pictures(count: int) -> Iterator[NDArray[np.uint8]]:
    """`count` frames as `(height * 3 / 2, width)` uint8, the three planes of yuv420p one below the other."""
    random = np.random.default_rng(1)
    scene = [
        _texture(random, HEIGHT, WIDTH, 2 * _ROAM + 48, 90),
        *(_texture(random, HEIGHT // 2, WIDTH // 2, _ROAM + 24, 40) for _ in "uv"),
    ]
    things = [_texture(random, 200, 300, 0, 110) for _ in range(4)]
    grain = np.round(random.normal(0, 3, (HEIGHT + 256, WIDTH + 256))).astype(np.int8).view(np.uint8)
    picture = np.empty((HEIGHT * 3 // 2, WIDTH), np.uint8)
    luma = picture[:HEIGHT]
    chroma = picture[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    for number in range(count):
        # Even steps, so that the halved chroma planes go along.
        down = 2 * int(_ROAM / 2 * (1 + np.sin(number / 67)))
        across = 2 * int(_ROAM / 2 * (1 + np.sin(number / 101 + 1)))
        luma[:] = scene[0][down : down + HEIGHT, across : across + WIDTH]
        for plane, whole in zip(chroma, scene[1:], strict=True):
            plane[:] = whole[down // 2 : down // 2 + HEIGHT // 2, across // 2 : across // 2 + WIDTH // 2]
        for row in range(_WATER, HEIGHT):
            ripple = across + 24 + int(12 * np.sin(row / 9 + number / 5) + 8 * np.sin(row / 23 - number / 7))
            luma[row] = scene[0][down + row, ripple : ripple + WIDTH]
        for index, thing in enumerate(things):
            top = int((HEIGHT - 200) * (1 + np.sin(number / (31 + 9 * index) + index)) / 2)
            left = int((WIDTH - 300) * (1 + np.sin(number / (47 + 7 * index) + 2 * index)) / 2)
            luma[top : top + 200, left : left + 300] = thing
        up, over = random.integers(0, 256, 2)
        luma += grain[up : up + HEIGHT, over : over + WIDTH]  # wraps round on purpose: int8 seen as uint8
        yield picture


def _texture(random: np.random.Generator, height: int, width: int, margin: int, contrast: float) -> NDArray[np.uint8]:
    """Noise of several sizes of detail, `(height + margin, width + margin)`, away from black and white."""
    shape = (height + margin, width + margin)
    total = np.zeros(shape, np.float32)
    for size in (2, 8, 32, 128):
        coarse = random.normal(0, size**0.5, (shape[0] // size + 2, shape[1] // size + 2)).astype(np.float32)
        rows, columns = np.arange(shape[0]) / size, np.arange(shape[1]) / size
        total += _between(_between(coarse, rows).T, columns).T
    total *= contrast / np.abs(total).max()
    return np.round(_NEUTRAL + total).astype(np.uint8)


def _between(values: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows of `values` at fractional places, linearly interpolated."""
    first = places.astype(np.int64)
    share = (places - first).astype(np.float32)[:, None]
    mixed: NDArray[np.float32] = values[first] * (1 - share) + values[first + 1] * share
    return mixed
