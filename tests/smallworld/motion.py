"""How objects move: some wander about a place, some pass through the frame. Every path repeats after `PERIOD_S`.

Paths are drawn so that no two objects ever overlap by more than `_GREATEST_OVERLAP` of the smaller one's radius.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PERIOD_S = 12.0
_GREATEST_OVERLAP = 0.65
_KEPT_INSIDE = 0.75
"""Share of its radius by which a wanderer's centre stays inside the frame."""
_TRIES = 40
_CHECKED_TIMES_S = np.linspace(0, PERIOD_S, 61)[:-1]


@dataclass(frozen=True)
class Path:
    """A path of either sort: wandering is a sine in x and in y; passing is a straight line."""

    radius_px: float
    start: tuple[float, float]
    """The middle for a wanderer, the place of entering for one that passes."""
    reach: tuple[float, float]
    """The amplitude for a wanderer, the way from entering to leaving for one that passes."""
    turns: tuple[int, int]
    """How often x and y repeat within `PERIOD_S`."""
    phases: tuple[float, float]
    """0 to 1."""
    crossing: float | None = None
    """Share of a repetition in which the frame is crossed; None for a wanderer."""

    def at(self, time_s: float) -> tuple[float, float]:
        """x and y of the centre in pixels."""
        x, y = self.sampled(np.array([time_s]))[0]
        return float(x), float(y)

    def sampled(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(n, 2)`: x and y at each time."""
        phase = (times_s[:, None] / PERIOD_S) * np.array(self.turns) + np.array(self.phases)
        if self.crossing is None:
            return np.array(self.start) + np.array(self.reach) * np.sin(2 * math.pi * phase)
        # Beyond the frame it simply goes on, to be back at the start when the repetition ends.
        return np.array(self.start) + np.array(self.reach) * (phase % 1.0) / self.crossing


def draw_paths(
    rng: np.random.Generator, width_px: int, height_px: int, radii_px: NDArray[np.float64], passing: float
) -> list[tuple[int, Path]]:
    """A path for each radius, with the radius's index; radii for which no free path was found are left out.

    Never empty: the first radius always finds one.
    """
    chosen: list[tuple[int, Path]] = []
    taken: list[NDArray[np.float64]] = []
    for index, radius_px in enumerate(radii_px):
        for path in _candidates(rng, width_px, height_px, float(radius_px), passing):
            places = path.sampled(_CHECKED_TIMES_S)
            if all(
                _keep_apart(places, others, float(radius_px), other.radius_px)
                for others, (_, other) in zip(taken, chosen, strict=True)
            ):
                chosen.append((index, path))
                taken.append(places)
                break
    return chosen


def _keep_apart(one: NDArray[np.float64], other: NDArray[np.float64], radius_px: float, other_px: float) -> bool:
    nearest_px = radius_px + other_px - _GREATEST_OVERLAP * min(radius_px, other_px)
    return bool(np.hypot(*(one - other).T).min() >= nearest_px)


def _candidates(
    rng: np.random.Generator, width_px: int, height_px: int, radius_px: float, passing: float
) -> Iterator[Path]:
    """Paths of one sort; wanderers reach less far the more of them were refused."""
    passes = rng.random() < passing
    for attempt in range(_TRIES):
        if passes:
            yield _draw_passer(rng, width_px, height_px, radius_px)
        else:
            yield _draw_wanderer(rng, width_px, height_px, radius_px, 0.3 * (1 - attempt / _TRIES))


def _draw_wanderer(
    rng: np.random.Generator, width_px: int, height_px: int, radius_px: float, greatest_reach: float
) -> Path:
    start, reach = [], []
    for side_px in (width_px, height_px):
        low, high = _KEPT_INSIDE * radius_px, side_px - _KEPT_INSIDE * radius_px
        middle = float(rng.uniform(low, high))
        start.append(middle)
        reach.append(float(rng.uniform(0, 1)) * min(middle - low, high - middle, greatest_reach * side_px))
    turns = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    return Path(radius_px, (start[0], start[1]), (reach[0], reach[1]), turns, (rng.random(), rng.random()))


def _draw_passer(rng: np.random.Generator, width_px: int, height_px: int, radius_px: float) -> Path:
    """Straight through a point in the middle half of the frame, from beyond one border to beyond another."""
    x, y = float(rng.uniform(0.25, 0.75) * width_px), float(rng.uniform(0.25, 0.75) * height_px)
    angle = float(rng.uniform(0, 2 * math.pi))
    step = math.cos(angle), math.sin(angle)
    before, after = (_way_out(x, y, sign * step[0], sign * step[1], width_px, height_px, radius_px) for sign in (-1, 1))
    start = x - before * step[0], y - before * step[1]
    reach = (before + after) * step[0], (before + after) * step[1]
    turns, phase = int(rng.integers(1, 3)), float(rng.random())
    return Path(radius_px, start, reach, (turns, turns), (phase, phase), crossing=float(rng.uniform(0.5, 0.9)))


def _way_out(x: float, y: float, dx: float, dy: float, width_px: int, height_px: int, radius_px: float) -> float:
    """How far from x, y in the direction dx, dy (of length 1) an object of that radius is out of the frame."""
    ways = []
    for place, step, side_px in ((x, dx, width_px), (y, dy, height_px)):
        if abs(step) > 1e-9:
            ways.append(((side_px + radius_px if step > 0 else -radius_px) - place) / step)
    return min(ways)
