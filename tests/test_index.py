"""The index of a video's frames: rates to be believed, times that can't be trusted, what a hole or a cut takes."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.frame_rates import VideoRate, believable_rate, find_rate, lost_frames
from tasks.plans import make_plan
from tasks.probing import probe
from tasks.video_index import VideoIndex
from tests.requirements import needs
from tests.test_decoding import frames_of
from tests.video_files import CONTAINERS, make_video, read_all_frames, truncated, with_hole

NTSC = Fraction(30000, 1001)


def index_of(pts, time_base, average_rate=None):
    pts = np.array(pts, np.int64)
    return VideoIndex(pts, pts[:1], np.zeros(len(pts), bool), time_base, average_rate)


@pytest.mark.parametrize("clock", [600, 1000, 90000, 10**7])
def test_a_clock_is_no_rate(clock):
    assert believable_rate([None, Fraction(clock)]) is None
    assert believable_rate([Fraction(clock), NTSC]) == NTSC
    assert find_rate(index_of([7], Fraction(1, clock), Fraction(clock))) == VideoRate(Fraction(1), constant=True)


def test_a_rate_in_whole_microseconds_means_the_standard_one():
    assert believable_rate([Fraction(10**6, 33367)]) == NTSC
    assert believable_rate([Fraction(10**6, 33333)]) == 30
    assert believable_rate([Fraction(10**6, 77777)]) == Fraction(10**6, 77777)
    assert believable_rate([Fraction(1, 60)]) == Fraction(1, 60)


@pytest.mark.parametrize("ticks", [1, 2])
def test_a_frame_left_out_shows_by_a_clock_as_coarse_as_the_frames(ticks):
    times = [i * ticks for i in range(60) if i != 20]
    assert not find_rate(index_of(times, Fraction(1, 30 * ticks))).constant
    assert find_rate(index_of(times[:20], Fraction(1, 30 * ticks))) == VideoRate(Fraction(30), constant=True)


@settings(deadline=None, max_examples=60)
@given(
    rate=st.sampled_from([NTSC, Fraction(25), Fraction(60), Fraction(37, 3)]),
    time_base=st.sampled_from([Fraction(1, 1000), Fraction(1, 90000)]),
    frames=st.integers(40, 300),
    holes=st.lists(st.tuples(st.integers(2, 290), st.integers(1, 60)), min_size=1, max_size=3),
)
def test_what_a_hole_swallowed_is_found_at_its_ideal_time(rate, time_base, frames, holes):
    whole = np.array([17 + round(i / rate / time_base) for i in range(frames)])
    gone = {i for at, length in holes for i in range(at, at + length) if i < frames - 1}
    kept = np.array([i for i in range(frames) if i not in gone])
    left = whole[kept]
    lost = lost_frames(left, time_base, rate, [(int(whole[0]), int(whole[-1]))])
    gaps = np.diff(kept)
    if 2 * int((gaps == 1).sum()) >= len(gaps) + 2:
        assert np.abs(lost - whole[sorted(gone)]).max(initial=0) <= 1
        assert len(lost) == len(gone)
    assert not len(lost_frames(left, time_base, rate, []))


def test_nothing_is_invented_off_the_grid_or_out_of_proportion():
    damage = [(0, 10**15)]
    uneven = np.cumsum([0, 3000, 4100, 3000, 2950, 9000, 3000, 3333])
    assert not len(lost_frames(uneven, Fraction(1, 90000), None, damage))
    far = np.array([*range(0, 90000, 3000), 10**14])
    assert not len(lost_frames(far, Fraction(1, 90000), None, damage))


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("audio", [False, True])
def test_a_whole_file_misses_nothing(tmp_path, container, audio):
    if audio and container == "webm":
        pytest.skip("no AAC in webm")
    codec = {"avi": "mpeg4"}.get(container)
    path = make_video(tmp_path / f"video.{container}", audio=audio, b_frames=2, codec=codec)
    facts, index = probe(path)
    assert (facts.frame_count, facts.frames_missing, facts.counted_by) == (60, 0, "index")
    assert index.frame_count == 60


@needs("ffmpeg")
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_sound_that_goes_on_is_no_missing_picture(tmp_path, container):
    path = make_video(tmp_path / f"video.{container}", b_frames=2)
    longer = tmp_path / f"longer.{container}"
    sound = ["-f", "lavfi", "-i", "sine=duration=9", "-c:v", "copy", "-c:a", "aac"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", path, *sound, longer], check=True)
    assert probe(longer)[0].frames_missing == 0


CUT = {
    "mp4": {"b_frames": 2, "container_options": {"movflags": "faststart"}},
    "mkv": {"b_frames": 2},
    "webm": {},
    "avi": {"codec": "mpeg4", "b_frames": 2},
}


@pytest.mark.parametrize("container", CUT)
def test_a_cut_tail_is_counted_and_not_listed(tmp_path, container):
    whole = make_video(tmp_path / f"whole.{container}", frames=90, gop=15, **CUT[container])
    path = truncated(whole, tmp_path / f"video.{container}", 0.6)
    facts, _ = probe(path)
    assert 10 < facts.frame_count < 90
    clean = read_all_frames(whole)
    _, frames = frames_of(path)
    failed = sum(frame.pixels is None for frame in frames)
    assert failed <= 5
    assert 90 <= facts.frame_count + facts.frames_missing <= 90 + failed
    assert all(np.array_equal(f.pixels, clean[f.sample]) for f in frames if f.pixels is not None)


@pytest.mark.parametrize("container", ["mkv", "webm"])
def test_frames_behind_a_hole_keep_their_numbers(tmp_path, container):
    size = {"width": 320, "height": 192}
    whole = make_video(tmp_path / f"whole.{container}", frames=150, gop=30, rate=NTSC, **size, **CUT[container])
    path = with_hole(whole, tmp_path / f"video.{container}", at=0.4, size_bytes=3000)
    facts, index = probe(path)
    assert (facts.frame_count, facts.rate, facts.constant_rate) == (150, str(NTSC), True)
    assert 0 < facts.frames_missing < 100
    expected = probe(whole)[1]
    assert np.abs(index.pts - expected.pts).max() <= 1
    plan = make_plan(index, infer_fps=Fraction(5))
    assert plan.frame_offset.tolist() == make_plan(expected, infer_fps=Fraction(5)).frame_offset.tolist()
    clean = read_all_frames(whole)
    _, frames = frames_of(path, index=index)
    good = [frame for frame in frames if frame.pixels is not None]
    assert any(frame.sample > 120 for frame in good)
    assert all(np.array_equal(frame.pixels, clean[frame.sample]) for frame in good)
    assert sum(frame.pixels is None for frame in frames) >= facts.frames_missing


def test_frames_that_a_recorder_left_out_are_not_missing(tmp_path):
    kept = [i for i in range(90) if not 30 <= i < 41]
    path = make_video(tmp_path / "video.mkv", frames=len(kept), pts=kept, time_base=Fraction(1, 30))
    facts, index = probe(path)
    assert (facts.frame_count, facts.frames_missing, facts.constant_rate) == (79, 0, False)
    assert make_plan(index, infer_fps=Fraction(5)).frame_offset.tolist()[5:8] == [29, 31, 37]


def remuxed(source, path, time_of):
    """`source` in another file, with the presentation time that `time_of` gives for each packet; see `Packet.pts`."""
    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(given.demux(video=0)):
            if packet.size:
                packet.pts, packet.dts = time_of(number, packet.pts), number
                packet.stream = stream
                made.mux(packet)
    return path


@pytest.mark.parametrize(
    "time_of",
    [lambda n, pts: pts - (n >= 36) * 700, lambda n, pts: pts - (n == 40) * 33],
    ids=["jumps back", "stands twice"],
)
def test_frames_whose_times_cannot_be_trusted_are_counted(tmp_path, time_of):
    source = make_video(tmp_path / "source.mkv", time_base=Fraction(1, 1000), pts=[i * 33 for i in range(60)])
    path = remuxed(source, tmp_path / "video.mkv", time_of)
    facts, _ = probe(path)
    assert (facts.counted_by, facts.frame_count, facts.constant_rate) == ("decoding", 60, True)
    clean = read_all_frames(source)
    _, frames = frames_of(path)
    assert [np.array_equal(frame.pixels, clean[frame.sample]) for frame in frames] == [True] * 60


def test_a_jump_forward_is_a_variable_rate(tmp_path):
    source = make_video(tmp_path / "source.mkv", time_base=Fraction(1, 1000), pts=[i * 33 for i in range(60)])
    path = remuxed(source, tmp_path / "video.mkv", lambda n, pts: pts + (n >= 36) * 5000)
    facts, index = probe(path)
    assert (facts.counted_by, facts.frame_count, facts.constant_rate) == ("index", 60, False)
    assert make_plan(index, infer_fps=Fraction(1)).frame_offset.tolist() == [0, 30, 35]


def shown_times(path):
    """Every frame's time as ffprobe has it, in seconds."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp"]
    command += ["-show_entries", "stream=time_base", "-of", "json", path]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    time_base = Fraction(answer["streams"][0]["time_base"])
    times = [frame.get("best_effort_timestamp") for frame in answer["frames"]]
    assert None not in times[:-1]  # it knows none for an AVI's last
    return [None if time is None else time * time_base for time in times], time_base


