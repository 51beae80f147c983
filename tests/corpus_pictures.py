"""The corpus's files by what their pictures are: codecs, sizes, colours, orientation, interlacing."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.video.reformatter import Colorspace

from tests.corpus_entry import FRAMES, RATE, CorpusFile, Frames, Refused, then, video
from tests.mirrored_videos import make_mirrored
from tests.mkv_elements import claim_size
from tests.mp4_boxes import MIRRORED, claimed_size, edit_sample_table
from tests.streams import make_changing_size
from tests.video_files import make_video

_HUGE = 16384
_SVT = {"codec": "libsvtav1"}
_X265 = "log-level=none"


def _facts(**facts: Any) -> Frames:
    return Frames(facts=facts)


def _mirrored(how: str) -> Callable[[Path], object]:
    return lambda path: make_mirrored(path, MIRRORED[how], frames=FRAMES, rate=RATE, gop=25, b_frames=2)


def _as_mp4(**changes: Any) -> Callable[[Path], object]:
    """A QuickTime file under an mp4's name."""

    def make(path: Path) -> None:
        made = path.with_suffix(".mov")
        video(**changes)(made)
        made.rename(path)

    return make


def _packed_b_frames(path: Path) -> None:
    """MPEG-4 as DivX wrote it: B-frames share a packet with the frame after them, a placeholder fills the count."""
    source = make_video(path.with_suffix(".mkv"), codec="ffv1", frames=FRAMES, rate=RATE)
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-i",
        source,
        "-c:v",
        "libxvid",
        "-bf",
        "2",
        "-q:v",
        "3",
        "-g",
        "25",
        path,
    ]
    subprocess.run(command, check=True)
    source.unlink()


def _claiming_in_its_frames(path: Path) -> None:
    """JPEG pictures whose own headers claim 16384×16384."""
    video(codec="mjpeg", pix_fmt="yuvj420p")(path)
    data = path.read_bytes()
    true, false = struct.pack(">HH", 96, 160), struct.pack(">HH", _HUGE, _HUGE)
    start_of_frame = b"\xff\xc0\x00\x11\x08"
    assert start_of_frame + true in data
    path.write_bytes(data.replace(start_of_frame + true, start_of_frame + false))


