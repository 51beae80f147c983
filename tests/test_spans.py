"""How a segment is cut for several workers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tasks.plans import Plan
from tasks.spans import Span, spans_of


def plan_of(key_pts, pts, *, counted_by="index") -> Plan:
    count = len(pts)
    return Plan(
        frame_offset=np.arange(count),
        time_offset=np.arange(count) * 0.2,
        pts=np.array(pts),
        key_pts=np.array(key_pts),
        leading=np.zeros(count, bool),
        segments=[(0, count // 2), (count // 2, count)],
        counted_by=counted_by,
    )


EVEN = plan_of(np.arange(400) // 5 * 50, np.arange(400) * 10)
"""Groups of five samples, forty in each segment."""


@pytest.mark.parametrize("workers", [2, 3, 16])
def test_spans_cover_the_segment_in_whole_groups(workers: int) -> None:
    spans = spans_of(EVEN, 1, workers)
    assert (spans[0].start, spans[-1].stop) == EVEN.segments[1]
    assert all(before.stop == after.start for before, after in pairwise(spans))
    assert all(span.start % 5 == 0 and span.segment == 1 for span in spans)
    lengths = [span.stop - span.start for span in spans]
    assert max(lengths) <= max(5, 200 // (4 * workers))


def test_stretches_that_take_long_to_decode_are_cut_off_from_others() -> None:
    # Samples at keyframes cost next to nothing; the last two groups are decoded over 10,000 ticks each.
    key_pts = [*range(0, 36_000, 1000), 40_000, 60_000]
    spans = spans_of(plan_of(key_pts, [*range(0, 36_000, 1000), 50_000, 70_000]), 1, 2)
    assert spans[-2:] == [Span(1, spans[-2].start, 37), Span(1, 37, 38)]


def test_one_worker_takes_the_segment_whole() -> None:
    assert spans_of(EVEN, 0, 1) == [Span(0, 0, 200)]


def test_counted_frames_are_never_shared_out() -> None:
    assert spans_of(plan_of([0] * 10, range(10), counted_by="decoding"), 0, 4) == [Span(0, 0, 5)]


def test_one_group_is_one_span() -> None:
    assert spans_of(plan_of([0] * 10, range(10)), 1, 4) == [Span(1, 5, 10)]
