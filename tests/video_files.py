"""Videos for tests, made while the tests run: frame *i* carries *i* in its pixels, so that no frame passes for another.

The number is drawn as sixteen black or white blocks in two rows, most significant bit first, in the frame as a player
shows it. Blocks are large, so that the number survives lossy codecs and small sizes.
"""

from __future__ import annotations

import os
import wave
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

BITS = 16
BITS_A_ROW = 8
CONTAINERS = ("mp4", "mkv", "webm", "avi")
_CODECS = {"mp4": "libx264", "mov": "libx264", "mkv": "libx264", "webm": "libvpx-vp9", "avi": "libx264"}
_FAST = {
    "libx264": {"preset": "veryfast", "crf": "20"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "2000000"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "25", "b": "0"},
    "libsvtav1": {"preset": "8", "crf": "5"},
    "mpeg4": {"q": "3"},
}


@dataclass(frozen=True)
class Recipe:
    """How a barcoded video is made; `width` and `height` are those of the displayed frame."""

    frames: int = 60
    rate: Fraction = Fraction(30)
    codec: str | None = None
    width: int = 160
    height: int = 96
    gop: int = 12
    b_frames: int = 0
    rotation: int = 0
    """Degrees clockwise that a player has to turn the stored frame by: 0, 90, 180 or 270."""
    pts: Sequence[int] | None = None
    """Presentation times of the frames in `time_base`, for a variable rate."""
    time_base: Fraction | None = None
    """The encoder's clock; 1/rate unless given."""
    stored: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None
    """Makes the stored frame from the displayed one, instead of `rotation`."""
    audio: bool = False
    pix_fmt: str = "yuv420p"
    matrix: Colorspace | None = None
    """The matrix that the colours are coded with and the stream is flagged with; unflagged BT.601 unless given."""
    full_range: bool = False
    grain: int = 0
    """Grey levels of noise over the frames, so that packets are as large as those of recordings."""
    options: dict[str, str] = field(default_factory=dict)
    """Options of the encoder, over the fast ones."""
    container_options: dict[str, str] = field(default_factory=dict)


def barcode(number: int, width: int = 160, height: int = 96) -> NDArray[np.uint8]:
    """Draw `number` as an RGB frame, `(height, width, 3)`; the background changes slowly so that coders have work."""
    frame = np.full((height, width, 3), 128, np.uint8)
    frame[:, :, 0] = (np.arange(width)[None, :] + 3 * number) % 64 + 96
    for bit in range(BITS):
        rows, columns = _block(bit, height, width)
        frame[rows, columns] = 235 if number >> (BITS - 1 - bit) & 1 else 20
    return frame


def _grainy(frame: NDArray[np.uint8], seed: int, grain: int) -> NDArray[np.uint8]:
    if not grain:
        return frame
    noise = np.random.default_rng(seed).integers(-grain, grain + 1, frame.shape[:2])
    return (frame + noise[:, :, None]).clip(0, 255).astype(np.uint8)


