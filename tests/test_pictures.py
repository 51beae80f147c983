"""What is done to a decoded frame's pixels: colours by the stream's flags, upright, in one size; and the facts of it.

Colours are held to the standards' own formula, orientation and the rest to the ffmpeg command and to PyAV.
"""

from __future__ import annotations

import io
import itertools
import subprocess
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorTrc
from PIL import Image

from tasks.decode_workers import DecodeWorkers
from tasks.decoding import ExtractedFrame, extract
from tasks.plans import make_plan
from tasks.probing import probe
from tasks.settings import DecodeSettings
from tests.requirements import needs
from tests.streams import make_changing_size
from tests.video_files import make_video, read_all_frames, read_barcode

ONE = 1 << 16
LIMITED, FULL = 1, 2
LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Kr and Kb by the code of the matrix: BT.709, BT.601, BT.2020 (ISO/IEC 23091-2, 8.3)."""
LEVELS_OFF = 4
"""What swscale's own rounding may cost; another matrix or range is off by far more."""


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
                stream.set_display_matrix([a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30])
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
    with DecodeWorkers(settings) as workers:
        facts, index = probe(path, workers=workers)
        plan = make_plan(index, infer_fps=None, settings=settings)
        return facts, pixels_of(extract(path, plan, range(len(plan.segments)), workers=workers))


def pixels_of(items):
    frames = sorted((item for item in items if isinstance(item, ExtractedFrame)), key=lambda frame: frame.sample)
    return [frame.reason if frame.pixels is None else frame.pixels for frame in frames]


@pytest.mark.parametrize(
    ("matrix", "name", "colour_range", "codec"),
    [
        (5, "bt601", FULL, "libx264"),
        (1, "bt709", LIMITED, "libx264"),
        (1, "bt709", FULL, "libvpx-vp9"),
        (9, "bt2020", LIMITED, "libvpx-vp9"),
    ],
)
def test_colours_follow_the_streams_flags(tmp_path, matrix, name, colour_range, codec):
    lossless = {"libx264": {"qp": "0"}, "libvpx-vp9": {"lossless": "1"}}
    stored = Stored("yuv444p", codec, lossless[codec], matrix=matrix, colour_range=colour_range)
    planes = patches(matrix)
    path = stored.write(tmp_path / "video.mp4", [planes])

    facts, (pixels,) = extracted(path)
    assert (facts.colour_matrix, facts.colour_range) == (name, "full" if colour_range == FULL else "limited")
    taken = (matrix, colour_range)
    assert levels_off(pixels, rgb_of(planes, *taken)) < LEVELS_OFF
    others = [other for other in itertools.product(LUMA, (LIMITED, FULL)) if other != taken]
    assert min(levels_off(pixels, rgb_of(planes, *other)) for other in others) > 1.5 * LEVELS_OFF
    assert np.array_equal(pixels, read_all_frames(path)[0])


def test_a_stream_without_flags_is_bt601_limited(tmp_path):
    planes = patches(1)
    path = Stored("yuv444p", "libx264", {"qp": "0"}).write(tmp_path / "video.mp4", [planes])

    facts, (pixels,) = extracted(path)
    assert (facts.colour_matrix, facts.colour_range, facts.transfer) == ("unspecified", "limited", "sdr")
    assert levels_off(pixels, rgb_of(planes, 5, LIMITED)) < LEVELS_OFF


@pytest.mark.parametrize(("matrix", "taken_as"), [(10, 9), (8, 5)])
def test_matrices_that_cannot_be_converted_are_taken_as_near_ones(tmp_path, matrix, taken_as):
    """BT.2020 with constant luminance and YCgCo: PyAV raises at both."""
    planes = patches(2)
    stored = Stored("yuv444p", "libx264", {"qp": "0"}, matrix=matrix, colour_range=LIMITED)
    path = stored.write(tmp_path / "video.mp4", [planes])

    facts, (pixels,) = extracted(path)
    assert facts.colour_matrix == "other"
    assert levels_off(pixels, rgb_of(planes, taken_as, LIMITED)) < LEVELS_OFF


FORMATS = {
    "yuv420p": 8,
    "yuvj420p": 8,
    "yuva420p": 8,
    "yuv420p10le": 10,
    "yuv422p12le": 12,
}


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_colours_of_every_kind_of_storage(tmp_path, pix_fmt):
    bits = FORMATS[pix_fmt]
    luma, *differences = patches(3, bits)
    wide, high = (1 if "444" in pix_fmt else 2), (2 if "420" in pix_fmt else 1)
    alpha = [np.full_like(luma, 7)] if "yuva" in pix_fmt else []
    planes = [luma, *(part[::high, ::wide] for part in differences), *alpha]
    codec, options = ("mjpeg", {"qmin": "1", "qmax": "1"}) if "yuvj" in pix_fmt else ("ffv1", {})
    path = Stored(pix_fmt, codec, options).write(tmp_path / "video.mkv", [planes])

    facts, (pixels,) = extracted(path)
    assert facts.pixel_format == pix_fmt
    expected = rgb_of([luma, *differences], 5, FULL if "yuvj" in pix_fmt else LIMITED, bits)
    assert levels_off(pixels, expected) < LEVELS_OFF + 1
    assert np.array_equal(pixels, read_all_frames(path)[0])


