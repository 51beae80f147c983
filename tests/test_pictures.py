"""What is done to a decoded frame's pixels: colours by the stream's flags, all frames in one size; and the facts of it.

Colours are held to the standards' own formula, the rest to PyAV.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from av.video.reformatter import ColorTrc

from tasks.decoding import extract
from tasks.plans import make_plan
from tasks.probing import probe
from tasks.settings import DecodeSettings
from tests.requirements import needs
from tests.stored_frames import FULL, LIMITED, LUMA, Stored, extracted, ffmpeg, levels_off, patches, pixels_of, rgb_of
from tests.streams import make_changing_size
from tests.video_files import make_video, read_all_frames, read_barcode

LEVELS_OFF = 4
"""What swscale's own rounding may cost; another matrix or range is off by far more."""


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
    # A worker that has not read the index is told what size the first frame has, or finds out itself.
    plan = make_plan(probe(path)[1], infer_fps=None, settings=settings)
    for known in (None, facts):
        last = pixels_of(extract(path, plan, [len(plan.segments) - 1], facts=known, settings=settings))
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
