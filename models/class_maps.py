"""Scores of every class, coarser than the frame → the best class of every pixel, and how sure it is."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from models.frame_sizes import Size

MOST_CLASSES = 256
"""As many as fit into 8 bits."""
_BLOCK_VALUES = 2**25
"""Classes go to the frame's size in blocks of so many floats, 128 MiB; 150 of them on 1080p would take 1.2 GB."""
_STRIP_VALUES = 2**20
"""On a CPU a block is made and read strip by strip, in so many floats: 4 MiB, of memory that is not always new."""
_NARROWEST_STRIP_PX = 32


class ClassMap(NamedTuple):
    """The best class of every pixel `(height, width)`, and its probability as 0…255, both uint8."""

    class_ids: NDArray[np.uint8]
    confidence: NDArray[np.uint8]

    def present_class_ids(self) -> list[int]:
        """The classes that some pixel has, in order."""
        counts = cv2.calcHist([self.class_ids], [0], None, [MOST_CLASSES], [0, MOST_CLASSES])
        return np.flatnonzero(counts).tolist()


def class_map(scores: torch.Tensor, size: Size, *, softmax: bool, block_values: int = _BLOCK_VALUES) -> ClassMap:
    """Take `scores` `(classes, h, w)` to a frame of `size`, bilinear, and choose the best class of each pixel.

    With `softmax` the scores are logits, and the confidence is the softmax over all classes at the frame's size;
    without, it is the score itself, 1 at most. Whatever the block size, the same classes are chosen.
    """
    best, total = torch.empty((2, *size), device=scores.device)
    class_ids = torch.empty(size, dtype=torch.uint8, device=scores.device)
    step = max(1, block_values // (size[0] * size[1]))
    for start in range(0, len(scores), step):
        # Along the rows first: a strip's own share of the columns' pass is then the same numbers as the whole's.
        wide = _resized(scores[start : start + step], (int(scores.shape[1]), size[1]))
        for strip in _strips(len(wide), size, scores.device):
            block = _resized(wide[..., strip].contiguous(), (size[0], strip.stop - strip.start))
            _take_in(block, start, best[:, strip], class_ids[:, strip], total[:, strip] if softmax else None)
    probability = total.reciprocal_() if softmax else best.clamp_(0, 1)
    confidence = probability.mul_(255).round_().to(torch.uint8)
    return ClassMap(class_ids.cpu().numpy(), confidence.cpu().numpy())


def _take_in(
    block: torch.Tensor, first: int, best: torch.Tensor, class_ids: torch.Tensor, total: torch.Tensor | None
) -> None:
    """Hold the scores `(classes, h, w)` of the classes from `first` on against the best so far, `(h, w)` each.

    `total` is the sum over classes of exp(score - best); `block` is spent on it.
    """
    values, places = _best_of(block)
    if first == 0:
        best.copy_(values)
        class_ids.copy_(places)
        if total is not None:
            total.copy_(block.sub_(values).exp_().sum(dim=0))
        return
    class_ids.copy_(torch.where(values > best, (places + first).to(class_ids.dtype), class_ids))
    higher = torch.maximum(values, best)
    if total is not None:
        total.mul_((best - higher).exp_()).add_(block.sub_(higher).exp_().sum(dim=0))
    best.copy_(higher)


def _best_of(block: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest of `(classes, h, w)` at each pixel, and the first class that has it."""
    if block.device.type != "cpu":
        found = block.max(dim=0)
        return found.values, found.indices
    # torch's own max along the first dimension takes five times as long on a CPU.
    values = block[0].clone()
    places = torch.zeros(values.shape, dtype=torch.uint8)
    better = torch.empty(values.shape, dtype=torch.bool)
    for number, plane in enumerate(block[1:], start=1):
        torch.gt(plane, values, out=better)
        torch.maximum(places, better.view(torch.uint8).mul_(number), out=places)
        torch.maximum(values, plane, out=values)
    return values, places


def _strips(classes: int, size: Size, device: torch.device) -> list[slice]:
    """Columns of a frame of `size` that are looked at together."""
    width = _STRIP_VALUES // (classes * size[0]) if device.type == "cpu" else size[1]
    width = max(width, _NARROWEST_STRIP_PX)
    return [slice(left, min(left + width, size[1])) for left in range(0, size[1], width)]


def _resized(scores: torch.Tensor, size: Size) -> torch.Tensor:
    return interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0]
