"""A processor's configuration → the same numbers, on the device, in batches of frames of one shape.

transformers' Pillow processors work frame by frame on the CPU. Here the steps that nearly all of them share (resize,
crop, rescale, normalise, pad) are read from the processor's resolved attributes (`models.processor_steps`) and run
in torch. No list of classes decides whether that is right: for each shape of frame the processor itself runs once, on a
test picture. Where we disagree with it by a hundredth of a grey level, or a step is none of ours, it does the work
itself, which is logged.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch.nn.functional import pad

from models.float_resizing import resize_like_scipy, resize_plain
from models.frame_sizes import Size
from models.frame_transfer import to_device
from models.processor_steps import NotCoveredError, Steps, steps_from
from models.resizing import center_crop, check_picture, resize, resize_pictures
from models.vision_model import Frame

logger = logging.getLogger(__name__)

_MOST_LEVELS = 0.01
"""Most that a value may differ from the processor's, in grey levels: rounding of floats, never a step of a pixel."""


class ImageProcessor(Protocol):
    """What is asked of transformers' image processors."""

    def __call__(self, images: Any, *, return_tensors: str) -> Mapping[str, Any]:
        """Give the model's inputs for a list of RGB frames."""

    def to_dict(self) -> dict[str, Any]:
        """Give every attribute, class defaults included."""


def prepare(frames: Sequence[Frame], steps: Steps, device: torch.device) -> torch.Tensor:
    """Take frames of one shape `(height, width, 3)` through `steps`; gives float32 `(n, 3, h, w)` on `device`.

    On a CPU, where Pillow comes first, it gets each frame as it lies: only the small pictures are put together.
    """
    shape = (int(frames[0].shape[0]), int(frames[0].shape[1]))
    target = _first_resize(steps, shape) if device.type == "cpu" else None
    if target is None or target == shape:
        return run_steps(to_device(frames, device), steps)
    return run_steps(resize_pictures(frames, target, steps.how), replace(steps, size=None))


def _first_resize(steps: Steps, shape: Size) -> Size | None:
    """The size that Pillow gives a frame of `shape` before anything else is done to it; None where it does not."""
    if steps.squared or steps.crop_first is not None or steps.resizer != "pillow" or steps.size is None:
        return None
    return steps.size.target(*shape)


def run_steps(frames: torch.Tensor, steps: Steps) -> torch.Tensor:
    """Take `(n, 3, height, width)` uint8 through `steps`; gives float32 `(n, 3, h, w)` on the same device."""
    if steps.squared:
        side = max(frames.shape[-2:])
        frames = pad(frames, (0, side - frames.shape[-1], 0, side - frames.shape[-2]))
    if steps.crop_first is not None:
        shorter = min(frames.shape[-2:])
        down, across = steps.crop_first
        frames = center_crop(frames, (int(down * shorter), int(across * shorter)))
    target = steps.size.target(int(frames.shape[-2]), int(frames.shape[-1])) if steps.size else None
    if target is not None:
        frames = _resized(frames, target, steps)
    if steps.crop is not None:
        frames = center_crop(frames, steps.crop)
    if steps.black_to is not None:
        missing = (steps.black_to[0] - frames.shape[-2], steps.black_to[1] - frames.shape[-1])
        frames = pad(frames, (0, max(0, missing[1]), 0, max(0, missing[0])))
    if steps.flip_channels:
        frames = frames.flip(1)
    values = frames.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    values = values.mul_(_per_channel(steps.gain, values.device)).add_(_per_channel(steps.offset, values.device))
    if steps.pad_to is not None:
        values = pad(values, (0, steps.pad_to[1] - values.shape[-1], 0, steps.pad_to[0] - values.shape[-2]))
    return values


def _resized(frames: torch.Tensor, size: Size, steps: Steps) -> torch.Tensor:
    """Give uint8, or grey levels in floats where the resizer rounds nothing."""
    if steps.resizer == "pillow":
        return resize(frames, size, steps.how)
    levels = frames.to(torch.float32)
    if steps.resizer == "scipy":
        return resize_like_scipy(levels, size)
    levels = resize_plain(levels, size, steps.how)
    return levels.round_().clamp_(0, 255) if steps.resizer == "plain bytes" else levels


