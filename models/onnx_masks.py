"""YOLO's masks: mixed from prototypes, laid over the frame, cut at the box. As Ultralytics does at full resolution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.frame_sizes import Size
from models.masks import MaskCrop, crop_mask
from models.onnx_detections import Candidates
from models.onnx_pictures import Placement
from models.onnx_runtime import Array, OnnxRunError

_ROUNDING = 0.1
"""Ultralytics lets a half of padding fall to the lower and right side by it."""


def split_outputs(outputs: list[Array]) -> tuple[Array, Array]:
    """Tell boxes `(n, …, …)` from prototypes, given as `(n, m, rows, columns)`, the colours' place found by its size.

    Raises `OnnxRunError` where the outputs are not one of each.
    """
    boxes = [one for one in outputs if one.ndim == 3]
    prototypes = [one for one in outputs if one.ndim == 4]
    if len(boxes) != 1 or len(prototypes) != 1:
        shapes = ", ".join(str(one.shape) for one in outputs)
        raise OnnxRunError(f"the network gives {shapes}; masks need one output of boxes and one of prototypes.")
    grid = prototypes[0]
    return boxes[0], grid.transpose(0, 3, 1, 2) if grid.shape[3] < grid.shape[1] else grid


def masks_in_frame(
    candidates: Candidates, boxes: NDArray[np.float64], prototypes: Array, placement: Placement
) -> list[MaskCrop | None]:
    """Give each candidate's mask on the frame, cut at its box; None where nothing is left of it.

    A pixel belongs to the mask where the mix of the prototypes, interpolated between their cells, is above 0.

    Args:
        candidates: k of them, with `(k, m)` coefficients.
        boxes: `(k, 4)` in pixels of the frame.
        prototypes: `(m, rows, columns)`, over the whole picture with its padding.
        placement: Where the frame lies in the picture.

    """
    top, bottom, left, right = _content(placement, (prototypes.shape[1], prototypes.shape[2]))
    inside = prototypes[:, top:bottom, left:right]
    mixed = np.tensordot(candidates.coefficients, inside, axes=1)
    return [_in_box(one, box, placement.frame) for one, box in zip(mixed, boxes, strict=True)]


def _content(placement: Placement, cells: Size) -> tuple[int, int, int, int]:
    """Rows and columns of prototype cells that hold the frame: top, bottom, left, right."""
    if placement.content == placement.picture:
        return 0, cells[0], 0, cells[1]
    gain = min(cells[0] / placement.frame[0], cells[1] / placement.frame[1])
    share = 0.5 if any(placement.shift) else 0.0
    spare = [whole - side * gain for whole, side in zip(cells, placement.frame, strict=True)]
    before = [round(one * share - _ROUNDING) for one in spare]
    after = [whole - round(one * (1 - share) + _ROUNDING) for whole, one in zip(cells, spare, strict=True)]
    return max(before[0], 0), after[0], max(before[1], 0), after[1]


def _in_box(mix: NDArray[np.float32], box: NDArray[np.float64], frame: Size) -> MaskCrop | None:
    """Interpolate the cells `(rows, columns)` at the frame's pixels within the box, and there only."""
    left, top = np.ceil(box[:2].clip(0)).astype(int).tolist()
    right, bottom = np.ceil(np.minimum(box[2:], frame[::-1])).astype(int).tolist()
    if right <= left or bottom <= top:
        return None
    rows = _between(mix, np.arange(top, bottom), frame[0])
    pixels = _between(rows.T, np.arange(left, right), frame[1]).T
    return crop_mask(pixels > 0, left=left, top=top)


def _between(cells: NDArray[np.float32], pixels: NDArray[np.int64], length: int) -> NDArray[np.float32]:
    """Linear interpolation of rows `(rows, …)` at `pixels` of a side of `length`, corners as in torch's interpolate."""
    last = len(cells) - 1
    place = np.clip((pixels + 0.5) * (len(cells) / length) - 0.5, 0, last)
    lower = place.astype(np.int64)
    share = (place - lower).astype(np.float32)[:, None]
    mixed: NDArray[np.float32] = cells[lower] * (1 - share) + cells[np.minimum(lower + 1, last)] * share
    return mixed
