"""Masks as a result says them: polygons, COCO run lengths, PNG files. Pure functions of pixels; knows no model.

Every mask is a crop of its frame, so that a hundred small objects of a 4K frame cost what their own pixels cost.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_masks

from models.elements import Point, RunLengths

_MOST_AREA_CHANGED = 0.01
_MOST_PIXELS_OFF = 1.0
_SMALLEST_POLYGON = 3
_PNG_OPTIONS = (
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
    cv2.IMWRITE_PNG_FILTER,
    cv2.IMWRITE_PNG_FILTER_UP,
)
"""For plains of one value the quickest, and nearly the smallest files (`tests/benchmarks/masks_bench.py`)."""


@dataclass(frozen=True, eq=False)
class MaskCrop:
    """A mask that is not empty, cut to the rows and columns in which it has pixels.

    Attributes:
        left: column of the frame at which the crop begins.
        top: row of the frame at which it begins.
        pixels: `(height, width)` bool; each edge row and edge column holds a pixel of the mask.

    """

    left: int
    top: int
    pixels: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.dtype != np.bool_ or 0 in self.pixels.shape:
            raise ValueError(f"expected a mask of (height, width) bool, got {self!r}")

    def __repr__(self) -> str:
        pixels = f"{self.pixels.shape} {self.pixels.dtype}"
        return f"MaskCrop(left={self.left}, top={self.top}, pixels={pixels})"

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in pixels of the frame, right and bottom being the edges after the last pixel."""
        height, width = self.pixels.shape
        return self.left, self.top, self.left + width, self.top + height

    def whole(self, height: int, width: int) -> NDArray[np.bool_]:
        """The mask on a frame of `height` × `width` pixels."""
        canvas = np.zeros((height, width), dtype=np.bool_)
        left, top, right, bottom = self.box
        canvas[top:bottom, left:right] = self.pixels
        return canvas


def crop_mask(mask: NDArray[np.bool_], *, left: int = 0, top: int = 0) -> MaskCrop | None:
    """Cut `mask` `(height, width)` to its pixels; None where it has none.

    `left` and `top` say where in the frame the mask itself begins.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    pixels = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return MaskCrop(left + int(columns[0]), top + int(rows[0]), np.ascontiguousarray(pixels))


def polygon(mask: MaskCrop) -> list[Point]:
    """The points of `contour` as elements say them."""
    return [{"x": x, "y": y} for x, y in contour(mask).tolist()]


def contour(mask: MaskCrop) -> NDArray[np.float64]:
    """The outer contour of the mask's largest part, through the centres of its outermost pixels (whole numbers).

    Parts are what touches by a side or a corner; their size is what their contour encloses, holes included. Painting
    the polygon with its border (`cv2.fillPoly`) gives that part back: no place of the contour moves by more than a
    pixel, and the area within changes by no more than a hundredth, so that small masks stay as they are. There are
    three points at least; a mask of one pixel, or of a line, repeats some. `(n, 2)`: x, y in pixels of the frame.
    """
    contours, _ = cv2.findContours(mask.pixels.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    lengths = [cv2.arcLength(contour, closed=True) for contour in contours]
    areas = [cv2.contourArea(contour) for contour in contours]
    largest = max(range(len(contours)), key=lambda part: (areas[part], lengths[part]))
    outline, length = contours[largest], lengths[largest]
    if areas[largest] > 0:
        tolerance_px = min(_MOST_PIXELS_OFF, _MOST_AREA_CHANGED * areas[largest] / length)
        outline = cv2.approxPolyDP(outline, tolerance_px, closed=True)
    places: NDArray[np.float64] = np.add(outline.reshape(-1, 2), (mask.left, mask.top)).astype(np.float64)
    missing = _SMALLEST_POLYGON - len(places)
    return places if missing <= 0 else np.concatenate([places, places[:1].repeat(missing, axis=0)])


def run_lengths(mask: MaskCrop, height: int, width: int) -> RunLengths:
    """The whole mask as COCO's compressed run lengths on a frame of `height` × `width` pixels.

    Runs follow the columns downwards, from left to right, and begin with background
    (https://github.com/cocodataset/cocoapi). Only the columns of the crop are looked at.
    """
    left, top, right, bottom = mask.box
    columns = np.zeros((right - left, height), dtype=np.bool_)
    columns[:, top:bottom] = mask.pixels.T
    ends = np.flatnonzero(np.diff(columns.ravel(), prepend=False, append=False)) + left * height
    counts = np.diff(ends, prepend=0, append=height * width).tolist()
    if counts[-1] == 0:
        counts.pop()
    made: Any = coco_masks.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": made["counts"].decode("ascii")}


def png_base64(picture: NDArray[np.uint8]) -> str:
    """A grey PNG file of 8 bits, in base64, of `picture` `(height, width)`."""
    made, png = cv2.imencode(".png", picture, _PNG_OPTIONS)
    assert made, "OpenCV writes every 8-bit picture"
    return b64encode(cast("NDArray[np.uint8]", png).tobytes()).decode("ascii")