@pytest.mark.parametrize(("pix_fmt", "bits"), [("gray", 8), ("gray10le", 10), ("gbrp", 8)])
def test_grey_and_rgb_are_full_range(tmp_path, pix_fmt, bits):
    planes = patches(4, bits)[: 1 if "gray" in pix_fmt else 3]
    lossless = {"x265-params": "lossless=1:log-level=none"}
    stored = Stored(pix_fmt, "libx265", lossless) if pix_fmt == "gbrp" else Stored(pix_fmt, colour_range=LIMITED)
    path = stored.write(tmp_path / "video.mkv", [planes])

    facts, (pixels,) = extracted(path)
    assert (facts.pixel_format, facts.colour_range) == (pix_fmt, "full")
    green, blue, red = planes if len(planes) == 3 else planes * 3
    expected = np.stack([red, green, blue], -1) / ((1 << bits) - 1) * 255
    assert levels_off(pixels, expected) < 2


def test_raw_quicktime_of_16_bits_a_pixel(tmp_path):
    """PyAV's own conversion takes the two bytes the wrong way round."""
    red, green, blue = (plane.astype(int) >> 3 for plane in patches(10))
    packed = (red << 10 | green << 5 | blue).astype(np.uint16).byteswap()
    path = Stored("rgb555be", "rawvideo").write(tmp_path / "video.mov", [[packed]])

    facts, (pixels,) = extracted(path)
    assert facts.pixel_format == "rgb555be"
    assert levels_off(pixels, np.stack([red, green, blue], -1) * 255 / 31) < 2


@needs("ffmpeg")
def test_vp9_is_shown_without_its_alpha(tmp_path):
    path = tmp_path / "video.webm"
    picture = "color=0x2060c0:s=64x64:r=5:d=0.4,format=yuva420p,colorchannelmixer=aa=0.1"
    ffmpeg("-f", "lavfi", "-i", picture, "-c:v", "libvpx-vp9", "-auto-alt-ref", "0", path)

    facts, frames = extracted(path)
    assert (facts.pixel_format, facts.frame_count) == ("yuv420p", 2)
    assert all(np.abs(pixels - np.array([0x20, 0x60, 0xC0])).max() < 8 for pixels in frames)


def test_high_dynamic_range_is_named(tmp_path):
    stored = Stored("yuv444p", "libx264", {"qp": "0"}, matrix=9, transfer=int(ColorTrc.SMPTE2084))
    assert probe(stored.write(tmp_path / "video.mp4", [patches(5)]))[0].transfer == "pq"


def test_interlaced_frames_are_woven_and_named(tmp_path):
    path = make_video(tmp_path / "video.mp4", frames=6, options={"x264-params": "interlaced=1"})

    facts, frames = extracted(path)
    assert facts.interlaced
    assert not probe(make_video(tmp_path / "other.mp4", frames=1))[0].interlaced
    assert [read_barcode(pixels) for pixels in frames] == list(range(6))


MATRICES = {
    "mirrored": ((-1, 0, 0, 1), True, 0),
    "upside down": ((1, 0, 0, -1), True, 180),
    "turned": ((0, 1, -1, 0), False, 90),
    "transposed": ((0, 1, 1, 0), True, 270),
    "transposed the other way": ((0, -1, -1, 0), True, 90),
    "turned by a little": ((20, 3, -3, 20), False, 0),
}


@needs("ffmpeg")
@pytest.mark.parametrize("name", MATRICES)
def test_pictures_stand_as_ffmpeg_shows_them(tmp_path, name):
    matrix, mirrored, rotation = MATRICES[name]
    planes = [np.kron(plane[:, :72], np.ones((3, 3), np.uint8)) for plane in patches(6)]
    stored = Stored("yuv444p", "libx264", {"qp": "0"}, display_matrix=matrix, pixel_aspect=Fraction(2))
    path = stored.write(tmp_path / "video.mp4", [planes])

    facts, (pixels,) = extracted(path)
    assert (facts.mirrored, facts.rotation) == (mirrored, rotation)
    assert (facts.height, facts.width) == pixels.shape[:2]
    assert facts.pixel_aspect == ("1:2" if rotation in (90, 270) else "2:1")
    shown = ["-noautorotate"] if name == "turned by a little" else []
    assert np.array_equal(pixels, shown_by_ffmpeg(path, pixels.shape, *shown))


