"""A video as a function of time: a kind and a seed say what moves where; a frame comes with its exact truth.

The rule of what counts: an object is in a frame's truth while at least half of its area is visible, that is inside the
frame and not covered by an object drawn later. Its mask is its visible pixels (those whose centre lies inside the
shape), its box is the mask's bounds. A label map shows every visible pixel, of objects that do not count as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tests.smallworld.motion import PERIOD_S, Path, draw_paths
from tests.smallworld.shapes import SHAPES, Shape
from tests.smallworld.textures import draw_texture

COLOURS = {
    "red": (205, 40, 40),
    "green": (40, 165, 60),
    "blue": (45, 75, 215),
    "yellow": (230, 205, 45),
    "violet": (150, 55, 190),
}
COUNTED_SHARE = 0.5
_COLOUR_JITTER = 22


@dataclass(frozen=True)
class Kind:
    """What scenes hold; radii are shares of the side of a square as large as the frame."""

    name: str
    width_px: int
    height_px: int
    objects: tuple[int, int]
    """Fewest and most objects."""
    radii: tuple[float, float]
    passing: float = 0.0
    """Share of objects that enter on one side of the frame and leave on another, again and again."""
    specks: int = 0
    """At most so many more objects, far smaller than the others; they count in no truth but the label map."""

    @property
    def side_px(self) -> float:
        """Side of a square as large as the frame."""
        return math.sqrt(self.width_px * self.height_px)


CROWD = Kind("crowd", 320, 240, objects=(1, 6), radii=(0.07, 0.17), passing=0.3)
SINGLE = Kind("single", 192, 144, objects=(1, 1), radii=(0.14, 0.30), specks=2)
PAIR = Kind("pair", 192, 144, objects=(1, 2), radii=(0.14, 0.24))
KINDS = {kind.name: kind for kind in (CROWD, SINGLE, PAIR)}
_SPECK_RADII = (0.04, 0.06)


@dataclass(frozen=True)
class Object:
    """What an object is for the whole video."""

    shape: str
    colour: str
    rgb: tuple[int, int, int]
    path: Path
    turn_rad: float
    spin_rad_s: float
    speck: bool = False

    @property
    def label(self) -> str:
        """Colour and shape in words, such as "red circle"."""
        return f"{self.colour} {self.shape}"

    def at(self, time_s: float) -> Shape:
        """Where it stands at a time, in the frame or not."""
        x, y = self.path.at(time_s)
        return Shape(self.shape, x, y, self.path.radius_px, self.turn_rad + self.spin_rad_s * time_s)


@dataclass(frozen=True)
class Seen:
    """One counted object of a frame; `box` is x0, y0, x1, y1 in pixels, half-open."""

    object: Object
    shape: Shape
    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int]

    @property
    def class_id(self) -> int:
        """Index of its shape in `SHAPES`."""
        return SHAPES.index(self.object.shape)


@dataclass(frozen=True)
class Frame:
    """A rendered frame and its truth."""

    rgb: NDArray[np.uint8]
    """`(height, width, 3)`."""
    owners: NDArray[np.int8]
    """`(height, width)`: index of the scene's object that is visible in each pixel, -1 for the background."""
    shapes: tuple[Shape, ...]
    """Every object of the scene, where it stands, in the order of drawing."""
    objects: tuple[Object, ...]

    @cached_property
    def seen(self) -> tuple[Seen, ...]:
        """The counted objects, in the order of drawing."""
        found = []
        for index, (thing, shape) in enumerate(zip(self.objects, self.shapes, strict=True)):
            if thing.speck:
                continue
            mask = self.owners == index
            if mask.sum() >= COUNTED_SHARE * shape.area_px:
                found.append(Seen(thing, shape, mask, mask_bounds(mask)))
        return tuple(found)

    @cached_property
    def label_map(self) -> NDArray[np.uint8]:
        """`(height, width)`: 0 for the background, else 1 + the index in `SHAPES` of the shape in that pixel."""
        classes = np.array([0, *(1 + SHAPES.index(thing.shape) for thing in self.objects)], np.uint8)
        return classes[self.owners + 1]


class Scene:
    """All that happens in a video of a kind; equal seeds give equal videos."""

    def __init__(self, kind: Kind, seed: int) -> None:
        self.kind = kind
        rng = np.random.default_rng([list(KINDS).index(kind.name), seed])
        self.still_time_s = float(rng.uniform(0, PERIOD_S))
        """The moment that stands for the whole video where one still is wanted."""
        wanted = int(rng.integers(kind.objects[0], kind.objects[1] + 1))
        radii = rng.uniform(*kind.radii, wanted) * kind.side_px
        if kind.specks:
            radii = np.append(radii, rng.uniform(*_SPECK_RADII, rng.integers(0, kind.specks + 1)) * kind.side_px)
        paths = draw_paths(rng, kind.width_px, kind.height_px, radii, kind.passing)
        self.objects = tuple(_draw_object(rng, path, speck=index >= wanted) for index, path in paths)
        self._texture_seed = int(rng.integers(2**63))

    @cached_property
    def texture(self) -> NDArray[np.uint8]:
        """The background, `(height, width, 3)`; it does not move."""
        return draw_texture(np.random.default_rng(self._texture_seed), self.kind.width_px, self.kind.height_px)

    def frame(self, time_s: float) -> Frame:
        """Render the scene at a time of at least 0."""
        rgb = self.texture.copy()
        owners = np.full(rgb.shape[:2], -1, np.int8)
        shapes = tuple(thing.at(time_s) for thing in self.objects)
        for index, (thing, shape) in enumerate(zip(self.objects, shapes, strict=True)):
            _draw(rgb, owners, shape, thing.rgb, index)
        return Frame(rgb, owners, shapes, self.objects)

    def still(self) -> Frame:
        """The frame at `still_time_s`."""
        return self.frame(self.still_time_s)


def mask_bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of the pixels set, half-open; ValueError where none is."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        raise ValueError("an empty mask has no bounds")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _draw_object(rng: np.random.Generator, path: Path, *, speck: bool) -> Object:
    shape = SHAPES[rng.integers(len(SHAPES))]
    colour = list(COLOURS)[rng.integers(len(COLOURS))]
    red, green, blue = np.clip(np.array(COLOURS[colour]) + rng.integers(-_COLOUR_JITTER, _COLOUR_JITTER + 1, 3), 0, 255)
    rgb = int(red), int(green), int(blue)
    return Object(shape, colour, rgb, path, float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(-1.5, 1.5)), speck)


def _draw(
    rgb: NDArray[np.uint8], owners: NDArray[np.int8], shape: Shape, colour: tuple[int, int, int], index: int
) -> None:
    """Draw a shape with soft edges over what is there, and note which pixels it owns."""
    height, width = owners.shape
    left, right = (int(np.clip(shape.x + side * (shape.radius_px + 2), 0, width)) for side in (-1, 1))
    top, bottom = (int(np.clip(shape.y + side * (shape.radius_px + 2), 0, height)) for side in (-1, 1))
    if left >= right or top >= bottom:
        return
    xs = np.arange(left, right, dtype=np.float32)[None, :] + np.float32(0.5)
    ys = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5)
    distance = shape.edge_distance_px(xs, ys)
    owners[top:bottom, left:right][distance <= 0] = index
    cover = np.clip(np.float32(0.5) - distance, 0, 1)[:, :, None]
    under = rgb[top:bottom, left:right].astype(np.float32)
    mixed = under + cover * (np.array(colour, np.float32) - under)
    rgb[top:bottom, left:right] = (mixed + np.float32(0.5)).astype(np.uint8)
