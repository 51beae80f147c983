"""EoMT's map of classes is made of square patches side by side: where they lie, and how their scores join. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from models.frame_sizes import Size

Span = tuple[int, int]
"""First column and the one after the last; rows where the frame is taller than wide."""


def patch_spans(size: Size, edge: int) -> list[Span]:
    """Cover the longer side of a frame of `size`, whose shorter side is `edge`, with the fewest patches of `edge`.

    They overlap alike, but for rounding.
    """
    longer = max(size)
    count = math.ceil(longer / edge)
    stride = (longer - edge) / (count - 1) if count > 1 else 0
    starts = [int(number * stride) for number in range(count)]
    return [(start, start + edge) for start in starts]


def joined_patches(patches: Sequence[torch.Tensor], spans: Sequence[Span], size: Size) -> torch.Tensor:
    """Lay scores `(classes, edge, edge)` of each patch onto a frame of `size`; where they overlap, take their mean."""
    total = patches[0].new_zeros((len(patches[0]), *size))
    count = patches[0].new_zeros(size)
    for patch, (start, stop) in zip(patches, spans, strict=True):
        place = (slice(start, stop), slice(None)) if size[0] > size[1] else (slice(None), slice(start, stop))
        total[(slice(None), *place)] += patch
        count[place] += 1
    return total / count.clamp(min=1)
