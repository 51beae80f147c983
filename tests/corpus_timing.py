"""The corpus's files with odd times: variable, missing, jumping, edited, or with a rate that cannot be true."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.avi_chunks import set_rate
from tests.corpus_entry import FRAMES, CorpusFile, Frames, then, video
from tests.mkv_elements import change_cluster_times, set_default_duration
from tests.mp4_boxes import edit_list, edit_sample_table, edit_video_track, moved_by, step_times
from tests.streams import make_two_streams

_MS = Fraction(1, 1000)
_FRAME_TICKS = 1024
"""Ticks of a frame in the mp4 files made here."""
_UNEVEN = {"pts": [i * 100 + i % 3 * 17 for i in range(FRAMES)], "time_base": _MS}
_GAPPY = {"pts": [i + i // 40 * 7 for i in range(FRAMES)]}
"""On a grid of ten a second, as a screen recorder leaves frames out."""
_SHORT_CLUSTERS = {"container_options": {"cluster_time_limit": "1000"}}
_UNEVEN_RATE = str(Fraction((FRAMES - 1) * 1000, _UNEVEN["pts"][-1]))  # type: ignore[index]
_GAPPY_RATE = str(Fraction((FRAMES - 1) * 10, _GAPPY["pts"][-1]))


def _edited(edits: list[tuple[int, int]], **changes: Any) -> Callable[[Path], object]:
    """An mp4 of (movie milliseconds, first frame) edits, a first frame of -1 being none."""
    start = _FRAME_TICKS * 2 if changes.get("b_frames") else 0
    entries = [(ms, -1 if frame < 0 else start + frame * _FRAME_TICKS) for ms, frame in edits]
    return then(video(**changes), lambda path: edit_video_track(path, "edts/elst", edit_list(entries)))


def _with_cluster_times(change: Callable[[int, int], int], **changes: Any) -> Callable[[Path], object]:
    def checked(path: Path) -> None:
        assert change_cluster_times(path, change) > 8

    return then(video(**_SHORT_CLUSTERS, **changes), checked)


def _with_step_times(*steps: tuple[int, int]) -> Callable[[Path], object]:
    return then(video(), lambda path: edit_sample_table(path, "stts", step_times(steps)))


def _without_edit_list(**changes: Any) -> Callable[[Path], object]:
    return video(container_options={"use_editlist": "0"}, **changes)


TIMING = [
    CorpusFile("one frame, mp4", video(frames=1), Frames(1)),
    CorpusFile("one frame, mkv", video(frames=1), Frames(1), "video.mkv", long=True),
    CorpusFile("one frame, webm", video(frames=1), Frames(1), "video.webm", long=True),
    CorpusFile("one frame, avi", video(frames=1, codec="mpeg4"), Frames(1), "video.avi"),
    CorpusFile("shorter than a sampling interval", video(frames=4), Frames(4)),
    CorpusFile("two video streams", make_two_streams, Frames(60, rate="30")),
    CorpusFile("video that starts after the audio, mp4", video(pts=range(20, 20 + FRAMES), b_frames=2, audio=True)),
    CorpusFile(
        "video that starts after the audio, mkv",
        video(pts=range(20, 20 + FRAMES), b_frames=2, audio=True),
        file_name="video.mkv",
    ),
    *(
        CorpusFile(
            f"variable rate, {extension}",
            video(**_UNEVEN, b_frames=0 if extension == "webm" else 2),
            Frames(rate=_UNEVEN_RATE, constant=False),
            f"video.{extension}",
            long=extension == "webm",
        )
        for extension in ("mp4", "mkv", "webm")
    ),
    *(
        CorpusFile(
            f"frames left out on a grid, {extension}",
            video(**_GAPPY),
            Frames(rate=_GAPPY_RATE, constant=False),
            f"video.{extension}",
            long=extension == "webm",
        )
        for extension in ("mp4", "mkv", "webm")
    ),
    CorpusFile(
        "avi with empty chunks",
        video(codec="mpeg4", **_GAPPY),
        Frames(rate=_GAPPY_RATE, constant=False),
        "video.avi",
    ),
    *(
        CorpusFile(
            f"{extension}, rate {what}",
            then(video(), lambda path, ns=ns: set_default_duration(path, ns)),
            file_name=f"video.{extension}",
            long=extension == "webm",
        )
        for extension in ("mkv", "webm")
        for what, ns in (("missing", None), ("0", 0), ("1000", 1_000_000), ("90k", 11_111))
    ),
    *(
        CorpusFile(
            f"variable mkv, rate {what}",
            then(video(**_UNEVEN, b_frames=2), lambda path, ns=ns: set_default_duration(path, ns)),
            Frames(rate=_UNEVEN_RATE, constant=False),
            "video.mkv",
        )
        for what, ns in (("missing", None), ("1000", 1_000_000))
    ),
    CorpusFile(
        "mp4 with a clock of 90k",
        video(pts=range(0, FRAMES * 9000, 9000), time_base=Fraction(1, 90000), b_frames=2),
    ),
    *(
        CorpusFile(
            f"avi, rate {rate}",
            then(video(codec="mpeg4"), lambda path, rate=rate: set_rate(path, rate)),
            file_name="video.avi",
        )
        for rate in (0, 1000, 90_000)
    ),
    CorpusFile("B-frames with a positive first time, mp4", _without_edit_list(b_frames=2)),
    CorpusFile(
        "B-frames with a positive first time, mkv", video(pts=range(37, 37 + FRAMES), b_frames=2), file_name="video.mkv"
    ),
    CorpusFile(
        "B-frames with a negative first time",
        then(
            _without_edit_list(b_frames=2),
            lambda path: edit_sample_table(path, "ctts", moved_by(-10 * _FRAME_TICKS)),
        ),
    ),
    CorpusFile("edit list: starts at a keyframe", _edited([(9500, 25)]), Frames(95, first_number=25)),
    CorpusFile("edit list: starts in mid-group", _edited([(8300, 37)]), Frames(83, first_number=37)),
    CorpusFile(
        "edit list: starts in mid-group, B-frames", _edited([(8300, 37)], b_frames=2), Frames(83, first_number=37)
    ),
    CorpusFile("edit list: starts late", _edited([(1500, -1), (12000, 0)], b_frames=2)),
    CorpusFile("edit list: ends early", _edited([(5000, 0)], b_frames=2), Frames(50)),
    CorpusFile(
        "edit list: cuts the middle out",
        _edited([(2000, 0), (4000, 60)]),
        Frames(60, counted_by="decoding", first_number=None),
    ),
    CorpusFile(
        "edit list: shows a part twice",
        _edited([(4000, 0), (4000, 0)]),
        Frames(80, counted_by="decoding", first_number=None),
    ),
    CorpusFile(
        "times jump forward",
        _with_cluster_times(lambda number, time: time + 50_000 * (number > 5)),
        Frames(rate=str(Fraction(119, 11_900 + 50_000) * 1000), constant=False),
        "video.mkv",
    ),
    CorpusFile(
        "times jump back",
        _with_cluster_times(lambda number, time: time - 3000 * (number > 5)),
        Frames(counted_by="decoding"),
        "video.mkv",
    ),
    CorpusFile(
        "times start again",
        _with_cluster_times(lambda number, time: time - 6_000 * (number > 5)),
        Frames(counted_by="decoding"),
        "video.mkv",
    ),
    CorpusFile(
        "times stand twice",
        _with_cluster_times(lambda number, time: time - 500 * (number == 6)),
        Frames(counted_by="decoding"),
        "video.mkv",
    ),
    CorpusFile(
        "times jump back by less than a frame",
        _with_cluster_times(lambda number, time: time - 1050 * (number == 6)),
        Frames(counted_by="decoding"),
        "video.mkv",
    ),
    CorpusFile(
        "clusters change places",
        _with_cluster_times(lambda number, time: {4: 5500, 5: 4400}.get(number, time), gop=11),
        Frames(counted_by="decoding"),
        "video.mkv",
    ),
    CorpusFile(
        "mp4 whose clock stands still",
        _with_step_times((50, 1024), (2, 0), (68, 1024)),
        Frames(rate="600/59", counted_by="decoding"),
    ),
    CorpusFile(
        "mp4 whose clock runs back",
        _with_step_times((50, 1024), (1, -20480), (69, 1024)),
        Frames(rate="243712/20141", constant=False),
    ),
    CorpusFile("times of nothing but zero", _with_step_times((120, 0)), Frames(counted_by="decoding")),
    CorpusFile(
        "screen recording of a browser",
        then(
            video(
                pts=[i * 100 + i * 37 % 11 for i in range(FRAMES)],
                time_base=_MS,
                gop=1000,
                container_options={"live": "1"},
            ),
            lambda path: set_default_duration(path, None),
        ),
        Frames(rate=str(Fraction(119_000, 119 * 100 + 119 * 37 % 11)), constant=False),
        "video.webm",
    ),
]
