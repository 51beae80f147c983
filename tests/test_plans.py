"""Plans: segments at keyframes, parts, and the way through Arrow and back."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tasks.plans import BadPlanError, Plan, make_plan, plan_from_bytes, plan_to_bytes
from tasks.sampling import EmptyPartError
from tasks.settings import DecodeSettings
from tasks.video_index import VideoIndex


def index_with_groups(frames=300, gop=30, counted_by="index"):
    pts = np.arange(frames, dtype=np.int64) * 3000
    leading = np.zeros(frames, bool)
    leading[gop - 2 :: gop] = True
    return VideoIndex(pts, pts[::gop], leading, Fraction(1, 90000), Fraction(30), 3000, counted_by)


def test_segments_cover_all_samples_and_start_where_a_group_starts():
    plan = make_plan(
        index_with_groups(), infer_fps=Fraction(5), settings=DecodeSettings(segment_s=2, segment_samples=99)
    )
    assert plan.segments == [(0, 10), (10, 20), (20, 30), (30, 40), (40, 50)]
    for start, _ in plan.segments[1:]:
        assert plan.key_pts[start] != plan.key_pts[start - 1]
    assert (plan.key_pts <= plan.pts).all()


def test_segments_end_before_they_hold_too_many_samples():
    plan = make_plan(index_with_groups(), infer_fps=None, settings=DecodeSettings(segment_s=999, segment_samples=70))
    assert plan.segments == [(0, 60), (60, 120), (120, 180), (180, 240), (240, 300)]


def test_a_group_without_end_is_one_segment():
    plan = make_plan(
        index_with_groups(gop=300), infer_fps=None, settings=DecodeSettings(segment_s=1, segment_samples=5)
    )
    assert plan.segments == [(0, 300)]


def test_frames_counted_by_decoding_are_one_segment():
    index = index_with_groups(counted_by="decoding")
    assert make_plan(index, infer_fps=Fraction(1), settings=DecodeSettings(segment_s=1)).segments == [(0, 10)]


def test_a_part_keeps_the_offsets_and_times_of_the_whole():
    whole = make_plan(index_with_groups(), infer_fps=Fraction(2))
    first = make_plan(index_with_groups(), infer_fps=Fraction(2), end_s=3.5)
    second = make_plan(index_with_groups(), infer_fps=Fraction(2), start_s=3.5)
    assert second.time_offset[0] == 3.5
    for column in ("frame_offset", "time_offset", "pts", "key_pts", "leading"):
        joined = [*getattr(first, column), *getattr(second, column)]
        assert joined == list(getattr(whole, column))
    with pytest.raises(EmptyPartError, match=r"10\.000 s long"):
        make_plan(index_with_groups(), infer_fps=Fraction(2), start_s=10.0)


def test_arrow_and_back():
    plan = make_plan(index_with_groups(), infer_fps=Fraction(7, 3), settings=DecodeSettings(segment_s=1))
    again = plan_from_bytes(plan_to_bytes(plan))
    assert again.hash == plan.hash
    assert again.segments == plan.segments
    assert again.frame_offset.dtype == np.int64
    assert again.time_offset.tolist() == plan.time_offset.tolist()
    assert again.leading.tolist() == plan.leading.tolist()


def test_the_hash_tells_plans_apart():
    index = index_with_groups()
    hashes = {
        make_plan(index, infer_fps=Fraction(5)).hash,
        make_plan(index, infer_fps=Fraction(6)).hash,
        make_plan(index, infer_fps=Fraction(5), end_s=3.0).hash,
        make_plan(index, infer_fps=Fraction(5), settings=DecodeSettings(segment_s=1)).hash,
    }
    assert len(hashes) == 4
    assert make_plan(index, infer_fps=Fraction(5)).hash in hashes


@pytest.mark.parametrize("data", [b"", b"not arrow at all", b"ARROW1\0\0broken"])
def test_bytes_that_are_no_plan_are_named(data):
    with pytest.raises(BadPlanError, match="delete it"):
        plan_from_bytes(data)


def test_columns_of_unlike_length_are_refused():
    column = np.zeros(3, np.int64)
    with pytest.raises(ValueError, match="one length"):
        Plan(column, np.zeros(2), column, column, np.zeros(3, bool), [(0, 3)])
    with pytest.raises(ValueError, match="cover 3 samples"):
        Plan(column, np.zeros(3), column, column, np.zeros(3, bool), [(0, 2)])
