"""Facts, index and frames through the public door: one contract for all containers, codecs and ways to write them.

The reference is PyAV decoding every frame one after the other; what reelmill skips must never change a pixel.
"""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from models.errors import PermanentError
from tasks.decoding import ExtractedFrame, SegmentEnd, extract
from tasks.plans import make_plan
from tasks.probing import probe
from tasks.sampling import RateTooHighError
from tasks.settings import DecodeSettings
from tasks.video_refusals import (
    NoDecoderError,
    NotAVideoError,
    NoVideoStreamError,
    TooManyPixelsError,
    TruncatedVideoError,
    VideoUnreadableError,
)
from tests.requirements import assets, needs
from tests.video_files import (
    CONTAINERS,
    make_audio_only,
    make_no_video,
    make_video,
    read_all_frames,
    read_barcode,
    truncated,
    with_codec_tag,
    with_hole,
)

NTSC = Fraction(30000, 1001)
SHORT_SEGMENTS = DecodeSettings(segment_s=0.5)


def frames_of(path, infer_fps=None, settings=SHORT_SEGMENTS, index=None, **part):
    """The plan and all frames of a video in order, after checking that segments come whole, each frame once."""
    facts = None
    if index is None:
        facts, index = probe(path)
    plan = make_plan(index, infer_fps=None if infer_fps is None else Fraction(infer_fps), settings=settings, **part)
    frames = []
    for item in extract(path, plan, range(len(plan.segments)), facts=facts, settings=settings):
        if isinstance(item, ExtractedFrame):
            assert plan.segments[item.segment][0] <= item.sample < plan.segments[item.segment][1]
            frames.append(item)
        else:
            assert item == SegmentEnd(item.segment)
            start, stop = plan.segments[item.segment]
            assert sum(frame.segment == item.segment for frame in frames) == stop - start
    frames.sort(key=lambda frame: frame.sample)
    assert [frame.sample for frame in frames] == list(range(len(plan)))
    return plan, frames


