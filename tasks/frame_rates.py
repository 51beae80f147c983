"""How fast a video's frames follow each other, found from their times; and which of them a hole has swallowed.

Everything here is integers and fractions; floats only narrow down what is then compared exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tasks.video_index import VideoIndex, blocks

_COMMON_RATES = (24, 25, 30, 50, 60)
_OTHER_RATES = (10, 12, 15, 5, 20, 48, 90, 100, 120, 144, 240, 1, 2, 8, 16)
STANDARD_RATES: tuple[Fraction, ...] = (
    *(Fraction(rate) for rate in _COMMON_RATES),
    *(Fraction(rate * 1000, 1001) for rate in _COMMON_RATES),
    *(Fraction(rate) for rate in _OTHER_RATES),
    *(Fraction(rate * 1000, 1001) for rate in _OTHER_RATES),
)
"""Rates that recordings are meant to have, in the order in which they are tried."""
DEFAULT_RATE = Fraction(25)
"""Of a video whose frames had to be counted and that says nothing of its rate that can be believed."""
_SLOWEST, _FASTEST = Fraction(1, 3600), Fraction(480)
_COARSE_STEP = 3
_MOST_LOST = 1_000_000


@dataclass(frozen=True)
class VideoRate:
    """How fast a video's frames follow each other: `fps` exactly, or on average where the rate varies."""

    fps: Fraction
    constant: bool


def find_rate(index: VideoIndex) -> VideoRate:
    """The rate of a video, and whether it is constant.

    Constant means: every frame's time lies within one tick of i/rate after the first. Where a frame takes less than
    three ticks, a frame left out would pass for that; there every step must be the same but for rounding, and where
    the clock ticks once a frame, one tick. The rate is the container's where that holds for it, else the first standard
    rate for which it does, else the simplest fraction; a video without such a rate has (n − 1) / (time from the first
    to the last frame). One frame: the container's, else 1.
    """
    if index.counted_by == "decoding":
        return VideoRate(index.average_rate or 1 / index.time_base, constant=True)
    if index.frame_count == 1:
        return VideoRate(believable_rate([index.average_rate]) or Fraction(1), constant=True)
    low, high = _step_bounds(index.pts)
    if index.ticks_are_frames and _steps_are_even(index.pts, Fraction(1)):
        return VideoRate(1 / index.time_base, constant=True)
    if low <= high and not index.ticks_are_frames:
        rate = _rate_between(low, high, index.time_base, index.average_rate)
        step = 1 / (rate * index.time_base)
        if step >= _COARSE_STEP or _steps_are_even(index.pts, step):
            return VideoRate(rate, constant=True)
    span = int(index.pts[-1]) - int(index.pts[0])
    return VideoRate((index.frame_count - 1) / (span * index.time_base), constant=False)


def _steps_are_even(pts: NDArray[np.int64], step: Fraction) -> bool:
    """Whether all steps are `step` ticks, rounded up or down."""
    least, most = step.numerator // step.denominator, -(-step.numerator // step.denominator)
    for block in blocks(len(pts) - 1):
        steps = pts[block.start + 1 : block.stop + 1] - pts[block]
        if int(steps.min()) < least or int(steps.max()) > most:
            return False
    return True


def believable_rate(claims: Sequence[Fraction | None]) -> Fraction | None:
    """The first of a container's claims that can be a rate of pictures, None where none can.

    That is one from 1/3600 (an hour a frame: time lapse) to 480 (more than any screen shows) frames a second. What
    lies beyond are clocks, which writers that know no rate put in its place: 600, 1000 (milliseconds), 90000 (MPEG),
    10000000 (Windows). A claim within a microsecond a frame of a standard rate, as AVI's main header has it, means
    that rate.
    """
    for claim in claims:
        if claim is not None and _SLOWEST <= claim <= _FASTEST:
            near = (rate for rate in STANDARD_RATES if abs(1 / rate - 1 / claim) <= Fraction(1, 1_000_000))
            return claim if claim in STANDARD_RATES else next(near, claim)
    return None