PICTURES = [
    *(
        CorpusFile(
            f"rotated by {rotation}°, {extension}",
            video(rotation=rotation, b_frames=2),
            _facts(rotation=rotation, width=160, height=96),
            f"video.{extension}",
            long=extension != "mp4",
        )
        for rotation in (90, 180, 270)
        for extension in ("mp4", "mkv")
    ),
    *(CorpusFile(f"mirrored {how}", _mirrored(how), _facts(width=160, height=96)) for how in MIRRORED),
    CorpusFile("odd size, 4:4:4", video(width=161, height=97, pix_fmt="yuv444p"), _facts(width=161, height=97)),
    CorpusFile("odd size, vp9", video(width=161, height=97), _facts(width=161, height=97), "video.webm"),
    CorpusFile(
        "odd size, mpeg4",
        video(width=161, height=97, codec="mpeg4"),
        _facts(width=161, height=97),
        "video.avi",
        long=True,
    ),
    CorpusFile("2×2", video(width=2, height=2), Frames(first_number=None, facts={"width": 2, "height": 2})),
    CorpusFile(
        "2×2, vp9", video(width=2, height=2), Frames(first_number=None, facts={"width": 2}), "video.webm", long=True
    ),
    CorpusFile("4096×16", video(width=4096, height=16), _facts(width=4096, height=16)),
    CorpusFile("16×4096", video(width=16, height=4096), Frames(facts={"width": 16, "height": 4096}, first_number=None)),
    CorpusFile("10-bit hevc", video(codec="libx265", pix_fmt="yuv420p10le", b_frames=2)),
    CorpusFile("10-bit h264", video(pix_fmt="yuv420p10le", b_frames=2), file_name="video.mkv"),
    CorpusFile("10-bit av1", video(**_SVT, pix_fmt="yuv420p10le"), Frames(first_number=None), "video.webm"),
    CorpusFile("12-bit 4:2:2 hevc", video(codec="libx265", pix_fmt="yuv422p12le"), long=True),
    CorpusFile("full range, h264", video(full_range=True)),
    CorpusFile("full range, mjpeg", video(codec="mjpeg", pix_fmt="yuvj420p"), file_name="video.avi"),
    CorpusFile("flagged BT.601", video(matrix=Colorspace.ITU601), long=True),
    CorpusFile("flagged BT.709", video(matrix=Colorspace.ITU709)),
    CorpusFile("flagged BT.709, full range", video(matrix=Colorspace.ITU709, full_range=True)),
    CorpusFile("flagged BT.709, vp9", video(matrix=Colorspace.ITU709), file_name="video.webm", long=True),
    CorpusFile("flagged BT.2020, 10-bit hevc", video(matrix=Colorspace.BT2020, codec="libx265", pix_fmt="yuv420p10le")),
    CorpusFile("4:2:2", video(pix_fmt="yuv422p", b_frames=2)),
    CorpusFile("4:4:4", video(pix_fmt="yuv444p", b_frames=2)),
    CorpusFile("gray", video(pix_fmt="gray")),
    CorpusFile("RGB, h264", video(codec="libx264rgb", pix_fmt="rgb24"), file_name="video.mkv"),
    CorpusFile("alpha, vp9", video(pix_fmt="yuva420p"), file_name="video.webm"),
    CorpusFile("interlaced, h264", video(b_frames=2, options={"x264-params": "interlaced=1:scenecut=0"})),
    CorpusFile(
        "interlaced, mpeg2",
        video(codec="mpeg2video", rate=Fraction(25), b_frames=2, options={"flags": "+ilme+ildct"}),
        Frames(rate="25"),
        "video.mkv",
        long=True,
    ),
    CorpusFile(
        "non-square pixels",
        video(b_frames=2, options={"x264-params": "sar=4/3:scenecut=0"}),
        _facts(pixel_aspect="4:3", width=160),
    ),
    *(
        CorpusFile(
            f"size changes, {codec} {extension}",
            lambda path, codec=codec, sizes=sizes: make_changing_size(path, codec, sizes),
            _facts(width=sizes[0][0], height=sizes[0][1]),
            f"video.{extension}",
        )
        for codec, extension, sizes in (
            ("libx264", "mkv", [(160, 96), (320, 192), (128, 128)]),
            ("libx264", "mp4", [(160, 96), (320, 192)]),
            ("libvpx-vp9", "webm", [(160, 96), (320, 192), (96, 64)]),
        )
    ),
    CorpusFile(
        "mp4 header that claims 16384×16384",
        then(video(), lambda path: edit_sample_table(path, "stsd", claimed_size(_HUGE, _HUGE))),
        _facts(width=160, height=96),
    ),
    CorpusFile(
        "mkv header that claims 16384×16384",
        then(video(width=320, height=272), lambda path: claim_size(path, _HUGE, _HUGE)),
        _facts(width=320, height=272),
        "video.mkv",
    ),
    CorpusFile(
        "frames that claim 16384×16384",
        _claiming_in_its_frames,
        Refused(
            "VideoUnreadableError",
            "no frame of video.avi can be decoded; the file is damaged, upload it again or convert it.",
        ),
        "video.avi",
    ),
    CorpusFile("one group of 600 frames", video(frames=600, gop=600, b_frames=3), Frames(600)),
    CorpusFile("one group of 600 frames, webm", video(frames=600, gop=600), Frames(600), "video.webm", long=True),
    CorpusFile(
        "open groups, h264",
        video(b_frames=3, options={"x264-params": "open-gop=1:b-pyramid=normal:b-adapt=0:scenecut=0"}),
    ),
    CorpusFile("open groups, hevc", video(codec="libx265", b_frames=3, options={"x265-params": f"open-gop=1:{_X265}"})),
    CorpusFile("intra refresh, h264", video(options={"x264-params": "intra-refresh=1:scenecut=0"})),
    CorpusFile(
        "hevc, closed groups",
        video(codec="libx265", b_frames=3, options={"x265-params": f"open-gop=0:{_X265}"}),
        file_name="video.mkv",
        long=True,
    ),
    CorpusFile("av1, mp4", video(**_SVT)),
    CorpusFile("av1, webm", video(**_SVT), file_name="video.webm"),
    CorpusFile(
        "vp8 with hidden frames",
        video(codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "12", "deadline": "good"}),
        file_name="video.webm",
    ),
    CorpusFile(
        "vp9 with hidden frames",
        video(options={"auto-alt-ref": "1", "lag-in-frames": "12", "deadline": "good"}),
        file_name="video.webm",
    ),
    CorpusFile("mpeg2", video(codec="mpeg2video", rate=Fraction(25), b_frames=2), Frames(rate="25"), "video.mkv"),
    CorpusFile("mpeg4 with B-frames, avi", video(codec="mpeg4", b_frames=2), file_name="video.avi"),
    CorpusFile(
        "mpeg4 with packed B-frames, avi",
        _packed_b_frames,
        Frames(118, "585/59", constant=False, first_number=None),
        "video.avi",
        needs_ffmpeg=True,
    ),
    CorpusFile("h264 with B-frames, avi", video(b_frames=2), Frames(counted_by="decoding"), "video.avi"),
    CorpusFile("msmpeg4, avi", video(codec="msmpeg4"), file_name="video.avi"),
    CorpusFile("wmv2, avi", video(codec="wmv2"), file_name="video.avi", long=True),
    CorpusFile("mjpeg, mkv", video(codec="mjpeg", pix_fmt="yuvj420p"), file_name="video.mkv", long=True),
    CorpusFile("huffyuv, avi", video(codec="huffyuv", pix_fmt="rgb24"), file_name="video.avi"),
    CorpusFile("ffv1, mkv", video(codec="ffv1"), file_name="video.mkv", long=True),
    CorpusFile("ProRes, mov named .mp4", _as_mp4(codec="prores_ks", pix_fmt="yuv422p10le"), _facts(container="mov")),
    CorpusFile(
        "DNxHR, mov named .mp4",
        _as_mp4(codec="dnxhd", pix_fmt="yuv422p", width=256, height=128, options={"profile": "dnxhr_lb"}),
        _facts(container="mov"),
    ),
]
