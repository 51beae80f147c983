"""How large a processor makes a frame, and the resize itself, equal to Pillow's within a rounding step.

Knows sizes and pixels only: which configuration asks for which rule is `models.preprocessing`'s concern.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.image_utils import get_image_size_for_max_height_width

ResizeFilter = Literal["bilinear", "bicubic"]

PILLOW_FILTERS: dict[int, ResizeFilter] = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the filters that torch has with antialias; nearest, Lanczos, box and Hamming it has not."""

Size = tuple[int, int]
"""`(height, width)` in pixels."""


@dataclass(frozen=True)
class SizeRule:
    """A processor's `size`, with the ways in which some classes read it differently."""

    height: int | None = None
    width: int | None = None
    shortest_edge: int | None = None
    longest_edge: int | None = None
    max_height: int | None = None
    max_width: int | None = None
    multiple_of: int = 1
    """Both sides are rounded down to a multiple of it (YOLOS: 16)."""

    def target(self, height: int, width: int) -> Size | None:
        """Return the `(height, width)` that a frame of `height` × `width` is resized to; None where no rule is set."""
        size = self._target(height, width)
        return None if size is None else (size[0] - size[0] % self.multiple_of, size[1] - size[1] % self.multiple_of)

    def _target(self, height: int, width: int) -> Size | None:
        if self.shortest_edge and self.longest_edge:
            return _pair(get_size_with_aspect_ratio((height, width), self.shortest_edge, self.longest_edge))
        if self.shortest_edge:
            return shortest_edge_size(height, width, self.shortest_edge)
        if self.max_height and self.max_width:
            return _pair(get_image_size_for_max_height_width((height, width), self.max_height, self.max_width))
        if self.height and self.width:
            return self.height, self.width
        return None


def _pair(size: tuple[int, ...]) -> Size:
    height, width = size
    return int(height), int(width)


def shortest_edge_size(height: int, width: int, edge: int) -> Size:
    """Scale so that the shorter side is `edge`; the longer one is rounded down, as torchvision and transformers do."""
    if width <= height:
        return int(edge * height / width), edge
    return edge, int(edge * width / height)


def resize(frames: torch.Tensor, size: Size, how: ResizeFilter) -> torch.Tensor:
    """Resize `(n, 3, height, width)` uint8 with antialias, as Pillow does; gives uint8 of `size`.

    Pillow goes along one side, keeps whole numbers, then along the other: a single pass in floating point differs from
    it by 0.2 grey levels in the mean and by up to 15. Passes in its order differ by 0.001 and by up to 2.
    """
    before = (int(frames.shape[-2]), int(frames.shape[-1]))
    if before[0] != size[0] and before[1] != size[1]:
        between = (size[0], before[1]) if columns_first(before, size, how) else (before[0], size[1])
        frames = one_pass(frames, between, how)
    return one_pass(frames, size, how)


def one_pass(frames: torch.Tensor, size: Size, how: ResizeFilter) -> torch.Tensor:
    """Resize along one side, rounding to 0…255: by torch's uint8 kernel on a CPU, elsewhere in floating point."""
    if tuple(frames.shape[-2:]) == size:
        return frames
    if frames.device.type == "cpu":
        return interpolate(frames, size=list(size), mode=how, antialias=True, align_corners=False)
    return one_pass_in_floats(frames, size, how)


def one_pass_in_floats(frames: torch.Tensor, size: Size, how: ResizeFilter) -> torch.Tensor:
    """Stand in for the uint8 kernel where a device has none."""
    smooth = interpolate(frames.float(), size=list(size), mode=how, antialias=True, align_corners=False)
    return smooth.add_(0.5).floor_().clamp_(0, 255).to(torch.uint8)


@lru_cache(maxsize=1024)
def columns_first(before: Size, after: Size, how: ResizeFilter) -> bool:
    """Say whether Pillow goes along the columns first, found out by asking it.

    Up to version 12 it always went along the rows first; from 13 on it depends on the sizes (python-pillow #9549).
    """
    picture = check_picture(*before)
    number = next(number for number, name in PILLOW_FILTERS.items() if name == how)
    pillow = np.asarray(Image.fromarray(picture).resize((after[1], after[0]), number)).astype(np.int16)
    frames = torch.from_numpy(picture).permute(2, 0, 1)[None]
    rows_first, columns_first = (
        np.abs(one_pass(one_pass(frames, between, how), after, how)[0].permute(1, 2, 0).numpy() - pillow).sum()
        for between in ((before[0], after[1]), (after[0], before[1]))
    )
    return bool(columns_first < rows_first)


def check_picture(height: int, width: int) -> NDArray[np.uint8]:
    """Give `(height, width, 3)` on which a wrong filter, size, crop or constant shows: blocks under fine noise."""
    rng = np.random.default_rng(height * 65536 + width)
    picture = np.full((height, width, 3), 128.0)
    for block in (64, 16, 4, 1):
        cells = rng.integers(-60, 61, (-(-height // block), -(-width // block), 3))
        picture += np.repeat(np.repeat(cells, block, axis=0), block, axis=1)[:height, :width]
    return picture.clip(0, 255).astype(np.uint8)


def center_crop(frames: torch.Tensor, size: Size) -> torch.Tensor:
    """Cut `size` out of the middle of `(n, 3, height, width)`; where a frame is too small, black is added around it.

    Odd remainders fall as in `transformers.image_transforms.center_crop`.
    """
    height, width = frames.shape[-2:]
    crop_height, crop_width = size
    grown = (max(height, crop_height), max(width, crop_width))
    above, left_of = -(-(grown[0] - height) // 2), -(-(grown[1] - width) // 2)
    if grown != (height, width):
        canvas = frames.new_zeros((*frames.shape[:-2], *grown))
        canvas[..., above : above + height, left_of : left_of + width] = frames
        frames = canvas
    top = (height - crop_height) // 2 + above
    left = (width - crop_width) // 2 + left_of
    return frames[..., top : top + crop_height, left : left + crop_width]
