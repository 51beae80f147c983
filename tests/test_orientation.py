"""Pictures turned and mirrored as the container or the stream says, held to what the ffmpeg command shows."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from tests.requirements import needs
from tests.stored_frames import Stored, extracted, ffmpeg, patches, shown_by_ffmpeg

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
