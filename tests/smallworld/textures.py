"""What lies behind the shapes: noise, stripes, checkers and gradients, muted so that no shape melts into them."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

TEXTURES = ("noise", "stripes", "checkers", "gradient")
_GREATEST_TINT = 28
"""Grey levels by which a channel may leave its colour's grey: shapes are far more saturated."""


def draw_texture(rng: np.random.Generator, width_px: int, height_px: int) -> NDArray[np.uint8]:
    """A texture as RGB `(height, width, 3)`, of a kind, two colours, a scale and a direction that `rng` draws."""
    kind = TEXTURES[rng.integers(len(TEXTURES))]
    share = {"noise": _clouds, "stripes": _stripes, "checkers": _checkers, "gradient": _gradient}[kind]
    levels = (share(rng, width_px, height_px) * 255).astype(np.uint8)
    ramps = np.linspace(_muted(rng), _muted(rng), 256).round().astype(np.uint8)
    picture = cv2.merge([cv2.LUT(levels, ramp) for ramp in ramps.T])
    grain = rng.integers(0, 256, (height_px, width_px), dtype=np.uint8)
    noise = cv2.LUT(grain, (np.linspace(-1, 1, 256) * rng.uniform(0, 18)).astype(np.float32))
    return cv2.add(picture, cv2.merge([noise] * 3), dtype=cv2.CV_8U)  # saturates


def _muted(rng: np.random.Generator) -> NDArray[np.float32]:
    return (rng.uniform(30, 225) + rng.uniform(-_GREATEST_TINT, _GREATEST_TINT, 3)).astype(np.float32)


def _along(rng: np.random.Generator, width_px: int, height_px: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixel coordinates in a frame of reference turned by a random angle."""
    angle = rng.uniform(0, math.pi)
    xs = np.arange(width_px, dtype=np.float32)[None, :]
    ys = np.arange(height_px, dtype=np.float32)[:, None]
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return xs * cosine + ys * sine, ys * cosine - xs * sine


def _clouds(rng: np.random.Generator, width_px: int, height_px: int) -> NDArray[np.float32]:
    cell_px = int(rng.integers(3, 24))
    coarse = rng.random((height_px // cell_px + 2, width_px // cell_px + 2), dtype=np.float32)
    return cv2.resize(coarse, (width_px, height_px), interpolation=cv2.INTER_LINEAR)


def _stripes(rng: np.random.Generator, width_px: int, height_px: int) -> NDArray[np.float32]:
    along, _ = _along(rng, width_px, height_px)
    return ((along / np.float32(rng.uniform(5, 30))) % 2 < 1).astype(np.float32)


def _checkers(rng: np.random.Generator, width_px: int, height_px: int) -> NDArray[np.float32]:
    along, across = _along(rng, width_px, height_px)
    cell_px = np.float32(rng.uniform(6, 32))
    return (np.floor(along / cell_px) + np.floor(across / cell_px)) % 2


def _gradient(rng: np.random.Generator, width_px: int, height_px: int) -> NDArray[np.float32]:
    along, _ = _along(rng, width_px, height_px)
    return (along - along.min()) / (along.max() - along.min())
