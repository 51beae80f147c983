"""Which frames: the exact arithmetic of a sampling rate over an index of frame times.

Everything here is integers and fractions; numpy carries it only where 64 bits hold it, Python's integers where not.
This module reads no file and knows nothing of codecs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import PermanentError

CountedBy = Literal["index", "decoding"]

_INT64_LIMIT = 2**62
_OFFSET_DECIMALS = 10_000
_COMMON_RATES = (24, 25, 30, 50, 60)
_OTHER_RATES = (10, 12, 15, 5, 20, 48, 90, 100, 120, 144, 240, 1, 2, 8, 16)
STANDARD_RATES: tuple[Fraction, ...] = (
    *(Fraction(rate) for rate in _COMMON_RATES),
    *(Fraction(rate * 1000, 1001) for rate in _COMMON_RATES),
    *(Fraction(rate) for rate in _OTHER_RATES),
    *(Fraction(rate * 1000, 1001) for rate in _OTHER_RATES),
)
"""Rates that recordings are meant to have, in the order in which they are tried."""


class RateTooHighError(PermanentError):
    """More frames a second were asked for than the video has."""


class EmptyPartError(PermanentError):
    """No sample lies between `start_s` and `end_s`."""


@dataclass(frozen=True, repr=False)
class VideoIndex:
    """Every frame of a video in presentation order, and where decoding can start.

    Attributes:
        pts: `(n,)` int64, presentation times in `time_base`, strictly increasing. Where the frames were counted by
            decoding: 0, 1, 2 … in units of one frame.
        key_pts: `(k,)` int64, presentation times of the keyframes that decoding can start at, increasing; also of
            those that an edit list hides.
        leading: `(n,)` bool, true for a frame that is decoded after a keyframe and shown before it.
        time_base: seconds of one tick.
        average_rate: what the container says the rate is, if it says anything; only a candidate.
        last_duration: ticks that the last frame is shown, 0 where the container doesn't say.
        counted_by: `index` where the container's times are used, `decoding` where frames were decoded and counted.

    """

    pts: NDArray[np.int64]
    key_pts: NDArray[np.int64]
    leading: NDArray[np.bool_]
    time_base: Fraction
    average_rate: Fraction | None = None
    last_duration: int = 0
    counted_by: CountedBy = "index"

    def __post_init__(self) -> None:
        if self.pts.ndim != 1 or self.pts.shape != self.leading.shape or self.key_pts.ndim != 1:
            raise ValueError(f"expected pts (n,), leading (n,), key_pts (k,), got {self!r}")
        if not len(self.pts) or self.time_base <= 0:
            raise ValueError(f"expected at least one frame and a positive time base, got {self!r}")
        if len(self.pts) > 1 and not bool((self.pts[1:] > self.pts[:-1]).all()):
            raise ValueError("expected pts to increase strictly")

    def __repr__(self) -> str:
        return (
            f"VideoIndex(pts={self.pts.shape}, key_pts={self.key_pts.shape}, leading={self.leading.shape}, "
            f"time_base={self.time_base}, average_rate={self.average_rate}, counted_by={self.counted_by!r})"
        )

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return len(self.pts)


@dataclass(frozen=True)
class VideoRate:
    """How fast a video's frames follow each other: `fps` exactly, or on average where the rate varies."""

    fps: Fraction
    constant: bool


@dataclass(frozen=True, repr=False)
class Samples:
    """The chosen frames: `frame_offset` `(m,)` int64, increasing, and `time_offset` `(m,)` float64 in seconds."""

    frame_offset: NDArray[np.int64]
    time_offset: NDArray[np.float64]
    grid: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """`(m,)`: the first i whose ideal time i/f falls on the frame."""

    def __repr__(self) -> str:
        return f"Samples(frame_offset={self.frame_offset.shape}, time_offset={self.time_offset.shape})"


def find_rate(index: VideoIndex) -> VideoRate:
    """The rate of a video, and whether it is constant.

    Constant means: every frame's time lies within one tick of i/rate after the first. The rate is the container's
    where that holds for it, else the first standard rate for which it does, else the simplest fraction; a video
    without such a rate has (n − 1) / (time from the first to the last frame). One frame: the container's, else 1.
    """
    if index.counted_by == "decoding" or index.frame_count == 1:
        return VideoRate(index.average_rate or Fraction(1), constant=True)
    low, high = _step_bounds(index.pts)
    if low > high:
        span = int(index.pts[-1]) - int(index.pts[0])
        return VideoRate((index.frame_count - 1) / (span * index.time_base), constant=False)
    candidates = ([index.average_rate] if index.average_rate else []) + list(STANDARD_RATES)
    for rate in candidates:
        if low <= 1 / (rate * index.time_base) <= high:
            return VideoRate(rate, constant=True)
    slowest = 1 / (high * index.time_base)
    fastest = 1 / (low * index.time_base) if low else None
    return VideoRate(_simplest_between(slowest, fastest), constant=True)


def _step_bounds(pts: NDArray[np.int64]) -> tuple[Fraction, Fraction]:
    """Ticks from frame to frame, least and most, for which every frame i lies within one tick of i steps."""
    elapsed = pts[1:] - pts[0]
    steps = np.arange(1, len(pts), dtype=np.int64)
    return _extreme_ratio(elapsed - 1, steps, largest=True), _extreme_ratio(elapsed + 1, steps, largest=False)


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