def read_barcode(pixels: NDArray[np.uint8]) -> int:
    """Read back the number that `barcode` drew; `ValueError` where a block is neither black nor white."""
    height, width = pixels.shape[:2]
    number = 0
    for bit in range(BITS):
        rows, columns = _block(bit, height, width)
        block = pixels[rows, columns].astype(np.float64)
        inner = block[block.shape[0] // 4 : -block.shape[0] // 4, block.shape[1] // 4 : -block.shape[1] // 4]
        level = float(inner.mean())
        if 75 < level < 180:
            raise ValueError(f"block {bit} is grey ({level:.0f}): no barcode, or a damaged one")
        number = number * 2 + (level >= 180)
    return number


def _block(bit: int, height: int, width: int) -> tuple[slice, slice]:
    row, column = divmod(bit, BITS_A_ROW)
    tall, wide = height // (BITS // BITS_A_ROW), width // BITS_A_ROW
    return slice(row * tall, (row + 1) * tall), slice(column * wide, (column + 1) * wide)


def make_video(path: Path, recipe: Recipe | None = None, **changes: object) -> Path:
    """Write a barcoded video; the container follows the extension of `path`, `changes` are fields of `Recipe`."""
    recipe = recipe or Recipe(**changes)  # type: ignore[arg-type]
    codec = recipe.codec or _CODECS[path.suffix[1:]]
    options = {**_FAST.get(codec, {}), **recipe.options}
    first = barcode(0, recipe.width, recipe.height)
    stored_size = (recipe.stored(first) if recipe.stored else np.rot90(first, recipe.rotation // 90)).shape
    time_base = recipe.time_base or 1 / recipe.rate
    with (
        _scheduled_as_before(),
        av.open(str(path), "w", container_options=recipe.container_options) as container,
    ):
        stream = container.add_stream(codec, rate=recipe.rate, options=options)
        stream.height, stream.width = stored_size[:2]
        stream.pix_fmt = recipe.pix_fmt
        stream.gop_size = recipe.gop
        stream.codec_context.time_base = time_base
        if codec in {"libx264", "libx265", "mpeg4", "mpeg2video"}:
            stream.max_b_frames = recipe.b_frames
        colours = _colours(recipe, stream.codec_context)
        if recipe.rotation:
            stream.set_display_rotation(-recipe.rotation)
        sound = container.add_stream("aac", rate=48000, layout="mono") if recipe.audio else None
        for number in range(recipe.frames):
            pixels = _grainy(barcode(number, recipe.width, recipe.height), number, recipe.grain)
            stored = recipe.stored(pixels) if recipe.stored else np.rot90(pixels, recipe.rotation // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24")
            frame = frame.reformat(format=recipe.pix_fmt, **colours) if colours else frame
            frame.pts = number if recipe.pts is None else recipe.pts[number]
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _mux_silence(container, sound, float(recipe.frames / recipe.rate))
    return path


@contextmanager
def _scheduled_as_before() -> Iterator[None]:
    """SVT-AV1, run as root, makes its caller a real-time thread of the highest priority; all that it starts afterwards
    inherits that, and starves every other process of the machine.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def _colours(recipe: Recipe, context: av.VideoCodecContext) -> dict[str, object]:
    """Flag the stream, and give what `VideoFrame.reformat` has to know; nothing where the recipe names no colours."""
    if recipe.matrix is None and not recipe.full_range:
        return {}
    wanted = {
        "dst_colorspace": recipe.matrix or Colorspace.ITU601,
        "dst_color_range": ColorRange.JPEG if recipe.full_range else ColorRange.MPEG,
    }
    context.colorspace, context.color_range = map(int, wanted.values())
    return wanted


def _mux_silence(container: av.container.OutputContainer, sound: av.AudioStream, duration_s: float) -> None:
    for index in range(max(1, int(duration_s * 48000) // 1024)):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        frame.pts = index * 1024
        container.mux(sound.encode(frame))
    container.mux(sound.encode(None))


def make_audio_only(path: Path, *, cover: bool = False) -> Path:
    """An mp4 with a second of silence, and cover art (an attached picture) where `cover`."""
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48000, layout="mono")
        picture = container.add_stream("mjpeg", rate=1) if cover else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 160, 96, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            image = av.VideoFrame.from_ndarray(barcode(7), format="rgb24")
            container.mux(picture.encode(image))
            container.mux(picture.encode(None))
        _mux_silence(container, sound, 1.0)
    return path


def truncated(source: Path, path: Path, keep: float) -> Path:
    """The first `keep` (0…1) of the bytes of `source`."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def with_hole(source: Path, path: Path, *, at: float, size_bytes: int) -> Path:
    """`source` with `size_bytes` zeroes written over it from the share `at` (0…1) of its length on."""
    data = bytearray(source.read_bytes())
    start = int(len(data) * at)
    data[start : start + size_bytes] = bytes(min(size_bytes, len(data) - start))
    path.write_bytes(data)
    return path


def with_noise(source: Path, path: Path, *, at: float, size_bytes: int, seed: int = 1) -> Path:
    """`source` with `size_bytes` random bytes written over it from the share `at` (0…1) of its length on."""
    data = bytearray(source.read_bytes())
    start = int(len(data) * at)
    size_bytes = min(size_bytes, len(data) - start)
    data[start : start + size_bytes] = np.random.default_rng(seed).bytes(size_bytes)
    path.write_bytes(data)
    return path


def without_bytes(source: Path, path: Path, *, at: float, size_bytes: int) -> Path:
    """`source` without `size_bytes` from the share `at` (0…1) of its length on."""
    data = source.read_bytes()
    start = int(len(data) * at)
    path.write_bytes(data[:start] + data[start + size_bytes :])
    return path


def with_codec_tag(source: Path, path: Path, tag: bytes, other: bytes) -> Path:
    """`source` with every `tag` replaced by `other` of the same length, so that it names a codec that nobody has."""
    assert len(tag) == len(other)
    data = source.read_bytes()
    assert tag in data
    path.write_bytes(data.replace(tag, other))
    return path


def make_no_video(folder: Path, kind: str) -> Path:
    """A file called video.mp4 that is none: `text`, `zip`, `playlist`, `picture`, `sound` or `empty`."""
    path = folder / "video.mp4"
    if kind == "text":
        path.write_text("This is no video.\n" * 100)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("notes.txt", "nothing to see here " * 500)
    elif kind == "playlist":
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    elif kind == "picture":
        av.VideoFrame.from_ndarray(barcode(7), format="rgb24").save(str(folder / "picture.png"))
        (folder / "picture.png").rename(path)
    elif kind == "sound":
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
            sound.writeframes(bytes(16000))
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        raise ValueError(f"no such kind: {kind}")
    return path


def read_all_frames(path: Path) -> list[NDArray[np.uint8]]:
    """Every frame of a video as PyAV decodes them one after the other: the reference for whatever skips frames.

    As displayed, and all of the first one's size.
    """
    shown: list[NDArray[np.uint8]] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            matrix = _display_matrix(frame)
            height, width = shown[0].shape[:2] if shown else (None, None)
            if matrix[0] == 0:
                width, height = height, width
            stored = frame.to_ndarray(format="rgb24", width=width, height=height)
            shown.append(_displayed(stored, matrix))
    return shown


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """The signs of a, b, c and d of a frame's display matrix."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return (1, 0, 0, 1)
    a, b, _, c, d = np.sign(np.frombuffer(bytes(data), np.int32)[:5]).tolist()
    return a, b, c, d


def _displayed(stored: NDArray[np.uint8], matrix: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Move every pixel to where the matrix takes it (ISO/IEC 14496-12, 6.2.2), about the picture's middle."""
    if matrix == (1, 0, 0, 1):
        return stored
    a, b, c, d = matrix
    height, width = stored.shape[:2]
    rows, columns = np.indices((height, width))
    p, q = 2 * columns - (width - 1), 2 * rows - (height - 1)
    x, y = a * p + c * q, b * p + d * q
    shown = np.empty((y.max() + 1, x.max() + 1, 3), np.uint8)
    shown[(y + y.max()) // 2, (x + x.max()) // 2] = stored
    return shown