@lru_cache(maxsize=256)
def _per_channel(numbers: tuple[float, float, float], device: torch.device) -> torch.Tensor:
    """`(1, 3, 1, 1)` on `device`: sent once, since each small copy makes a GPU's queue run empty."""
    return torch.tensor(numbers, dtype=torch.float32, device=device).view(1, 3, 1, 1)


class Preprocessor:
    """A processor's work on batches: uint8 frames in, the model's inputs on `device` out; for any number of threads."""

    def __init__(
        self,
        processor: ImageProcessor,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        layout: torch.memory_format = torch.preserve_format,
    ) -> None:
        """`layout` is how the model wants its pictures to lie in memory; the numbers are the same."""
        self._processor, self._device, self._dtype, self._layout = processor, device, dtype, layout
        self._masks: dict[Size, torch.Tensor | None] = {}
        self._processor_shapes: set[Size] = set()
        self._steps: Steps | None = None
        self._one_check_at_a_time = threading.Lock()
        try:
            self._steps = steps_from(processor.to_dict())
        except NotCoveredError as reason:
            self._say_why(str(reason))

    def __call__(self, frames: Sequence[Frame]) -> dict[str, torch.Tensor]:
        """Give the model's inputs for frames of one shape: `pixel_values`, and `pixel_mask` if the processor does."""
        shape = (int(frames[0].shape[0]), int(frames[0].shape[1]))
        if self._steps is None:
            return self._ask_processor(frames)
        with self._one_check_at_a_time:
            agrees = self._agrees(shape, self._steps)
        if not agrees:
            return self._ask_processor(frames)
        values = prepare(frames, self._steps, self._device)
        inputs = {"pixel_values": values.to(self._dtype, memory_format=self._layout)}
        mask = self._masks[shape]
        if mask is not None:
            inputs["pixel_mask"] = mask.to(torch.int64).expand(len(frames), -1, -1)
        return inputs

    def _agrees(self, shape: Size, steps: Steps) -> bool:
        """Compare with the processor itself, once for each shape; it alone decides about `pixel_mask`."""
        if shape not in self._masks and shape not in self._processor_shapes:
            picture = check_picture(*shape)
            theirs = self._processor([picture], return_tensors="pt")
            reason = _disagreement(prepare([picture], steps, self._device), theirs, steps)
            if reason is None:
                mask = theirs.get("pixel_mask")
                self._masks[shape] = None if mask is None else mask.to(self._device, torch.bool)
            else:
                self._processor_shapes.add(shape)
                self._say_why(reason)
        return shape in self._masks

    def _ask_processor(self, frames: Sequence[Frame]) -> dict[str, torch.Tensor]:
        theirs = self._processor(list(frames), return_tensors="pt")
        return {
            name: value.to(self._device, self._dtype if value.is_floating_point() else None)
            for name, value in theirs.items()
            if isinstance(value, torch.Tensor)
        }

    def _say_why(self, reason: str) -> None:
        name = type(self._processor).__name__
        logger.warning("%s prepares frames itself, one by one on the CPU: %s", name, reason)


def _disagreement(ours: torch.Tensor, theirs: Mapping[str, Any], steps: Steps) -> str | None:
    """Say in what the two differ by more than a rounding step of the grey levels; None where they agree."""
    unknown = {name for name, value in theirs.items() if len(value)} - {"pixel_values", "pixel_mask"}
    if unknown:
        return f"it also gives {', '.join(sorted(unknown))}"
    values = theirs["pixel_values"]
    if values.shape != ours.shape:
        return f"it gives {tuple(values.shape)}, we would give {tuple(ours.shape)}"
    levels = ((ours.cpu() - values.float()).abs() / torch.tensor(steps.gain).abs().view(1, 3, 1, 1)).double()
    if levels.max() > _MOST_LEVELS:
        return f"we would differ by up to {levels.max():.2f} grey levels, {levels.mean():.4f} in the mean"
    return None
