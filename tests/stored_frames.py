"""Videos whose stored planes are known to the last value, how they are read back, and what their colours must be."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np

from tasks.decoding import ExtractedFrame, extract
from tasks.plans import make_plan
from tasks.probing import probe

LIMITED, FULL = 1, 2
LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Kr and Kb by the code of the matrix: BT.709, BT.601, BT.2020 (ISO/IEC 23091-2, 8.3)."""
_ONE = 1 << 16


@dataclass
class Stored:
    """A video of stored frames as they are, nothing converted; `planes` of each frame are `(h, w)` arrays."""

    pix_fmt: str
    codec: str = "ffv1"
    options: dict[str, str] = field(default_factory=dict)
    matrix: int | None = None
    colour_range: int | None = None
    transfer: int | None = None
    display_matrix: tuple[int, int, int, int] | None = None
    pixel_aspect: Fraction | None = None

    def write(self, path, frames):
        with av.open(str(path), "w") as container:
            stream = container.add_stream(self.codec, rate=5, options=self.options)
            stream.height, stream.width = frames[0][0].shape
            stream.pix_fmt = self.pix_fmt
            context = stream.codec_context
            context.colorspace = self.matrix or context.colorspace
            context.color_range = self.colour_range or context.color_range
            context.color_trc = self.transfer or context.color_trc
            if self.pixel_aspect:
                context.sample_aspect_ratio = self.pixel_aspect
            if self.display_matrix:
                a, b, c, d = self.display_matrix
                stream.set_display_matrix([a * _ONE, b * _ONE, 0, c * _ONE, d * _ONE, 0, 0, 0, 1 << 30])
            for number, planes in enumerate(frames):
                frame = frame_of(self.pix_fmt, planes)
                frame.pts, frame.time_base = number, Fraction(1, 5)
                frame.colorspace = self.matrix or frame.colorspace
                frame.color_range = self.colour_range or frame.color_range
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path


def frame_of(pix_fmt, planes):
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        as_bytes = np.ascontiguousarray(values).view(np.uint8)
        rows[:, : as_bytes.shape[1]] = as_bytes
        plane.update(rows.tobytes())
    return frame


def patches(seed, bits=8):
    """Luma and both colour differences, flat over blocks of 8 × 8, as `(48, 80)` arrays."""
    rng = np.random.default_rng(seed)
    parts = [
        rng.integers(low << bits - 8, high << bits - 8, (6, 10)) for low, high in [(70, 180), (64, 192), (64, 192)]
    ]
    return [np.kron(part, np.ones((8, 8))).astype(np.uint8 if bits == 8 else np.uint16) for part in parts]


def rgb_of(planes, matrix, colour_range, bits=8):
    """RGB by the formula of ISO/IEC 23091-2, 8.3, as floats of 0 to 255."""
    top = (1 << bits) - 1
    step = 1 << bits - 8
    y, u, v = (plane.astype(float) for plane in planes)
    y = (y - 16 * step) / (219 * step) if colour_range == LIMITED else y / top
    u, v = ((part - 128 * step) / (224 * step if colour_range == LIMITED else top) for part in (u, v))
    kr, kb = LUMA[matrix]
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    return np.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue], -1).clip(0, 1) * 255


def levels_off(pixels, expected):
    """How far the two differ at most in the middles of the patches, which no interpolation reaches."""
    return np.abs(pixels[4::8, 4::8] - expected[4::8, 4::8].astype(float)).max()


def extracted(path, settings=None):
    """Facts, and the pixels (or the reason why there are none) of every frame, in order."""
    facts, index = probe(path, settings)
    plan = make_plan(index, infer_fps=None, settings=settings)
    return facts, pixels_of(extract(path, plan, range(len(plan.segments)), facts=facts, settings=settings))


def pixels_of(items):
    frames = sorted((item for item in items if isinstance(item, ExtractedFrame)), key=lambda frame: frame.sample)
    return [frame.reason if frame.pixels is None else frame.pixels for frame in frames]


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def shown_by_ffmpeg(path, shape, *options):
    """The first frame as the ffmpeg command shows it, which must have that shape."""
    command = [
        "ffmpeg",
        "-v",
        "error",
        *options,
        "-i",
        path,
        "-frames:v",
        "1",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.uint8).reshape(shape)
