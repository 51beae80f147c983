"""Which frames: the exact arithmetic of a sampling rate over an index of frame times.

Everything here is integers and fractions; numpy carries it only where 64 bits hold it, Python's integers where not.
This module reads no file and knows nothing of codecs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from models.errors import PermanentError
from tasks.frame_rates import VideoRate, say_rate
from tasks.video_index import VideoIndex

_INT64_LIMIT = 2**62
_OFFSET_DECIMALS = 10_000


class RateTooHighError(PermanentError):
    """More frames a second were asked for than the video has."""


class EmptyPartError(PermanentError):
    """No sample lies between `start_s` and `end_s`."""


@dataclass(frozen=True, repr=False)
class Samples:
    """The chosen frames: `frame_offset` `(m,)` int64, increasing, and `time_offset` `(m,)` float64 in seconds."""

    frame_offset: NDArray[np.int64]
    time_offset: NDArray[np.float64]
    grid: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """`(m,)`: the first i whose ideal time i/f falls on the frame."""

    def __repr__(self) -> str:
        return f"Samples(frame_offset={self.frame_offset.shape}, time_offset={self.time_offset.shape})"


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
    if infer_fps is None:
        every = np.arange(index.frame_count, dtype=np.int64)
        return Samples(every, _rounded_seconds(index.pts - index.pts[0], index.time_base), every)
    # Every i with i/f before the end, but of those that fall on the last frame no more than the first.
    last, end = int(index.pts[-1]) - int(index.pts[0]), _end_ticks(index)
    per_tick = index.time_base * infer_fps
    grid = np.arange(min(_ceil(last * per_tick) + 1, _ceil(end * per_tick)), dtype=np.int64)
    on_screen = np.searchsorted(index.pts, _scaled_floor(grid, 1 / per_tick) + index.pts[0], "right")
    on_screen -= 1
    grid = grid[np.append(True, on_screen[1:] != on_screen[:-1])]
    frames = on_screen[grid].astype(np.int64, copy=False)
    return Samples(frames, _rounded_seconds(index.pts[frames] - index.pts[0], index.time_base), grid)


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
