"""A processor's configuration → the same numbers, on the device, in batches of frames of one shape.

transformers' Pillow processors work frame by frame on the CPU. Here the steps that nearly all of them share (resize,
crop, rescale, normalise, pad) are read from the processor's resolved attributes and run in torch. No list of classes
decides whether that is right: for each shape of frame the processor itself runs once, on a test picture. Where we
disagree with it by a hundredth of a grey level, or a step is none of ours, it does the work itself, which is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from models.errors import PermanentError
from models.resizing import PILLOW_FILTERS, ResizeFilter, Size, SizeRule, center_crop, check_picture, resize
from models.vision_model import Frame

logger = logging.getLogger(__name__)

_MOST_LEVELS = 0.01
"""Most that a value may differ from the processor's, in grey levels: rounding of floats, never a step of a pixel."""
_CONVNEXT_WARP_EDGE = 384
"""From this edge on, ConvNeXt's evaluation resizes to a square and crops nothing."""


class NotCoveredError(PermanentError):
    """The configuration asks for a step that only the processor itself can do."""


class ImageProcessor(Protocol):
    """What is asked of transformers' image processors."""

    def __call__(self, images: Any, *, return_tensors: str) -> Mapping[str, Any]:
        """Give the model's inputs for a list of RGB frames."""

    def to_dict(self) -> dict[str, Any]:
        """Give every attribute, class defaults included."""


@dataclass(frozen=True)
class Steps:
    """What is done to a frame, in this order; whole pictures in, floats out."""

    size: SizeRule | None
    how: ResizeFilter
    warp_edge: int | None
    """Resize to a square of this edge (ConvNeXt at 384 and above)."""
    crop: Size | None
    flip_channels: bool
    gain: tuple[float, float, float]
    """Per output channel: value = grey level × gain + offset. Rescaling and normalising are one such step."""
    offset: tuple[float, float, float]
    pad_to: Size | None
    """Zeros are added below and to the right, after normalising."""


def steps_from(config: Mapping[str, Any]) -> Steps:
    """Read the steps from a processor's resolved attributes (`to_dict`) or a whole preprocessor_config.json.

    Raises `NotCoveredError` where a step is none of ours.
    """
    kind = str(config.get("image_processor_type", ""))
    size, crop = _size_rule(config, kind), _crop(config)
    warp_edge = None
    if kind.startswith("ConvNext") and size is not None and size.shortest_edge:
        size, warp_edge, crop = _convnext(config, size.shortest_edge)
    gain, offset = _gain_and_offset(config)
    return Steps(
        size=size,
        how=_filter(config) if size or warp_edge else "bilinear",
        warp_edge=warp_edge,
        crop=crop,
        flip_channels=bool(config.get("do_flip_channel_order")),
        gain=gain,
        offset=offset,
        pad_to=_pair_of(config.get("pad_size")) if config.get("do_pad") else None,
    )


def _filter(config: Mapping[str, Any]) -> ResizeFilter:
    resample = config.get("resample", 2)
    if int(resample) not in PILLOW_FILTERS:
        raise NotCoveredError(f"the resample filter {int(resample)} is neither bilinear (2) nor bicubic (3)")
    return PILLOW_FILTERS[int(resample)]


def _size_rule(config: Mapping[str, Any], kind: str) -> SizeRule | None:
    if not config.get("do_resize"):
        return None
    size = config.get("size")
    if not isinstance(size, Mapping):
        raise NotCoveredError(f"the size {size!r} is no set of named edges")
    known = SizeRule.__dataclass_fields__.keys() - {"multiple_of"}
    edges = {name: int(value) for name, value in size.items() if value is not None}
    if not edges or not edges.keys() <= known:
        raise NotCoveredError(f"the size {dict(size)} names edges that are none of ours")
    return SizeRule(**edges, multiple_of=16 if kind.startswith("Yolos") else 1)


def _crop(config: Mapping[str, Any]) -> Size | None:
    return _pair_of(config.get("crop_size")) if config.get("do_center_crop") else None


def _pair_of(size: Any) -> Size | None:
    if size is None:
        return None
    if not isinstance(size, Mapping) or not (size.get("height") and size.get("width")):
        raise NotCoveredError(f"the size {size!r} does not name a height and a width")
    return int(size["height"]), int(size["width"])


def _convnext(config: Mapping[str, Any], edge: int) -> tuple[SizeRule | None, int | None, Size | None]:
    """Below 384 the shorter edge becomes edge / crop_pct and the middle is cut out; from 384 on a plain square."""
    if edge >= _CONVNEXT_WARP_EDGE:
        return None, edge, _crop(config)
    return SizeRule(shortest_edge=int(edge / float(config.get("crop_pct", 224 / 256)))), None, (edge, edge)