UNEVEN = {"pts": [i * 40 + i * i % 23 for i in range(60)], "time_base": Fraction(1, 1000)}
TIMED = {
    "mp4 uneven": ("mp4", {"b_frames": 3, **UNEVEN}),
    "mp4 uneven, later": ("mp4", {**UNEVEN, "pts": [p + 700 for p in UNEVEN["pts"]]}),
    "mp4 uneven, no edit list": ("mp4", {"b_frames": 3, "container_options": {"use_editlist": "0"}, **UNEVEN}),
    "mkv uneven": ("mkv", {"b_frames": 3, **UNEVEN}),
    "webm uneven": ("webm", UNEVEN),
    "mp4": ("mp4", {"b_frames": 3}),
    "mkv": ("mkv", {"b_frames": 3}),
    "webm": ("webm", {}),
    "avi": ("avi", {"codec": "mpeg4", "b_frames": 2}),
}


@needs("ffmpeg")
@pytest.mark.parametrize("name", TIMED)
def test_times_are_those_that_ffprobe_gives(tmp_path, name):
    container, changes = TIMED[name]
    path = make_video(tmp_path / f"video.{container}", rate=NTSC, **changes)
    assert_times_agree(path)


@needs("ffmpeg")
def test_times_within_an_edit_list_are_those_that_ffprobe_gives(tmp_path):
    source = make_video(tmp_path / "source.mp4", b_frames=2, **UNEVEN)
    path = tmp_path / "video.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-ss", "0.7", "-i", source, "-c", "copy", path], check=True)
    assert assert_times_agree(path) < 60


def assert_times_agree(path):
    times, time_base = shown_times(path)
    facts, index = probe(path)
    plan = make_plan(index, infer_fps=None)
    assert len(plan) == len(times)
    for ours, theirs in zip(plan.time_offset.tolist(), times, strict=True):
        if theirs is None:
            continue
        if facts.constant_rate:
            assert abs(ours - (theirs - times[0])) <= time_base + Fraction(1, 20000)
        else:
            assert ours == float(round(theirs - times[0], 4))
    return len(times)
