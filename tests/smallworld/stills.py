"""Stills as training takes them: pixel values by the arithmetic of the model's own processor, truth beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.smallworld.scenes import Frame, Kind, Scene
from tests.smallworld.wear import worn


def worn_stills(kind: Kind, seeds: Sequence[int]) -> tuple[list[NDArray[np.uint8]], list[Frame]]:
    """The still of each seed's scene as it may look in a video, and its frame, whose truth holds for both."""
    frames = [Scene(kind, seed).still() for seed in seeds]
    pictures = [worn(frame.rgb, np.random.default_rng([5, seed])) for frame, seed in zip(frames, seeds, strict=True)]
    return pictures, frames


def pixel_values(processor: Any, pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """What `processor` (one of transformers' PIL processors that resizes to a fixed size) makes of RGB pictures.

    The same numbers in a fraction of its time: `(n, 3, height, width)`.
    """
    size = processor.size["width"], processor.size["height"]
    resized = np.stack([np.asarray(Image.fromarray(picture).resize(size, processor.resample)) for picture in pictures])
    values = torch.from_numpy(resized).permute(0, 3, 1, 2).float() * processor.rescale_factor
    if not processor.do_normalize:
        return values.contiguous()
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (processor.image_mean, processor.image_std))
    return (values - mean) / std


def sampled(label_map: NDArray[Any], side_px: int) -> NDArray[Any]:
    """A label map at `side_px` squared: the nearest pixel's label under each new pixel's centre."""
    height, width = label_map.shape
    rows = ((np.arange(side_px) + 0.5) * height / side_px).astype(np.int64)
    columns = ((np.arange(side_px) + 0.5) * width / side_px).astype(np.int64)
    return label_map[rows[:, None], columns[None, :]]
