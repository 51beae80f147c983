"""Frames for model tests: made here, all different, with edges at every scale, so that a shift by a pixel shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pictures(count: int, height: int = 272, width: int = 640, *, seed: int = 3) -> list[NDArray[np.uint8]]:
    """RGB frames `(height, width, 3)` of coloured rectangles over a slope, under slight noise."""
    rng = np.random.default_rng(seed)
    return [_picture(rng, height, width) for _ in range(count)]


def _picture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    slope = np.linspace(60, 180, width)[None, :, None] * rng.uniform(0.6, 1.2, 3)
    picture = np.repeat(slope, height, axis=0)
    for _ in range(40):
        top, left = rng.integers(0, height), rng.integers(0, width)
        tall, wide = rng.integers(4, height // 2), rng.integers(4, width // 3)
        picture[top : top + tall, left : left + wide] = rng.integers(0, 256, 3)
    return (picture + rng.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)
