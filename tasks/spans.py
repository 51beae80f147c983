"""Spans: the runs of whole groups of pictures that a segment is cut into, so that several workers share it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.plans import Plan

_SPANS_A_WORKER = 8
"""Pieces of a segment for each worker: the more, the less one has left to do when the others have finished."""


@dataclass(frozen=True)
class Span:
    """The half-open range of samples [start, stop) of a segment, decoded in one go."""

    segment: int
    start: int
    stop: int


def spans_of(plan: Plan, segment: int, workers: int) -> list[Span]:
    """Cut a segment for so many workers where the keyframe changes, into stretches that take about as long to decode.

    A segment stays whole for one worker, and where frames are counted: then all of them are decoded from the start.
    """
    start, stop = plan.segments[segment]
    if workers == 1 or plan.counted_by == "decoding":
        return [Span(segment, start, stop)]
    key_pts, pts = plan.key_pts[start:stop], plan.pts[start:stop]
    group_stops = np.append(np.flatnonzero(key_pts[1:] != key_pts[:-1]) + 1, stop - start)
    # A group is decoded from its keyframe to its last sample.
    ticks = np.maximum(pts[group_stops - 1] - key_pts[group_stops - 1], 0) + 1
    work = np.cumsum(ticks)
    share = -(-int(work[-1]) // (_SPANS_A_WORKER * workers))
    cuts = group_stops[np.flatnonzero(np.append(work[:-1] // share != work[1:] // share, True))] + start
    return [Span(segment, a, b) for a, b in zip([start, *cuts[:-1].tolist()], cuts.tolist(), strict=True)]