def sample_frames(index: VideoIndex, rate: VideoRate, infer_fps: Fraction | None) -> Samples:
    """Choose the frames of the whole video at `infer_fps` frames a second, every frame where it is None.

    At a constant rate sample i is frame floor(i · fps / f) at frame / fps seconds; at a variable one it is the frame on
    screen i/f seconds after the first, at its own time after the first. No frame stands twice; times are rounded to
    four places, half to even. Raises `RateTooHighError` where `infer_fps` is above the video's rate.
    """
    if infer_fps is not None and infer_fps > rate.fps:
        raise RateTooHighError(
            f"the video has {say_rate(rate.fps)} frames a second and infer_fps is {say_rate(infer_fps)}; "
            "ask for no more than the video has, or for 'all'."
        )
    if rate.constant:
        fps = rate.fps if infer_fps is None else infer_fps
        count = -(-(index.frame_count * fps) // rate.fps)
        grid = np.arange(count, dtype=np.int64)
        frames = _scaled_floor(grid, rate.fps / fps)
        return Samples(frames, _rounded_seconds(frames, 1 / rate.fps), grid)
    elapsed = index.pts - index.pts[0]
    if infer_fps is None:
        every = np.arange(index.frame_count, dtype=np.int64)
        return Samples(every, _rounded_seconds(elapsed, index.time_base), every)
    end = _end_ticks(index)
    first = -_scaled_floor(-np.append(elapsed, end), index.time_base * infer_fps)
    frames = np.flatnonzero(first[:-1] < first[1:]).astype(np.int64)
    return Samples(frames, _rounded_seconds(elapsed[frames], index.time_base), first[frames])


def part_of(
    samples: Samples,
    index: VideoIndex,
    rate: VideoRate,
    infer_fps: Fraction | None,
    start_s: float,
    end_s: float | None,
) -> Samples:
    """The samples whose ideal time i/f lies in [start_s, end_s) seconds; offsets and times stay those of the whole.

    With every frame wanted, a frame's ideal time is its own. Raises `EmptyPartError`, naming the video's duration.
    """
    start = Fraction(str(start_s))
    end = None if end_s is None else Fraction(str(end_s))
    if infer_fps is None and not rate.constant:
        values, per_second = index.pts[samples.frame_offset] - index.pts[0], 1 / index.time_base
    else:
        values, per_second = samples.grid, rate.fps if infer_fps is None else infer_fps
    first = int(np.searchsorted(values, min(_ceil(start * per_second), _INT64_LIMIT)))
    last = len(values) if end is None else int(np.searchsorted(values, min(_ceil(end * per_second), _INT64_LIMIT)))
    if first >= last:
        wanted = f"from {start_s:g} s" + ("" if end_s is None else f" to {end_s:g} s")
        raise EmptyPartError(
            f"no sample lies in the part {wanted}: the video is {float(duration(index, rate)):.3f} s long; "
            "choose another part, or a higher infer_fps."
        )
    return Samples(samples.frame_offset[first:last], samples.time_offset[first:last], samples.grid[first:last])


def duration(index: VideoIndex, rate: VideoRate) -> Fraction:
    """Seconds from the first frame's appearance to the last frame's end."""
    return index.frame_count / rate.fps if rate.constant else _end_ticks(index) * index.time_base


def say_rate(rate: Fraction) -> str:
    """A rate for people: 25, 0.5, 29.97 (30000/1001)."""
    if rate.denominator == 1:
        return str(rate)
    short = f"{float(rate):g}"
    return short if Fraction(short) == rate else f"{short} ({rate})"


def _end_ticks(index: VideoIndex) -> int:
    """Ticks from the first frame to the end of the last, which lasts the average where the container doesn't say."""
    elapsed = int(index.pts[-1]) - int(index.pts[0])
    last = index.last_duration
    if last <= 0:
        last = max(1, round(Fraction(elapsed, max(1, index.frame_count - 1))))
    return elapsed + last


def _ceil(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)


def _fits(values: NDArray[np.int64], factor: int) -> bool:
    """Whether every value times `factor` stays within 64 bits."""
    largest = max(abs(int(values.min())), abs(int(values.max()))) if len(values) else 0
    return largest * factor < _INT64_LIMIT and factor < _INT64_LIMIT


def _scaled_floor(values: NDArray[np.int64], factor: Fraction) -> NDArray[np.int64]:
    """floor(value · factor) of each value, exactly."""
    top, bottom = factor.numerator, factor.denominator
    if _fits(values, top) and bottom < _INT64_LIMIT:
        return values * top // bottom
    return np.array([int(value) * top // bottom for value in values], np.int64)


def _rounded_seconds(ticks: NDArray[np.int64], tick_s: Fraction) -> NDArray[np.float64]:
    """Each value times `tick_s`, rounded exactly to four decimal places, half to even, then to the nearest float."""
    top, bottom = tick_s.numerator * _OFFSET_DECIMALS, tick_s.denominator
    if _fits(ticks, top) and bottom < _INT64_LIMIT // 2:
        whole, rest = np.divmod(ticks * top, bottom)
        up = (2 * rest > bottom) | ((2 * rest == bottom) & (whole % 2 == 1))
        return np.asarray((whole + up) / float(_OFFSET_DECIMALS), np.float64)
    exact = [round(Fraction(int(value) * top, bottom)) for value in ticks]
    return np.array(exact, np.float64) / _OFFSET_DECIMALS