def lost_frames(
    pts: NDArray[np.int64], time_base: Fraction, average_rate: Fraction | None, damage: Sequence[tuple[int, int]]
) -> NDArray[np.int64]:
    """`(l,)` int64, the ideal times of frames that are absent between those at `pts` `(n,)`, within damaged stretches.

    They can be told where the frames that are left lie on the grid of a constant rate, each within one tick; elsewhere
    the result is empty. Gaps outside `damage` were there from the start: whoever recorded left frames out.
    """
    none = np.empty(0, np.int64)
    gaps = np.diff(pts)
    if not damage or not len(gaps):
        return none
    single = gaps[np.rint(gaps / np.median(gaps)) == 1]
    if 2 * len(single) < len(gaps):
        return none
    steps = np.maximum(1, np.rint(gaps / single.mean())).astype(np.int64)
    places = np.cumsum(steps)
    low, high = _step_bounds(pts, places)
    wide = [i for i in np.flatnonzero(steps > 1) if any(pts[i] < end and pts[i + 1] > start for start, end in damage)]
    if low > high or not wide or sum(int(steps[i]) - 1 for i in wide) > _MOST_LOST:
        return none
    step = 1 / (_rate_between(low, high, time_base, average_rate) * time_base)
    lost = [
        int(pts[0]) + round(place * step)
        for i in wide
        for place in range(int(places[i]) - int(steps[i]) + 1, int(places[i]))
    ]
    return np.setdiff1d(np.array(lost, np.int64), pts)


def _rate_between(low: Fraction, high: Fraction, time_base: Fraction, average_rate: Fraction | None) -> Fraction:
    """The rate whose step is from `low` to `high` ticks: the one claimed, a standard one, or the simplest."""
    candidates = ([average_rate] if average_rate else []) + list(STANDARD_RATES)
    for rate in candidates:
        if low <= 1 / (rate * time_base) <= high:
            return rate
    return _simplest_between(1 / (high * time_base), 1 / (low * time_base) if low else None)


def _step_bounds(pts: NDArray[np.int64], places: NDArray[np.int64] | None = None) -> tuple[Fraction, Fraction]:
    """Ticks from frame to frame, least and most, for which every frame lies within one tick of its place.

    `places` `(n − 1,)`: of the frames but the first, counted in steps from that; one after the other unless given.
    """
    lowest, highest = [], []
    for block in blocks(len(pts) - 1):
        elapsed = pts[block.start + 1 : block.stop + 1] - pts[0]
        steps = np.arange(block.start + 1, block.stop + 1, dtype=np.int64) if places is None else places[block]
        lowest.append(_extreme_ratio(elapsed - 1, steps, largest=True))
        highest.append(_extreme_ratio(elapsed + 1, steps, largest=False))
    return max(lowest), min(highest)


def _extreme_ratio(numerators: NDArray[np.int64], denominators: NDArray[np.int64], *, largest: bool) -> Fraction:
    """The exact largest (or smallest) of the ratios; floats only narrow down which ones are compared exactly."""
    ratios = numerators / denominators
    edge = float(ratios.max() if largest else ratios.min())
    near = np.flatnonzero(np.abs(ratios - edge) <= 4 * np.spacing(abs(edge)))
    exact = [Fraction(int(numerators[i]), int(denominators[i])) for i in near]
    return max(exact) if largest else min(exact)


def _simplest_between(low: Fraction, high: Fraction | None) -> Fraction:
    """The fraction with the smallest denominator in [low, high] (no upper end where `high` is None); 0 < low ≤ high."""
    whole = -(-low.numerator // low.denominator)
    if high is None or whole <= high:
        return Fraction(whole)
    floor = whole - 1
    return floor + 1 / _simplest_between(1 / (high - floor), 1 / (low - floor) if low > floor else None)


def say_rate(rate: Fraction) -> str:
    """A rate for people: 25, 0.5, 29.97 (30000/1001)."""
    if rate.denominator == 1:
        return str(rate)
    short = f"{float(rate):g}"
    return short if Fraction(short) == rate else f"{short} ({rate})"