@needs("ffmpeg")
def test_the_streams_own_orientation_counts_too(tmp_path):
    """H.264 can carry it in every picture, which few players but ffmpeg follow."""
    stored = Stored("yuv444p", "libx264", {"qp": "0"}).write(tmp_path / "stored.mp4", [patches(7), patches(8)])
    path = tmp_path / "video.mp4"
    turn = "h264_metadata=display_orientation=insert:flip=horizontal:rotate=90"
    ffmpeg("-i", stored, "-c", "copy", "-bsf:v", turn, path)

    facts, frames = extracted(path)
    assert (facts.width, facts.height, facts.mirrored) == (48, 80, True)
    assert np.array_equal(frames[0], shown_by_ffmpeg(path, frames[0].shape))


def test_a_motion_jpeg_whose_pictures_carry_exif_data(tmp_path):
    picture = Image.fromarray(np.repeat(np.arange(80, dtype=np.uint8)[None, :, None], 48, 0).repeat(3, 2) * 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° to show
    data = io.BytesIO()
    picture.save(data, "JPEG", exif=exif)
    path = tmp_path / "video.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 80, 48, "yuvj420p"
        packet = av.Packet(data.getvalue())
        packet.pts = packet.dts = 0
        packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 5), stream, True
        container.mux(packet)

    facts, (pixels,) = extracted(path)
    assert (facts.width, facts.height, facts.rotation) == (48, 80, 90)
    assert np.abs(pixels[:, :, 0].astype(int) - np.arange(80)[:, None] * 3).max() < 8


@pytest.mark.parametrize(("codec", "container"), [("libx264", "mkv"), ("libvpx-vp9", "webm")])
def test_a_change_of_size_is_scaled_to_the_first_frames(tmp_path, codec, container):
    path = tmp_path / f"video.{container}"
    make_changing_size(path, codec, [(160, 96), (320, 192), (96, 160)], frames=30, gop=5)
    reference = read_all_frames(path)
    settings = DecodeSettings(segment_s=0.5)

    facts, frames = extracted(path, settings)
    assert (facts.width, facts.height, len(frames)) == (160, 96, 30)
    assert all(np.array_equal(pixels, expected) for pixels, expected in zip(frames, reference, strict=True))
    assert [read_barcode(pixels) for pixels in frames] == list(range(30))
    # A worker that has not read the index finds out itself what size the first frame has.
    plan = make_plan(probe(path)[1], infer_fps=None, settings=settings)
    last = pixels_of(extract(path, plan, [len(plan.segments) - 1], settings=settings))
    assert 0 < len(last) <= 5
    assert all(np.array_equal(*pair) for pair in zip(last, reference[-len(last) :], strict=True))


def test_frames_that_grow_beyond_the_limit_are_left_out(tmp_path):
    path = tmp_path / "video.mkv"
    make_changing_size(path, "libx264", [(160, 96), (240, 144)], frames=10, gop=5)

    frames = extracted(path, DecodeSettings(max_pixels=160 * 96))[1]
    assert [read_barcode(pixels) for pixels in frames[:5]] == list(range(5))
    assert frames[5:] == ["the frame has more pixels than are allowed"] * 5


@needs("ffmpeg")
def test_a_change_of_colours_in_mid_stream(tmp_path):
    """Another matrix, another range and another chroma format from the second picture on."""
    luma, *differences = patches(9)
    halved = [luma, *(part[::2, ::2] for part in differences)]
    Stored("yuv444p", "libx264", {"qp": "0"}, matrix=1, colour_range=FULL).write(
        tmp_path / "1.mp4", [[luma, *differences]]
    )
    Stored("yuv420p", "libx264", {"qp": "0"}, matrix=9, colour_range=LIMITED).write(tmp_path / "2.mp4", [halved])
    for name in ("1", "2"):
        ffmpeg("-i", tmp_path / f"{name}.mp4", "-c", "copy", "-bsf:v", "h264_mp4toannexb", tmp_path / f"{name}.h264")
    joined = tmp_path / "joined.h264"
    joined.write_bytes((tmp_path / "1.h264").read_bytes() + (tmp_path / "2.h264").read_bytes())
    ffmpeg("-framerate", "5", "-i", joined, "-c", "copy", tmp_path / "video.mkv")

    _, (first, second) = extracted(tmp_path / "video.mkv")
    assert levels_off(first, rgb_of(patches(9), 1, FULL)) < LEVELS_OFF
    assert levels_off(second, rgb_of(patches(9), 9, LIMITED)) < LEVELS_OFF


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
