"""The sampling rule against golden lists and against a slow version in fractions that is plain to see."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.frame_rates import VideoRate, find_rate
from tasks.sampling import (
    EmptyPartError,
    RateTooHighError,
    part_of,
    sample_frames,
)
from tasks.video_index import VideoIndex

NTSC = Fraction(30000, 1001)


def index_of(pts, time_base=Fraction(1, 90000), average_rate=None, last_duration=0, counted_by="index"):
    pts = np.array(pts, np.int64)
    return VideoIndex(pts, pts[:1], np.zeros(len(pts), bool), time_base, average_rate, last_duration, counted_by)


def steady(frames, rate, time_base, start=0, **kwargs):
    """Times as muxers write them: each rounded to the nearest tick."""
    return index_of([start + round(i / rate / time_base) for i in range(frames)], time_base, **kwargs)


def lists(index, infer_fps):
    samples = sample_frames(index, find_rate(index), None if infer_fps is None else Fraction(infer_fps))
    return samples.frame_offset.tolist(), samples.time_offset.tolist()


@pytest.mark.parametrize(
    ("rate", "infer_fps", "offsets", "times"),
    [
        (NTSC, 5, [0, 5, 11, 17, 23, 29, 35, 41, 47, 53, 59], [0.0, 0.1668, 0.367, 0.5672, 0.7674]),
        (Fraction(24), 4, [0, 6, 12, 18, 24, 30], [0.0, 0.25, 0.5]),
        (Fraction(25), 2, [0, 12, 25, 37, 50], [0.0, 0.48, 1.0, 1.48, 2.0]),
        (Fraction(25), Fraction(1, 3), [0, 75], [0.0, 3.0]),
    ],
)
@pytest.mark.parametrize("time_base", [Fraction(1, 90000), Fraction(1, 1000), Fraction(1, 15360), Fraction(1, 10**9)])
def test_golden_lists_hold_in_every_time_base(rate, infer_fps, offsets, times, time_base):
    got_offsets, got_times = lists(steady(120, rate, time_base, start=17, average_rate=rate), infer_fps)
    assert got_offsets[: len(offsets)] == offsets
    assert got_times[: len(times)] == times


@pytest.mark.parametrize("rate", [NTSC, Fraction(24000, 1001), Fraction(25), Fraction(60), Fraction(12)])
@pytest.mark.parametrize("claimed", [None, Fraction(1000), Fraction(27), Fraction(1, 2)])
def test_a_wrong_claim_of_the_container_gives_way_to_the_standard_rate(rate, claimed):
    assert find_rate(steady(300, rate, Fraction(1, 1000), average_rate=claimed)) == VideoRate(rate, constant=True)


def test_a_rate_that_is_no_standard_is_the_simplest_fraction_that_fits():
    assert find_rate(steady(500, Fraction(37, 3), Fraction(1, 90000))) == VideoRate(Fraction(37, 3), constant=True)


def test_a_claimed_rate_is_taken_only_where_every_frame_agrees():
    claimed = Fraction(2997, 100)
    assert find_rate(steady(100, NTSC, Fraction(1, 1000), average_rate=claimed)).fps == claimed
    assert find_rate(steady(3000, NTSC, Fraction(1, 90000), average_rate=claimed)).fps == NTSC


def test_one_frame_two_ticks_late_makes_the_rate_variable():
    pts = [i * 3000 for i in range(60)]
    pts[30] += 1
    assert find_rate(index_of(pts)) == VideoRate(Fraction(30), constant=True)
    pts[30] += 1
    assert find_rate(index_of(pts)) == VideoRate(Fraction(30), constant=False)


def test_a_single_frame_is_one_sample_at_any_rate_up_to_its_own():
    assert lists(index_of([500], average_rate=Fraction(25)), 5) == ([0], [0.0])
    assert lists(index_of([500]), None) == ([0], [0.0])


def test_ten_hours_stay_exact_at_the_end():
    frames = 10 * 3600 * 30
    pts = (np.arange(frames, dtype=np.int64) * 3003).astype(np.int64)
    index = VideoIndex(pts, pts[:1], np.zeros(frames, bool), Fraction(1, 90000), NTSC)
    samples = sample_frames(index, find_rate(index), Fraction(5))
    last = len(samples.frame_offset) - 1
    assert samples.frame_offset[-1] == math.floor(last * NTSC / 5)
    assert samples.time_offset[-1] == float(round(int(samples.frame_offset[-1]) / NTSC, 4))
    assert math.floor((last + 1) * NTSC / 5) >= frames


def test_frames_decoded_and_counted_keep_the_claimed_rate():
    index = index_of(range(50), Fraction(1, 10), average_rate=Fraction(10), counted_by="decoding")
    assert lists(index, 2) == ([0, 5, 10, 15, 20, 25, 30, 35, 40, 45], [i / 2 for i in range(10)])


def test_a_rate_above_the_videos_is_refused_with_both_named():
    index = steady(50, Fraction(25), Fraction(1, 1000), average_rate=Fraction(25))
    with pytest.raises(RateTooHighError, match=r"the video has 25 frames a second and infer_fps is 26;"):
        sample_frames(index, find_rate(index), Fraction(26))
    assert lists(index, 25)[0] == list(range(50))
    ntsc = steady(50, NTSC, Fraction(1, 90000))
    with pytest.raises(RateTooHighError, match=r"29.97 \(30000/1001\) frames a second and infer_fps is 30;"):
        sample_frames(ntsc, find_rate(ntsc), Fraction(30))


def test_a_part_that_holds_nothing_says_how_long_the_video_is():
    index = steady(50, Fraction(25), Fraction(1, 1000))
    rate = find_rate(index)
    samples = sample_frames(index, rate, Fraction(1))
    with pytest.raises(EmptyPartError, match=r"from 7 s to 9\.5 s: the video is 2\.000 s long"):
        part_of(samples, index, rate, Fraction(1), 7.0, 9.5)


RATES = st.fractions(min_value=Fraction(1, 20), max_value=130, max_denominator=1001)
BASES = st.sampled_from(
    [Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 15360), Fraction(1001, 30000), Fraction(1, 7)]
)
UNEVEN = st.lists(st.integers(1, 9000), min_size=1, max_size=40)


@settings(deadline=None, max_examples=60)
@given(frames=st.integers(1, 200), rate=RATES, share=st.fractions(min_value=Fraction(1, 50), max_value=1))
def test_constant_rate_is_the_floor_of_the_ideal_frame(frames, rate, share):
    infer_fps = rate * share
    index = index_of(range(frames), 1 / rate, average_rate=rate, counted_by="decoding")
    expected, i = [], 0
    while math.floor(i * rate / infer_fps) < frames:
        expected.append(math.floor(i * rate / infer_fps))
        i += 1
    assert lists(index, infer_fps) == (expected, [float(round(offset / rate, 4)) for offset in expected])


@settings(deadline=None, max_examples=60)
@given(gaps=UNEVEN, start=st.integers(-5000, 5000), time_base=BASES, last=st.integers(1, 500), rate=RATES)
def test_variable_rate_is_the_frame_on_screen(gaps, start, time_base, last, rate):
    pts = [start]
    for gap in gaps:
        pts.append(pts[-1] + gap)
    index = index_of(pts, time_base, last_duration=last)
    times = [(p - pts[0]) * time_base for p in pts]
    variable = VideoRate(max(rate, 1 / time_base), constant=False)
    rate = max(rate, 1 / (50 * (times[-1] + last * time_base)))
    rate = min(rate, 300 / (times[-1] + last * time_base))
    expected, i = [], 0
    while i / rate < times[-1] + last * time_base:
        on_screen = max(k for k, time in enumerate(times) if time <= i / rate)
        if on_screen not in expected:
            expected.append(on_screen)
        i += 1
    samples = sample_frames(index, variable, rate)
    assert samples.frame_offset.tolist() == expected
    assert samples.time_offset.tolist() == [float(round(times[k], 4)) for k in expected]


@settings(deadline=None, max_examples=60)
@given(frames=st.integers(2, 300), rate=RATES, time_base=BASES, start=st.integers(-1000, 1000))
def test_a_steady_video_is_recognised_and_the_rate_found_explains_every_frame(frames, rate, time_base, start):
    pts = [start + round(i / rate / time_base) for i in range(frames)]
    if len(set(pts)) < frames:
        return
    found = find_rate(index_of(pts, time_base))
    assert found.constant
    assert all(abs((p - pts[0]) - i / found.fps / time_base) <= 1 for i, p in enumerate(pts))


@settings(deadline=None, max_examples=60)
@given(gaps=UNEVEN, share=st.none() | st.fractions(min_value=Fraction(1, 9), max_value=1), data=st.data())
def test_parts_put_together_are_the_whole(gaps, share, data):
    pts = np.cumsum([0, *gaps])
    index = index_of(pts)
    rate = find_rate(index)
    infer_fps = None if share is None else rate.fps * share
    whole = sample_frames(index, rate, infer_fps)
    cut = data.draw(st.floats(0, float(pts[-1] / 90000) * 1.2, allow_nan=False))
    parts = []
    for start_s, end_s in ((0.0, cut), (cut, None)):
        try:
            parts.append(part_of(whole, index, rate, infer_fps, start_s, end_s))
        except EmptyPartError:
            continue
    assert np.concatenate([part.frame_offset for part in parts]).tolist() == whole.frame_offset.tolist()
    assert np.concatenate([part.time_offset for part in parts]).tolist() == whole.time_offset.tolist()


def test_numbers_too_large_for_64_bits_are_still_exact():
    time_base = Fraction(1, 10**15 + 37)
    index = steady(40, Fraction(30), time_base, average_rate=Fraction(30))
    assert lists(index, 5)[0] == [0, 6, 12, 18, 24, 30, 36]
    uneven = index_of([0, 10**14, 7 * 10**14, 5 * 10**15], time_base)
    assert lists(uneven, Fraction(3, 5))[1] == [0.0, float(round(7 * 10**14 * time_base, 4)), 5.0]
