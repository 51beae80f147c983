"""Resizing and cropping frames, bit for bit as Pillow does it, on every device. Knows sizes and pixels only."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.frame_sizes import Size
from models.vision_model import Frame

ResizeFilter = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]

PILLOW_FILTERS: dict[int, ResizeFilter] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}
"""Pillow's numbers of its filters, as `resample` names them in a processor's configuration."""
_PILLOW_NUMBERS = {name: number for number, name in PILLOW_FILTERS.items()}
_REACH = {"lanczos": 3.0, "bilinear": 1.0, "bicubic": 2.0, "box": 0.5, "hamming": 1.0}
"""Pixels from its centre to where a filter ends."""
_HAMMING = (float(np.float32(0.54)), float(np.float32(0.46)))
"""Pillow has the two constants as 32-bit floats."""
_PRECISION_BITS = 22
"""Binary places of Pillow's weights for 8-bit pictures."""


def resize(frames: torch.Tensor, size: Size, how: ResizeFilter) -> torch.Tensor:
    """Resize `(n, 3, height, width)` uint8 with antialias; gives uint8 of `size`, bit for bit what Pillow gives.

    Networks can be so sensitive that a rounding step in a few pixels moves a score by 0.006 (torch's own antialiased
    resize: 1 grey level in 0.3 % of the pixels), so nothing but equality will do. On a CPU Pillow does it.
    """
    if tuple(frames.shape[-2:]) == size:
        return frames
    return (
        resize_with_pillow(frames, size, how) if frames.device.type == "cpu" else resize_like_pillow(frames, size, how)
    )


def resize_with_pillow(frames: torch.Tensor, size: Size, how: ResizeFilter) -> torch.Tensor:
    """Resize `(n, 3, height, width)` uint8 on the CPU; gives uint8 of `size`, channels last in memory."""
    return resize_pictures(frames.permute(0, 2, 3, 1).numpy(), size, how)


def resize_pictures(pictures: Sequence[Frame] | Frame, size: Size, how: ResizeFilter) -> torch.Tensor:
    """Resize pictures `(height, width, 3)` as they lie, each by itself; gives `(n, 3, height, width)` uint8 of `size`.

    As many at a time as torch may use threads: Pillow lets go of Python's lock.
    """
    resized = np.empty((len(pictures), *size, 3), dtype=np.uint8)

    def one(index: int) -> None:
        image = Image.fromarray(pictures[index])
        resized[index] = np.asarray(image.resize((size[1], size[0]), _PILLOW_NUMBERS[how]))

    workers = min(len(pictures), torch.get_num_threads())
    if workers == 1:
        for index in range(len(pictures)):
            one(index)
    else:
        with ThreadPoolExecutor(workers) as threads:
            list(threads.map(one, range(len(pictures))))
    return torch.from_numpy(resized).permute(0, 3, 1, 2)


def resize_like_pillow(frames: torch.Tensor, size: Size, how: ResizeFilter) -> torch.Tensor:
    """Resize on any device in Pillow's own arithmetic: whole numbers, along one side and then along the other."""
    before = (int(frames.shape[-2]), int(frames.shape[-1]))
    if how == "nearest":
        rows, columns = (_nearest(before[dim], size[dim], frames.device) for dim in (0, 1))
        return frames.index_select(-2, rows).index_select(-1, columns)
    dims = (-2, -1) if columns_first(before, size, how) else (-1, -2)
    for dim in dims:
        if frames.shape[dim] != size[dim]:
            frames = _one_pass(frames, dim, _taps(int(frames.shape[dim]), size[dim], how, frames.device))
    return frames


