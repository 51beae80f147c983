"""Boxes of a frame → the pictures that a top-down pose network sees, cut out and scaled on the device, all at once.

The rules are ViTPose's, as transformers' processor has them: a box is widened or heightened to the network's shape,
grown by a quarter, and sampled with the corners of the grid on the corners of the box (unbiased data processing, Huang
et al., CVPR 2020). Where it reaches beyond the frame there is black.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.frame_sizes import Size

_MARGIN = np.float32(1.25)
_UNIT_PX = np.float32(200.0)
"""Sizes are counted in it, in float32: its rounding is part of what the network was trained with."""


@dataclass(frozen=True)
class Windows:
    """What is cut out of frames for `n` objects.

    Attributes:
        centres: `(n, 2)` float32: x, y in pixels of the frame.
        sizes: `(n, 2)` float32: width, height in pixels of the frame.

    """

    centres: NDArray[np.float32]
    sizes: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.centres)

    def part(self, start: int, stop: int) -> Windows:
        """Those from `start` to before `stop`."""
        return Windows(self.centres[start:stop], self.sizes[start:stop])


def windows_around(boxes: NDArray[np.float64], picture: Size) -> Windows:
    """Windows in the shape of `picture` (height, width) around boxes `(n, 4)`: left, top, width, height."""
    sides = boxes[:, 2:]
    shape = picture[1] / picture[0]
    width = np.maximum(sides[:, 0], sides[:, 1] * shape)
    height = np.maximum(sides[:, 1], sides[:, 0] / shape)
    units = (np.stack([width, height], axis=1) / _UNIT_PX).astype(np.float32) * _MARGIN
    return Windows((boxes[:, :2] + sides * 0.5).astype(np.float32), units * _UNIT_PX)


def cut_out(frames: torch.Tensor, frame_of: NDArray[np.int64], windows: Windows, picture: Size) -> torch.Tensor:
    """Sample each window of its frame; gives `(n, 3, height, width)` uint8 of `picture`.

    `frames` are `(m, 3, height, width)` uint8, `frame_of` `(n,)` says which of them each window lies in. Grey levels
    are interpolated linearly and rounded.
    """
    device = frames.device
    (left, right, part_x, inside_x), (above, below, part_y, inside_y) = (
        _taps(windows, axis, picture[1 - axis], int(frames.shape[3 - axis]), device) for axis in (0, 1)
    )
    of_frame = torch.from_numpy(frame_of).to(device)[:, None, None]
    pictures = frames.permute(0, 2, 3, 1)

    def row(rows: torch.Tensor) -> torch.Tensor:
        at_left, at_right = (
            pictures[of_frame, rows[:, :, None], columns[:, None, :]].float() for columns in (left, right)
        )
        return torch.lerp(at_left, at_right, part_x[:, None, :, None])

    levels = torch.lerp(row(above), row(below), part_y[:, :, None, None])
    levels *= (inside_y[:, :, None] & inside_x[:, None, :])[..., None]
    return (levels + 0.5).to(torch.uint8).permute(0, 3, 1, 2)


def _taps(
    windows: Windows, axis: int, count: int, side: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where `count` places of each window lie along a frame's `side`, `(n, count)` each.

    Gives the pixel before, the pixel after, how far between them, and whether the place is in the frame at all.
    """
    centres, sizes = windows.centres[:, axis], windows.sizes[:, axis]
    scale = ((count - 1.0) / sizes.astype(np.float64)).astype(np.float32)
    shift = (
        ((count - 1.0) / sizes.astype(np.float64))
        * (np.float32(-0.5) * (centres * np.float32(2)) + sizes * np.float32(0.5))
    ).astype(np.float32)
    places = (np.arange(count) - shift[:, None].astype(np.float64)) / scale[:, None].astype(np.float64)
    first = np.clip(np.floor(places), 0, side - 1).astype(np.int64)
    arrays = (first, np.minimum(first + 1, side - 1), (places - first).astype(np.float32))
    before, after, part = (torch.from_numpy(array).to(device) for array in arrays)
    return before, after, part, torch.from_numpy((places >= 0) & (places <= side - 1)).to(device)
