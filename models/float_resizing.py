"""Resizes that some processors do in floats instead of Pillow's whole numbers, along one side and then the other."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from models.errors import PermanentError
from models.frame_sizes import Size
from models.resizing import ResizeFilter

_TRUNCATE = 4.0
"""scipy cuts its Gaussian off at so many standard deviations."""


class UnknownFilterError(PermanentError):
    """torch has no such filter without antialias."""


def resize_plain(values: torch.Tensor, size: Size, how: ResizeFilter) -> torch.Tensor:
    """Resize `(n, 3, height, width)` floats as torch does without antialias: two or four pixels make one."""
    if how not in ("bilinear", "bicubic"):
        raise UnknownFilterError(
            f"there is no {how} resize without antialias; the model's processor must name another."
        )
    return interpolate(values, size=size, mode=how, align_corners=False, antialias=False)


def resize_like_scipy(values: torch.Tensor, size: Size) -> torch.Tensor:
    """Resize `(n, 3, height, width)` floats as scikit-image does: blurred where a side shrinks, then linear.

    The blur's standard deviation is (factor - 1) / 2 pixels; borders are mirrored at the outermost pixel's centre.
    """
    for dim in (-2, -1):
        index, weight = _scipy_taps(int(values.shape[dim]), size[dim], values.device)
        shape = (-1, 1) if dim == -2 else (-1,)
        total = values.new_zeros(())
        for tap in range(len(index)):
            total = total + values.index_select(dim, index[tap]) * weight[tap].view(shape)
        values = total
    return values


@lru_cache(maxsize=64)
def _scipy_taps(before: int, after: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Which source pixels make up each target pixel, and with what weights: `(taps, after)` int64 and float32."""
    factor = before / after
    deviation = max(0.0, (factor - 1) / 2)
    radius = int(_TRUNCATE * deviation + 0.5)
    blur = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2) if radius else np.ones(1)
    blur /= blur.sum()
    place = (np.arange(after) + 0.5) * factor - 0.5
    low = np.floor(place).astype(np.int64)
    above = place - low
    weight = np.zeros((2 * radius + 2, after))
    weight[:-1] += blur[:, None] * (1 - above)
    weight[1:] += blur[:, None] * above
    index = _mirrored(low + np.arange(-radius, radius + 2)[:, None], before)
    return torch.from_numpy(index).to(device), torch.from_numpy(weight.astype(np.float32)).to(device)


def _mirrored(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Fold places beyond the border back: -1 is 1, `length` is `length - 2`."""
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    folded: NDArray[np.int64] = np.abs(index) % period
    return np.minimum(folded, period - folded)