UNEVEN = {"pts": [i * 40 + i % 3 * 7 for i in range(60)], "time_base": Fraction(1, 1000)}
RECIPES = {
    "mp4": ("mp4", {}),
    "mp4 B-frames": ("mp4", {"b_frames": 3}),
    "mp4 open groups": ("mp4", {"b_frames": 3, "options": {"x264-params": "open-gop=1:b-pyramid=normal:b-adapt=0"}}),
    "mp4 intra refresh": ("mp4", {"options": {"x264-params": "intra-refresh=1"}}),
    "mp4 one group": ("mp4", {"gop": 1000, "b_frames": 3}),
    "mp4 all keyframes": ("mp4", {"gop": 1}),
    "mp4 groups of two": ("mp4", {"gop": 2, "b_frames": 1}),
    "mp4 fragments": ("mp4", {"b_frames": 3, "container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "mp4 uneven": ("mp4", {"b_frames": 3, **UNEVEN}),
    "mp4 with sound": ("mp4", {"audio": True, "b_frames": 2}),
    "mp4 interlaced": ("mp4", {"b_frames": 3, "options": {"x264-params": "interlaced=1"}}),
    "mp4 hevc, open groups": ("mp4", {"codec": "libx265", "b_frames": 3}),
    "mp4 mpeg4": ("mp4", {"codec": "mpeg4", "b_frames": 2}),
    "mp4 av1": ("mp4", {"codec": "libsvtav1"}),
    "mkv B-frames": ("mkv", {"b_frames": 3}),
    "mkv without index": ("mkv", {"b_frames": 3, "container_options": {"live": "1"}}),
    "mkv mpeg2": ("mkv", {"codec": "mpeg2video", "b_frames": 2}),
    "mkv hevc, layers": (
        "mkv",
        {"codec": "libx265", "b_frames": 3, "options": {"x265-params": "temporal-layers=2:log-level=none"}},
    ),
    "webm vp9": ("webm", {}),
    "webm vp8 with hidden frames": (
        "webm",
        {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "12", "deadline": "good"}},
    ),
    "webm uneven": ("webm", UNEVEN),
    "avi B-frames": ("avi", {"b_frames": 3}),
    "avi mpeg4 B-frames": ("avi", {"codec": "mpeg4", "b_frames": 2}),
}


@pytest.mark.parametrize("name", RECIPES)
def test_extraction_equals_decoding_everything(tmp_path, name):
    container, changes = RECIPES[name]
    path = make_video(tmp_path / f"video.{container}", rate=NTSC, **changes)
    reference = read_all_frames(path)
    facts, index = probe(path)
    assert (facts.container, facts.width, facts.height, facts.frame_count) == (container, 160, 96, len(reference))
    assert facts.constant_rate == ("uneven" not in name)
    for infer_fps in (None, Fraction(7, 3)):
        plan, frames = frames_of(path, infer_fps, index=index)
        for frame, offset in zip(frames, plan.frame_offset.tolist(), strict=True):
            assert frame.reason is None
            assert read_barcode(frame.pixels) == offset
            assert np.array_equal(frame.pixels, reference[offset])


@pytest.mark.parametrize("rate", [Fraction(30), NTSC])
def test_every_container_gives_the_same_lists(tmp_path, rate):
    paths = [
        make_video(tmp_path / f"video.{container}", rate=rate, b_frames=0 if container == "webm" else 2)
        for container in CONTAINERS
    ]
    facts, indexes = zip(*map(probe, paths), strict=True)
    for infer_fps in (rate, rate / 2, Fraction(5)):
        plans = [make_plan(index, infer_fps=infer_fps) for index in indexes]
        assert len({(tuple(plan.frame_offset), tuple(plan.time_offset)) for plan in plans}) == 1
    assert [known.rate for known in facts] == [str(rate)] * 4


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_frames_stand_upright(tmp_path, rotation, container):
    path = make_video(tmp_path / f"video.{container}", frames=15, rotation=rotation, b_frames=2)
    facts, _ = probe(path)
    assert (facts.width, facts.height, facts.rotation) == (160, 96, rotation)
    plan, frames = frames_of(path, 10)
    assert [read_barcode(frame.pixels) for frame in frames] == plan.frame_offset.tolist()


@needs("ffmpeg")
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_upright_is_what_ffmpeg_shows(tmp_path, rotation):
    path = make_video(tmp_path / "video.mp4", frames=5, rotation=rotation)
    command = ["ffmpeg", "-v", "error", "-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    shown = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.uint8)
    frame = frames_of(path)[1][0].pixels
    assert np.abs(shown.reshape(frame.shape).astype(int) - frame).mean() < 3


@needs("assets")
def test_a_real_video_at_two_frames_a_second():
    path = assets() / "videos" / "bikes.mp4"
    facts, index = probe(path)
    assert (facts.rate, facts.frame_count, facts.duration_s, facts.codec) == ("25", 250, 10.0, "h264")
    plan, frames = frames_of(path, 2)
    assert plan.frame_offset.tolist() == [i * 25 // 2 for i in range(20)]
    reference = read_all_frames(path)
    assert all(np.array_equal(f.pixels, reference[o]) for f, o in zip(frames, plan.frame_offset, strict=True))
    assert make_plan(index, infer_fps=Fraction(25)).frame_offset.tolist() == list(range(250))
    with pytest.raises(RateTooHighError, match="has 25 frames a second and infer_fps is 26"):
        make_plan(index, infer_fps=Fraction(26))


def test_a_part_gives_the_frames_of_that_part(tmp_path):
    path = make_video(tmp_path / "video.mp4", b_frames=2)
    plan, frames = frames_of(path, 10, start_s=0.5, end_s=1.2)
    assert plan.time_offset.tolist() == [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1]
    assert [read_barcode(frame.pixels) for frame in frames] == plan.frame_offset.tolist()


def test_segments_can_be_asked_for_alone_and_in_any_order(tmp_path):
    path = make_video(tmp_path / "video.mp4", b_frames=3)
    _, index = probe(path)
    plan = make_plan(index, infer_fps=None, settings=SHORT_SEGMENTS)
    given = [
        item
        for item in extract(path, plan, [2, 0], settings=DecodeSettings(workers=1))
        if isinstance(item, ExtractedFrame)
    ]
    assert [read_barcode(frame.pixels) for frame in given] == [*range(*plan.segments[2]), *range(*plan.segments[0])]


def test_frames_are_read_only_and_outlive_the_worker(tmp_path):
    path = make_video(tmp_path / "video.mp4")
    frame = frames_of(path, 1)[1][1].pixels
    assert read_barcode(frame) == 30
    with pytest.raises(ValueError, match="read-only"):
        frame[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("container", "changes"),
    [("mp4", {}), ("mp4", {"b_frames": 3}), ("mp4", {"codec": "libx265", "b_frames": 3}), ("avi", {"codec": "mpeg4"})],
)
def test_after_damage_frames_are_missing_never_wrong(tmp_path, container, changes):
    whole = make_video(tmp_path / f"whole.{container}", frames=150, gop=30, width=320, height=192, **changes)
    path = with_hole(whole, tmp_path / f"video.{container}", at=0.4, size_bytes=1500)
    clean = read_all_frames(whole)
    plan, frames = frames_of(path)
    lost = [frame for frame in frames if frame.pixels is None]
    assert lost
    assert all(frame.reason and not frame.passing for frame in lost)
    if container == "mp4":
        assert len(frames) == 150
        good = [(f.pixels, clean[o]) for f, o in zip(frames, plan.frame_offset, strict=True) if f.pixels is not None]
        assert len(good) > 75
        assert all(np.array_equal(pixels, expected) for pixels, expected in good)
        assert any("damaged packet" in (frame.reason or "") for frame in lost)


def test_a_cut_off_recording_gives_the_frames_it_holds(tmp_path):
    whole = make_video(tmp_path / "whole.mkv", width=320, height=192)
    path = truncated(whole, tmp_path / "video.mkv", 0.5)
    plan, frames = frames_of(path)
    assert 10 < len(plan) < 60
    good = [frame for frame in frames if frame.pixels is not None]
    assert len(good) >= len(plan) - 1
    assert [read_barcode(frame.pixels) for frame in good] == [frame.sample for frame in good]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("text", "is not a video; give an mp4"),
        ("zip", "is not a video; give an mp4"),
        ("playlist", "is not a video; give an mp4"),
        ("picture", "is not a video; give an mp4"),
        ("sound", "is not a video; give an mp4"),
        ("empty", r"is empty \(0 bytes\); upload it again"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, kind, sentence):
    with pytest.raises(NotAVideoError, match=f"^video.mp4 {sentence}"):
        probe(make_no_video(tmp_path, kind))


def test_sound_without_video_is_refused(tmp_path):
    with pytest.raises(NoVideoStreamError, match="has sound but no video"):
        probe(make_audio_only(tmp_path / "video.mp4"))
    with pytest.raises(NoVideoStreamError, match="sound and a cover picture but no video"):
        probe(make_audio_only(tmp_path / "video.mp4", cover=True))


def test_a_file_cut_off_before_its_index_is_refused(tmp_path):
    path = truncated(make_video(tmp_path / "whole.mp4"), tmp_path / "video.mp4", 0.6)
    with pytest.raises(TruncatedVideoError, match="cut off or damaged: the index of its frames is missing"):
        probe(path)


def test_a_codec_that_nobody_has_is_refused(tmp_path):
    path = make_video(tmp_path / "whole.mkv")
    with pytest.raises(NoDecoderError, match="codec that cannot be decoded here"):
        probe(with_codec_tag(path, tmp_path / "video.mkv", b"V_MPEG4/ISO/AVC", b"V_NONE9/ISO/AVC"))


def test_too_many_pixels_are_refused(tmp_path):
    path = make_video(tmp_path / "video.mp4")
    assert probe(path, DecodeSettings(max_pixels=160 * 96))[0].width == 160
    with pytest.raises(TooManyPixelsError, match="frames of 160×96, more than the 15359 pixels"):
        probe(path, DecodeSettings(max_pixels=160 * 96 - 1))


def test_no_such_file_is_refused(tmp_path):
    with pytest.raises(VideoUnreadableError, match=r"no file .*nowhere\.mp4; check the path"):
        probe(tmp_path / "nowhere.mp4")
    path = make_video(tmp_path / "video.mp4")
    plan = make_plan(probe(path)[1], infer_fps=None)
    path.unlink()
    with pytest.raises(PermanentError, match="no file"):
        next(extract(path, plan, [0]))


def test_odd_file_names_are_taken_as_they_are(tmp_path, monkeypatch):
    path = make_video(tmp_path / "video.mp4")
    for name in ("http:a:b %20 'x' ü.mp4", "-i.mp4", "concat:video.mp4"):
        assert probe(path.rename(tmp_path / name))[0].frame_count == 60
        path = tmp_path / name
    monkeypatch.chdir(tmp_path)
    assert probe(Path(path.name))[0].frame_count == 60