def _gain_and_offset(config: Mapping[str, Any]) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Fold rescaling and every normalisation into one gain and one offset for each channel."""
    gain, offset = np.ones(3), np.zeros(3)
    if config.get("do_rescale"):
        gain = gain * float(config.get("rescale_factor", 1 / 255))
        offset = offset - float(bool(config.get("rescale_offset")))
    if config.get("do_normalize"):
        mean, std = _channels(config, "image_mean"), _channels(config, "image_std")
        gain, offset = gain / std, (offset - mean) / std
    if config.get("include_top"):
        std = _channels(config, "image_std")
        gain, offset = gain / std, offset / std
    return (gain[0], gain[1], gain[2]), (offset[0], offset[1], offset[2])


def _channels(config: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    values = np.broadcast_to(np.asarray(config.get(name), dtype=np.float64), 3)
    if not np.isfinite(values).all():
        raise NotCoveredError(f"{name} is {config.get(name)!r}")
    return values


def run_steps(frames: torch.Tensor, steps: Steps) -> torch.Tensor:
    """Take `(n, 3, height, width)` uint8 through `steps`; gives float32 `(n, 3, h, w)` on the same device."""
    height, width = int(frames.shape[-2]), int(frames.shape[-1])
    target = (steps.warp_edge, steps.warp_edge) if steps.warp_edge else None
    if steps.size is not None:
        target = steps.size.target(height, width)
    if target is not None:
        frames = resize(frames, target, steps.how)
    if steps.crop is not None:
        frames = center_crop(frames, steps.crop)
    if steps.flip_channels:
        frames = frames.flip(1)
    values = frames.to(torch.float32, memory_format=torch.contiguous_format)
    values = values.mul_(_per_channel(steps.gain, values)).add_(_per_channel(steps.offset, values))
    if steps.pad_to is not None:
        values = pad(values, (0, steps.pad_to[1] - values.shape[-1], 0, steps.pad_to[0] - values.shape[-2]))
    return values


def _per_channel(numbers: tuple[float, float, float], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32, device=like.device).view(1, 3, 1, 1)


def to_device(frames: Sequence[Frame], device: torch.device) -> torch.Tensor:
    """Stack frames of one shape `(height, width, 3)` and send them as uint8; gives `(n, 3, height, width)`.

    The result is a view whose channels lie last in memory, as they do in the frames.
    """
    batch = torch.empty((len(frames), *frames[0].shape), dtype=torch.uint8, pin_memory=device.type == "cuda")
    for row, frame in zip(batch.numpy(), frames, strict=True):
        row[:] = frame
    return batch.to(device, non_blocking=True).permute(0, 3, 1, 2)


class Preprocessor:
    """A processor's work on batches: uint8 frames in, the model's inputs on `device` out."""

    def __init__(self, processor: ImageProcessor, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self._processor, self._device, self._dtype = processor, device, dtype
        self._masks: dict[Size, torch.Tensor | None] = {}
        self._processor_shapes: set[Size] = set()
        self._steps: Steps | None = None
        try:
            self._steps = steps_from(processor.to_dict())
        except NotCoveredError as reason:
            self._say_why(str(reason))

    def __call__(self, frames: Sequence[Frame]) -> dict[str, torch.Tensor]:
        """Give the model's inputs for frames of one shape: `pixel_values`, and `pixel_mask` if the processor does."""
        shape = (int(frames[0].shape[0]), int(frames[0].shape[1]))
        if self._steps is None or not self._agrees(shape, self._steps):
            return self._ask_processor(frames)
        values = run_steps(to_device(frames, self._device), self._steps)
        inputs = {"pixel_values": values.to(self._dtype)}
        mask = self._masks[shape]
        if mask is not None:
            inputs["pixel_mask"] = mask.to(torch.int64).expand(len(frames), -1, -1)
        return inputs

    def _agrees(self, shape: Size, steps: Steps) -> bool:
        """Compare with the processor itself, once for each shape; it alone decides about `pixel_mask`."""
        if shape not in self._masks and shape not in self._processor_shapes:
            picture = check_picture(*shape)
            theirs = self._processor([picture], return_tensors="pt")
            reason = _disagreement(run_steps(to_device([picture], self._device), steps), theirs, steps)
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
    unknown = set(theirs) - {"pixel_values", "pixel_mask"}
    if unknown:
        return f"it also gives {', '.join(sorted(unknown))}"
    values = theirs["pixel_values"]
    if values.shape != ours.shape:
        return f"it gives {tuple(values.shape)}, we would give {tuple(ours.shape)}"
    levels = ((ours.cpu() - values.float()).abs() / torch.tensor(steps.gain).abs().view(1, 3, 1, 1)).double()
    if levels.max() > _MOST_LEVELS:
        return f"we would differ by up to {levels.max():.2f} grey levels, {levels.mean():.4f} in the mean"
    return None
