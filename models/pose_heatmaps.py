"""A pose network's heat maps → points of the frame, finer than a cell.

The way is ViTPose's, as transformers' processor goes it: the hottest cell, moved by one step of Newton's method on the
logarithm of the blurred map (distribution-aware coordinates: Zhang et al., CVPR 2020). All maps at once, in float64.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from models.pose_crops import Windows

_SIGMA_CELLS = 0.8
_RADIUS_CELLS = 5
_COLDEST, _HOTTEST = 0.001, 50.0
"""Heat is kept within these before its logarithm is taken."""


def points_in_cells(heatmaps: torch.Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the place of each of `(n, k, height, width)` maps; gives cells `(n, k, 2)` as x, y, and heat `(n, k)`.

    A map without any heat above 0 has no place, which is said as -1, -1.
    """
    height, width = heatmaps.shape[-2:]
    heat, at = heatmaps.flatten(2).max(dim=2)
    row, column = torch.div(at, width, rounding_mode="floor"), at % width
    blurred = _blur(heatmaps.double()).clamp_(_COLDEST, _HOTTEST).log_().flatten(2)

    def near(down: int, right: int) -> torch.Tensor:
        cell = (row + down).clamp(0, height - 1) * width + (column + right).clamp(0, width - 1)
        return blurred.gather(2, cell[..., None])[..., 0]

    here, left, right, above, below = near(0, 0), near(0, -1), near(0, 1), near(-1, 0), near(1, 0)
    slope_x, slope_y = (right - left) / 2, (below - above) / 2
    tiny = float(np.finfo(np.float32).eps)
    bend_x, bend_y = right - 2 * here + left + tiny, below - 2 * here + above + tiny
    bend_xy = (near(1, 1) - right - below + 2 * here - left - above + near(-1, -1)) / 2
    area = bend_x * bend_y - bend_xy * bend_xy
    flat = area == 0
    area = torch.where(flat, 1.0, area)
    move_x = torch.where(flat, 0.0, (bend_y * slope_x - bend_xy * slope_y) / area)
    move_y = torch.where(flat, 0.0, (bend_x * slope_y - bend_xy * slope_x) / area)
    cells = torch.stack([column - move_x, row - move_y], dim=2)
    cells[heat <= 0] = -1.0
    return cells.cpu().numpy(), heat.double().cpu().numpy()


def points_in_frame(cells: NDArray[np.float64], windows: Windows, map_size: tuple[int, int]) -> NDArray[np.float64]:
    """Places `(n, k, 2)` in pixels of the frame, of cells of maps of `map_size` (height, width) over `n` windows."""
    last_cell = np.array([map_size[1] - 1.0, map_size[0] - 1.0])
    corners = (windows.centres - windows.sizes * np.float32(0.5)).astype(np.float64)
    places: NDArray[np.float64] = cells * (windows.sizes / last_cell)[:, None] + corners[:, None]
    return places


def _blur(maps: torch.Tensor) -> torch.Tensor:
    """Blur `(…, height, width)`; beyond its edges a map goes on as its mirror image."""
    down, across = (_blur_matrix(int(side)).to(maps.device) for side in maps.shape[-2:])
    return down @ maps @ across.T


def _blur_matrix(side: int) -> torch.Tensor:
    """`(side, side)`: what each cell along a side takes from each other one."""
    reach = np.arange(-_RADIUS_CELLS, _RADIUS_CELLS + 1)
    weights = np.exp(-0.5 * (reach / _SIGMA_CELLS) ** 2)
    weights /= weights.sum()
    taken = (np.arange(side)[:, None] + reach) % (2 * side)
    taken = np.where(taken >= side, 2 * side - 1 - taken, taken)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side)[:, None], taken), weights)
    return torch.from_numpy(matrix)