def _one_pass(frames: torch.Tensor, dim: int, taps: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    index, weight = taps
    shape = (-1, 1) if dim == -2 else (-1,)
    total: torch.Tensor | int = 1 << (_PRECISION_BITS - 1)
    for tap in range(len(index)):
        total = frames.index_select(dim, index[tap]).to(torch.int32).mul_(weight[tap].view(shape)).add_(total)
    assert isinstance(total, torch.Tensor)
    return (total >> _PRECISION_BITS).clamp_(0, 255).to(torch.uint8)


@lru_cache(maxsize=256)
def _nearest(before: int, after: int, device: torch.device) -> torch.Tensor:
    """Which source pixel each target pixel is: `(after,)` int64. Pillow adds up its steps, rounding errors and all."""
    step = before / after
    places = np.cumsum(np.concatenate([[step * 0.5], np.full(after - 1, step)]))
    return torch.from_numpy(np.minimum(places.astype(np.int64), before - 1)).to(device)


@lru_cache(maxsize=256)
def _taps(before: int, after: int, how: ResizeFilter, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Which source pixels make up each target pixel, and with what weights: `(taps, after)` int64 and int32.

    As in Pillow's Resample.c: the filter is stretched where the side shrinks, its weights add up to 1 and are kept as
    whole numbers of 2 ** -22.
    """
    scale = before / after
    stretch = max(scale, 1.0)
    reach = _REACH[how] * stretch
    centre = (np.arange(after) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    count = np.minimum((centre + reach + 0.5).astype(np.int64), before) - first
    offset = np.arange(count.max())[:, None]
    weight = np.where(offset < count, _kernel((offset + first - centre + 0.5) * (1.0 / stretch), how), 0.0)
    fixed = weight / weight.sum(axis=0) * (1 << _PRECISION_BITS)
    whole = np.trunc(fixed + np.copysign(0.5, fixed)).astype(np.int32)
    index = np.minimum(first + offset, before - 1)
    return torch.from_numpy(index).to(device), torch.from_numpy(whole).to(device)


def _kernel(distance: NDArray[np.float64], how: ResizeFilter) -> NDArray[np.float64]:
    """The filter at `distance` pixels from its centre; the cubic is Keys' with a = -0.5, Lanczos has three lobes."""
    x = np.abs(distance)
    if how == "bilinear":
        return np.maximum(1.0 - x, 0.0)
    if how == "box":
        return ((distance > -0.5) & (distance <= 0.5)).astype(np.float64)
    if how == "hamming":
        return np.where(x < 1.0, np.sinc(x) * (_HAMMING[0] + _HAMMING[1] * np.cos(np.pi * x)), 0.0)
    if how == "lanczos":
        return np.where((distance >= -3.0) & (distance < 3.0), np.sinc(x) * np.sinc(x / 3.0), 0.0)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((x - 5.0) * x + 8.0) * x * -0.5 + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


@lru_cache(maxsize=1024)
def columns_first(before: Size, after: Size, how: ResizeFilter) -> bool:
    """Say whether Pillow goes along the columns first, found out by asking it.

    Up to version 12 it always went along the rows first; from 13 on it depends on the sizes (python-pillow #9549).
    """
    if before[0] == after[0] or before[1] == after[1]:
        return False
    frames = torch.from_numpy(check_picture(*before)).permute(2, 0, 1)[None]
    cpu = torch.device("cpu")
    rows = _one_pass(frames, -1, _taps(before[1], after[1], how, cpu))
    rows_first = _one_pass(rows, -2, _taps(before[0], after[0], how, cpu))
    return not torch.equal(rows_first, resize_with_pillow(frames, after, how))


def check_picture(height: int, width: int) -> NDArray[np.uint8]:
    """Give `(height, width, 3)` on which a wrong filter, size, crop or constant shows: blocks under fine noise."""
    tile = _check_tile()
    times = (-(-height // tile.shape[0]), -(-width // tile.shape[1]), 1)
    return np.ascontiguousarray(np.tile(tile, times)[:height, :width])


@lru_cache(maxsize=1)
def _check_tile() -> NDArray[np.uint8]:
    rng, side = np.random.default_rng(64), 192
    picture = np.full((side, side, 3), 128)
    for block in (64, 16, 4, 1):
        cells = rng.integers(-60, 61, (side // block, side // block, 3))
        picture += np.repeat(np.repeat(cells, block, axis=1), block, axis=0)
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
