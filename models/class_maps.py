"""Scores of every class, coarser than the frame → the best class of every pixel, and how sure it is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from models.frame_sizes import Size

MOST_CLASSES = 256
"""As many as fit into 8 bits."""
_BLOCK_VALUES = 2**25
"""Classes go to the frame's size in blocks of so many floats, 128 MiB; 150 of them on 1080p would take 1.2 GB."""


class ClassMap(NamedTuple):
    """The best class of every pixel `(height, width)`, and its probability as 0…255, both uint8."""

    class_ids: NDArray[np.uint8]
    confidence: NDArray[np.uint8]


def class_map(scores: torch.Tensor, size: Size, *, softmax: bool, block_values: int = _BLOCK_VALUES) -> ClassMap:
    """Take `scores` `(classes, h, w)` to a frame of `size`, bilinear, and choose the best class of each pixel.

    With `softmax` the scores are logits, and the confidence is the softmax over all classes at the frame's size;
    without, it is the score itself, 1 at most. Whatever the block size, the same classes are chosen.
    """
    best = torch.full(size, -torch.inf, device=scores.device)
    class_ids = torch.zeros(size, dtype=torch.uint8, device=scores.device)
    total = torch.zeros(size, device=scores.device)
    step = max(1, block_values // (size[0] * size[1]))
    for start in range(0, len(scores), step):
        block = interpolate(scores[None, start : start + step], size=size, mode="bilinear", align_corners=False)[0]
        values, places = block.max(dim=0)
        better = values > best
        class_ids = torch.where(better, (places + start).to(torch.uint8), class_ids)
        higher = torch.maximum(values, best)
        if softmax:
            total = total * (best - higher).exp_() + block.sub_(higher).exp_().sum(dim=0)
        best = higher
    probability = total.reciprocal() if softmax else best.clamp(0, 1)
    confidence = (probability * 255).round_().to(torch.uint8)
    return ClassMap(class_ids.cpu().numpy(), confidence.cpu().numpy())
