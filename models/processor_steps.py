"""A processor's configuration → the steps that it takes a frame through, as plain values. Does nothing to pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import PermanentError
from models.frame_sizes import Size, SizeRule
from models.resizing import PILLOW_FILTERS, ResizeFilter

_CONVNEXT_WARP_EDGE = 384
"""From this edge on, ConvNeXt's evaluation resizes to a square and crops nothing."""
_LEVIT_MARGIN = 256 / 224
"""LeViT's shorter edge is so much longer than `size` says, and the middle is cut out."""

Resizer = Literal["pillow", "plain bytes", "plain floats", "scipy"]
"""Whose arithmetic resizes.

`pillow`: nearly all. `plain bytes`: torch's without antialias, rounded to grey levels (PP-DocLayout). `plain floats`:
the same on rescaled values, not rounded (RF-DETR). `scipy`: Gaussian blur, then linear, in floats (OWLv2).
"""


class NotCoveredError(PermanentError):
    """The configuration asks for a step that only the processor itself can do."""


@dataclass(frozen=True)
class Steps:
    """What is done to a frame, in this order; whole pictures in, floats out."""

    squared: bool
    """Black is added below or to the right until the frame is a square."""
    crop_first: tuple[float, float] | None
    """The middle is cut out before resizing: these shares of the shorter side, down and across (Perceiver)."""
    size: SizeRule | None
    resizer: Resizer
    how: ResizeFilter
    crop: Size | None
    black_to: Size | None
    """Black is added below and to the right (EoMT)."""
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
    size, crop, crop_first = _size_rule(config, kind), _crop(config), None
    if kind.startswith("ConvNext") and size is not None and size.shortest_edge:
        size, crop = _convnext(config, size.shortest_edge)
    if kind.startswith("Perceiver"):
        crop_first, crop = _perceiver(config), None
    gain, offset = _gain_and_offset(config)
    return Steps(
        squared=kind.startswith("Owlv2") and bool(config.get("do_pad")),
        crop_first=crop_first,
        size=size,
        resizer=_resizer(kind),
        how=_filter(config) if size else "bilinear",
        crop=crop,
        black_to=_eomt_frame(config, kind),
        flip_channels=bool(config.get("do_flip_channel_order")),
        gain=gain,
        offset=offset,
        pad_to=_pair_of(config.get("pad_size")) if config.get("do_pad") else None,
    )


def _resizer(kind: str) -> Resizer:
    if kind.startswith("RfDetr"):
        return "plain floats"
    if kind.startswith("PPDocLayout"):
        return "plain bytes"
    return "scipy" if kind.startswith("Owlv2") else "pillow"


def _filter(config: Mapping[str, Any]) -> ResizeFilter:
    resample = config.get("resample", 2)
    if resample is None or int(resample) not in PILLOW_FILTERS:
        raise NotCoveredError(f"the resample filter {resample} is none of Pillow's")
    return PILLOW_FILTERS[int(resample)]


def _size_rule(config: Mapping[str, Any], kind: str) -> SizeRule | None:
    if not config.get("do_resize"):
        return None
    size = config.get("size")
    if not isinstance(size, Mapping):
        raise NotCoveredError(f"the size {size!r} is no set of named edges")
    edges = {name: int(value) for name, value in size.items() if value is not None}
    if not edges or not edges.keys() <= SizeRule.EDGES:
        raise NotCoveredError(f"the size {dict(size)} names edges that are none of ours")
    if kind.startswith("PoolFormer") and config.get("crop_pct"):
        edges = _poolformer(edges, float(config["crop_pct"]))
    if kind.startswith("Levit") and "shortest_edge" in edges:
        edges = {"shortest_edge": int(_LEVIT_MARGIN * edges["shortest_edge"])}
    if kind.startswith("Yolos"):
        return SizeRule(**edges, round_down_to=16)
    if kind.startswith("DPT"):
        return SizeRule(**edges, nearest_to=int(config["ensure_multiple_of"]), fit=bool(config["keep_aspect_ratio"]))
    return SizeRule(**edges, round_up_to=int(config.get("size_divisor") or 1))


def _poolformer(edges: Mapping[str, int], crop_pct: float) -> dict[str, int]:
    """The shorter edge becomes edge / crop_pct, also where the size is that of a square."""
    if "shortest_edge" in edges:
        return {"shortest_edge": int(edges["shortest_edge"] / crop_pct)}
    if edges.get("height") and edges.get("height") == edges.get("width"):
        return {"shortest_edge": int(edges["height"] / crop_pct)}
    return {name: int(edge / crop_pct) for name, edge in edges.items()}


def _perceiver(config: Mapping[str, Any]) -> tuple[float, float] | None:
    size, crop = _pair_of(config.get("size")), _crop(config)
    return (size[0] / crop[0], size[1] / crop[1]) if size and crop else None


def _eomt_frame(config: Mapping[str, Any], kind: str) -> Size | None:
    """What EoMT makes a frame up to. It sees whole frames where objects are wanted, patches where only classes are."""
    if not kind.startswith("Eomt"):
        return None
    if config.get("do_split_image"):
        raise NotCoveredError("it cuts a frame into patches")
    edges = config["size"]
    height, width = edges["shortest_edge"], edges.get("longest_edge") or edges["shortest_edge"]
    return (int(height), int(width)) if config.get("do_pad") else None


def _crop(config: Mapping[str, Any]) -> Size | None:
    return _pair_of(config.get("crop_size")) if config.get("do_center_crop") else None


def _pair_of(size: Any) -> Size | None:
    if size is None:
        return None
    if not isinstance(size, Mapping) or not (size.get("height") and size.get("width")):
        raise NotCoveredError(f"the size {size!r} does not name a height and a width")
    return int(size["height"]), int(size["width"])


def _convnext(config: Mapping[str, Any], edge: int) -> tuple[SizeRule, Size | None]:
    """Below 384 the shorter edge becomes edge / crop_pct and the middle is cut out; from 384 on a plain square."""
    if edge >= _CONVNEXT_WARP_EDGE:
        return SizeRule(height=edge, width=edge), _crop(config)
    return SizeRule(shortest_edge=int(edge / float(config.get("crop_pct", 224 / 256)))), (edge, edge)


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
