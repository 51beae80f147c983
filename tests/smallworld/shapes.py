"""One flat shape in continuous pixel coordinates: its edge, area, corners and key points. Knows no frames or colours.

Coordinates are x to the right and y down, with pixel (column, row) covering [column, column + 1) × [row, row + 1), so
that its centre lies at (column + 0.5, row + 0.5). A shape's radius is that of the circle around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHAPES = ("circle", "square", "triangle", "star")
KEY_POINTS = ("centre", "top", "right", "bottom", "left")
"""The centre, and the points of the outline that lie furthest up, right, down and left."""

_CORNERS = {"square": 4, "triangle": 3, "star": 5}
_STAR_WAIST = 0.45
"""Radius of a star's inner corners, as a share of its outer ones'."""


@dataclass(frozen=True)
class Shape:
    """A shape that stands somewhere; `turn_rad` is the direction of its first corner, clockwise from the x axis."""

    name: str
    x: float
    y: float
    radius_px: float
    turn_rad: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in SHAPES:
            raise ValueError(f"no such shape: {self.name}; there are {', '.join(SHAPES)}")

    @property
    def area_px(self) -> float:
        """The exact area in square pixels, visible or not."""
        if self.name == "circle":
            return math.pi * self.radius_px**2
        half_rad = math.pi / _CORNERS[self.name]
        return _CORNERS[self.name] * self.radius_px * self._waist_px * math.sin(half_rad)

    @property
    def _waist_px(self) -> float:
        """How far the outline is from the centre half way between two corners."""
        if self.name == "star":
            return _STAR_WAIST * self.radius_px
        return self.radius_px * math.cos(math.pi / _CORNERS[self.name])

    def edge_distance_px(self, xs: NDArray[np.float32], ys: NDArray[np.float32]) -> NDArray[np.float32]:
        """How far points lie from the nearest edge's line: negative within the shape, 0 on its edge, positive outside.

        The points are folded into the sector between a corner and the middle of the edge beside it, where one
        straight line parts inside from outside.
        """
        across, down = xs - np.float32(self.x), ys - np.float32(self.y)
        away = np.hypot(across, down)
        if self.name == "circle":
            return away - np.float32(self.radius_px)
        half = np.float32(math.pi / _CORNERS[self.name])
        angle = np.arctan2(down, across) - np.float32(self.turn_rad)
        folded = np.abs((angle + half) % (2 * half) - half)
        end_x, end_y = self._waist_px * math.cos(half), self._waist_px * math.sin(half)
        edge_x, edge_y = end_x - self.radius_px, end_y
        length = math.hypot(edge_x, edge_y)
        normal_x, normal_y = np.float32(edge_y / length), np.float32(-edge_x / length)
        return (away * np.cos(folded) - np.float32(self.radius_px)) * normal_x + away * np.sin(folded) * normal_y

    def corners(self) -> NDArray[np.float64]:
        """The outline as a polygon `(n, 2)` of x and y; 720 points for a circle."""
        if self.name == "circle":
            angles, radii = np.arange(720) * math.pi / 360, np.full(720, self.radius_px)
        elif self.name == "star":
            angles = self.turn_rad + np.arange(10) * math.pi / 5
            radii = np.where(np.arange(10) % 2, self._waist_px, self.radius_px)
        else:
            count = _CORNERS[self.name]
            angles, radii = self.turn_rad + np.arange(count) * 2 * math.pi / count, np.full(count, self.radius_px)
        return np.stack([self.x + radii * np.cos(angles), self.y + radii * np.sin(angles)], axis=1)

    def key_points(self) -> NDArray[np.float64]:
        """`(5, 2)`: x and y of each of `KEY_POINTS`."""
        outline = self.corners()
        xs, ys = outline.T
        furthest = outline[[ys.argmin(), xs.argmax(), ys.argmax(), xs.argmin()]]
        return np.concatenate([[[self.x, self.y]], furthest])
