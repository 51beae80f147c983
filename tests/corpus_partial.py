"""The corpus's damaged files: cut off, with bytes overwritten, without what tells where their frames are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.corpus_entry import FRAMES, GOP, CorpusFile, Frames, Refused, Remains, damaged, once, then, video
from tests.mp4_boxes import without_box
from tests.video_files import truncated, with_hole, with_noise, without_bytes

_CUT_OFF = Refused(
    "TruncatedVideoError",
    "video.mp4 is cut off or damaged: the index of its frames is missing; upload the whole file again.",
)
_GRAINY = {"grain": 30, "width": 192, "height": 112}
_MPEG4 = {"codec": "mpeg4", "options": {"qmin": "3", "qmax": "3", "b": "9000000"}}
_FASTSTART = {"container_options": {"movflags": "faststart"}}
_FRAGMENTS = {"container_options": {"movflags": "frag_keyframe+empty_moov"}}
_TAIL = Remains(tail_missing=True, least_lost=FRAMES // 4, most_lost=FRAMES // 2)
_CONTAINERS = {
    "h264 mp4": ("mp4", {"b_frames": 2, **_FASTSTART}),
    "hevc mp4": ("mp4", {"codec": "libx265", "b_frames": 2}),
    "vp9 mp4": ("mp4", {"codec": "libvpx-vp9"}),
    "av1 mp4": ("mp4", {"codec": "libsvtav1"}),
    "mpeg4 mp4": ("mp4", {**_MPEG4, "b_frames": 2}),
    "h264 mkv": ("mkv", {"b_frames": 2}),
    "hevc mkv": ("mkv", {"codec": "libx265", "b_frames": 2}),
    "vp9 webm": ("webm", {}),
    "av1 webm": ("webm", {"codec": "libsvtav1"}),
    "mpeg4 avi": ("avi", {**_MPEG4, "b_frames": 2}),
    "mpeg4 avi, no B-frames": ("avi", _MPEG4),
    "h264 avi": ("avi", {}),
}
_WHOLE = [(name, extension, once(video(**_GRAINY, **made))) for name, (extension, made) in _CONTAINERS.items()]
_HOLES = {
    "2 kB of zeroes": lambda whole, path: with_hole(whole, path, at=0.33, size_bytes=2000),
    "2 kB of noise": lambda whole, path: with_noise(whole, path, at=0.33, size_bytes=2000),
    "40 bytes of noise": lambda whole, path: with_noise(whole, path, at=0.55, size_bytes=40),
}
_HIT = range(GOP, 3 * GOP)
"""The two groups of pictures that these fall into."""
_FAST_HOLES = ("2 kB of zeroes",)
_LONG_WHOLE = ("hevc mkv", "av1 webm", "vp9 mp4", "mpeg4 avi, no B-frames")
_CUTS: dict[str, tuple[str, dict[str, object]]] = {
    "mp4, moov in front": ("mp4", {"b_frames": 2, **_FASTSTART}),
    "mp4 in fragments": ("mp4", {"b_frames": 2, **_FRAGMENTS}),
    "mkv": ("mkv", {"b_frames": 2}),
    "webm": ("webm", {}),
    "avi": ("avi", {**_MPEG4, "b_frames": 2}),
    "avi, h264": ("avi", {}),
}


def _counted_by(extension: str, made: dict[str, object]) -> str:
    """H.264 in AVI has no times, and may be reordered."""
    return "decoding" if extension == "avi" and "codec" not in made else "index"


def _cut(share: float) -> Callable[[Path, Path], object]:
    return lambda whole, path: truncated(whole, path, share)


PARTIAL = [
    *(
        CorpusFile(
            f"cut off: {name}",
            damaged(video(**_GRAINY, **made), _cut(0.66)),
            replace(_TAIL, missing_known=name != "mp4 in fragments", counted_by=_counted_by(extension, made)),
            f"video.{extension}",
        )
        for name, (extension, made) in _CUTS.items()
    ),
    CorpusFile("cut off: mp4, moov at the end", damaged(video(b_frames=2), _cut(0.66)), _CUT_OFF),
    CorpusFile("no moov", then(video(b_frames=2), lambda path: without_box(path, b"moov")), _CUT_OFF),
    CorpusFile(
        "cut off in moov in front",
        damaged(video(**_FASTSTART), lambda w, p: p.write_bytes(w.read_bytes()[:300])),
        _CUT_OFF,
    ),
    *(
        CorpusFile(
            f"{extension} with nothing behind its first 50 bytes",
            damaged(
                video(**({} if extension == "mkv" else _MPEG4)),
                lambda whole, path: truncated(whole, path, 50 / whole.stat().st_size),
            ),
            Refused(_CUT_OFF.error, _CUT_OFF.sentence.replace("video.mp4", f"video.{extension}")),
            f"video.{extension}",
        )
        for extension in ("mkv", "avi")
    ),
    CorpusFile(
        "mkv with zeroes behind its first 500 bytes",
        damaged(video(), lambda whole, path: path.write_bytes(whole.read_bytes()[:500] + bytes(1000))),
        Refused(_CUT_OFF.error, _CUT_OFF.sentence.replace("video.mp4", "video.mkv")),
        "video.mkv",
    ),
    CorpusFile("moov at the end", video(b_frames=2)),
    CorpusFile("moov in front", video(b_frames=2, **_FASTSTART)),
    CorpusFile("fragmented mp4", video(b_frames=2, **_FRAGMENTS)),
    *(
        CorpusFile(
            f"damaged: {name}, {what}",
            damaged(make, hole),
            Remains(
                least_lost=0 if "noise" in what else 1,
                swallowed=_HIT if "noise" in what else range(0),
                counted_by="decoding" if name == "h264 avi" else "index",
            ),
            f"video.{extension}",
            long=what not in _FAST_HOLES or name in _LONG_WHOLE,
        )
        for name, extension, make in _WHOLE
        for what, hole in _HOLES.items()
    ),
    CorpusFile(
        "damaged: mpeg4 avi that lacks 900 bytes",
        damaged(
            video(**_GRAINY, **_MPEG4, b_frames=2),
            lambda whole, path: without_bytes(whole, path, at=0.38, size_bytes=900),
        ),
        Remains(counted_by="decoding"),
        "video.avi",
    ),
    CorpusFile(
        "damaged: mkv, two holes",
        damaged(
            video(**_GRAINY, b_frames=2),
            lambda whole, path: with_hole(
                with_hole(whole, path, at=0.38, size_bytes=900), path, at=0.7, size_bytes=900
            ),
        ),
        Remains(most_lost=100),
        "video.mkv",
    ),
    CorpusFile(
        "damaged: mp4 with sound",
        damaged(video(**_GRAINY, audio=True), _HOLES["2 kB of zeroes"]),
        Remains(least_lost=0),
    ),
    CorpusFile(
        "damaged: all of the pictures",
        damaged(video(**_FASTSTART), lambda whole, path: with_hole(whole, path, at=0.3, size_bytes=10**9)),
        Refused(
            "VideoUnreadableError",
            "no frame of video.mp4 can be decoded; the file is damaged, upload it again or convert it.",
        ),
    ),
    CorpusFile("whole: grainy", video(**_GRAINY, b_frames=2), Frames()),
]
