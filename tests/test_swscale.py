"""Frames drawn straight into their place: bit by bit what PyAV's own conversion gives, or left to that."""

from __future__ import annotations

import sys
from dataclasses import replace

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from tasks.decode_pictures import Pictures
from tasks.decode_swscale import ROOM_BEHIND_BYTES, StraightRgb, drawing_by_swscale, kind_of
from tasks.decode_video import LoggedErrors, VideoFile
from tests.stored_frames import FULL, LIMITED, extracted
from tests.streams import make_changing_size
from tests.video_files import make_video, read_all_frames

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the library is looked for where Linux lists it")

PLAIN = ["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p"]
UNSPECIFIED = 2


def frame_of_noise(pix_fmt="yuv420p", width=80, height=48, matrix=UNSPECIFIED, colour_range=0):
    rng = np.random.default_rng(width)
    frame = av.VideoFrame(width, height, pix_fmt)
    frame.colorspace, frame.color_range = matrix, colour_range
    for plane in frame.planes:
        plane.update(rng.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    return frame


def by_pyav(frame):
    return VideoReformatter().reformat(frame, format="rgb24", threads=1).to_ndarray()


def drawn_by(straight, frame):
    """The picture, or None where it is left to PyAV; nothing may be written outside of its room."""
    size = 3 * frame.width * frame.height
    memory = np.full(64 + size + ROOM_BEHIND_BYTES + 64, 123, np.uint8)
    is_drawn = straight.draw(frame, memory[64:-64], by_pyav)
    assert (memory[:64] == 123).all()
    assert (memory[-64:] == 123).all()
    return memory[64 : 64 + size].reshape(frame.height, frame.width, 3) if is_drawn else None


@pytest.mark.parametrize("pix_fmt", PLAIN)
@pytest.mark.parametrize("colour_range", [0, LIMITED, FULL])
def test_both_ways_draw_the_same(pix_fmt, colour_range):
    straight = StraightRgb(drawing_by_swscale())
    for matrix in (1, UNSPECIFIED, 4, 5, 6, 7, 9):
        frame = frame_of_noise(pix_fmt, matrix=matrix, colour_range=colour_range)
        for _ in range(2):
            assert np.array_equal(drawn_by(straight, frame), by_pyav(frame))


@pytest.mark.parametrize("pix_fmt", PLAIN)
def test_every_width_is_drawn_right_or_left_to_pyav(pix_fmt):
    straight = StraightRgb(drawing_by_swscale())
    drawn = set()
    for width in [*range(1, 50), 426, 1080, 1366, 1918, 1920]:
        frame = frame_of_noise(pix_fmt, width, 2)
        drawn_by(straight, frame)
        pixels = drawn_by(straight, frame)
        if pixels is not None:
            assert np.array_equal(pixels, by_pyav(frame))
            drawn.add(width)
    assert {16, 32, 48, 1080, 1920} <= drawn


def test_what_is_not_plain_is_left_to_pyav(tmp_path):
    interlaced = make_video(tmp_path / "video.mp4", frames=2, options={"x264-params": "interlaced=1"})
    with av.open(str(interlaced)) as container:
        frames = [next(container.decode(video=0))]
    frames += [frame_of_noise(pix_fmt) for pix_fmt in ("gray", "yuv420p10le", "nv12", "rgb24", "yuva420p")]
    frames += [frame_of_noise(height=47), frame_of_noise(matrix=8), frame_of_noise(matrix=0)]
    assert [kind_of(frame) for frame in frames] == [None] * len(frames)
    assert kind_of(frame_of_noise()) is not None


class Scribbling:
    """Draws right, and writes as far behind the picture as nothing may."""

    def __init__(self, right):
        self.right = right

    def draw(self, frame, room):
        room[-1] += 1
        return self.right.draw(frame, room)


class Cropping(Scribbling):
    """Spoils the last pixel of whatever is larger than the strip of noise that is drawn first."""

    def draw(self, frame, room):
        drawn = self.right.draw(frame, room)
        room[3 * frame.width * frame.height - 1] ^= frame.height > 16
        return drawn


class Failing(Scribbling):
    """Says that it could not."""

    def draw(self, frame, room):
        return False


def test_a_wrong_way_to_draw_is_found_out():
    right = drawing_by_swscale()
    black = av.VideoFrame(80, 48, "yuv420p")
    for plane, value in zip(black.planes, (16, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)

    def refusing(kind):
        raise ValueError

    wrong = [
        lambda kind: right(replace(kind, matrix=9)),
        lambda kind: Scribbling(right(kind)),
        lambda kind: Cropping(right(kind)),
        lambda kind: Failing(right(kind)),
        refusing,
    ]
    assert drawn_by(StraightRgb(right), black) is not None
    assert [drawn_by(StraightRgb(drawing_of), black) for drawing_of in wrong] == [None] * len(wrong)


def test_a_change_of_colours_is_followed():
    straight = StraightRgb(drawing_by_swscale())
    for matrix, colour_range in [(1, LIMITED), (9, LIMITED), (9, FULL), (1, LIMITED)]:
        frame = frame_of_noise(matrix=matrix, colour_range=colour_range)
        assert np.array_equal(drawn_by(straight, frame), by_pyav(frame))


def test_pictures_are_the_same_without_the_library(tmp_path):
    path = tmp_path / "video.mkv"
    make_changing_size(path, "libx264", [(160, 96), (320, 192)], frames=8, gop=4)

    def drawn(straight):
        video = VideoFile(str(path), LoggedErrors(), max_pixels=2**20)
        pictures = Pictures(video, straight)
        video.rewind()
        frames = [frame for packet in video.packets() for frame in video.decode(packet)[0]] + video.drain()
        for picture in map(pictures.of, frames):
            room = np.empty(picture.room_bytes, np.uint8)
            picture.draw(room)
            yield room[: picture.size_bytes].reshape(picture.shape)

    for pixels, *others in zip(drawn(None), drawn(StraightRgb(None)), read_all_frames(path), strict=True):
        assert all(np.array_equal(pixels, other) for other in others)


@pytest.mark.parametrize("size", [(90, 62), (86, 50), (426, 240)])
def test_frames_lie_beside_each_other_unharmed(tmp_path, size):
    """In shared memory, pictures that the library draws beyond the end of, and ones that it does not draw."""
    path = make_video(tmp_path / "video.mp4", frames=40, width=size[0], height=size[1])
    frames = extracted(path)[1]
    assert all(np.array_equal(*pair) for pair in zip(frames, read_all_frames(path), strict=True))
