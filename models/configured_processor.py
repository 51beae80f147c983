"""Image processors that transformers has for torchvision only, done from their configuration alone.

What they do to a frame is written down as `models.processor_steps` reads it, and what they make of a network's outputs
is borrowed from a kindred processor, or done here, where that is the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.functional import interpolate
from transformers import DeformableDetrImageProcessorPil, SegformerImageProcessorPil

from models.preprocessing import prepare
from models.processor_steps import steps_from
from models.vision_model import Frame

_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_ALWAYS = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
_DOCUMENT_LAYOUT = {
    **_ALWAYS,
    "size": {"height": 800, "width": 800},
    "resample": 3,
    "image_mean": (0.0, 0.0, 0.0),
    "image_std": (1.0, 1.0, 1.0),
}
_SQUARE_448 = {**_ALWAYS, "size": {"height": 448, "width": 448}, "resample": 2, "do_normalize": False}

_DEFAULTS: dict[str, dict[str, Any]] = {
    "RfDetrImageProcessor": {
        **_ALWAYS,
        **_IMAGENET,
        "size": {"shortest_edge": 800, "longest_edge": 1333},
        "resample": 2,
        "do_pad": True,
    },
    "PPDocLayoutV2ImageProcessor": _DOCUMENT_LAYOUT,
    "PPDocLayoutV3ImageProcessor": _DOCUMENT_LAYOUT,
    "Sapiens2ImageProcessor": {**_ALWAYS, **_IMAGENET, "size": {"height": 1024, "width": 768}, "resample": 2},
    "Tipsv2ImageProcessor": _SQUARE_448,
    "Tipsv2DptImageProcessor": _SQUARE_448,
}
"""The class defaults of transformers 5.23; a folder's configuration goes before them."""

_CLASS_OF = {
    "rf_detr": "RfDetrImageProcessor",
    "pp_doclayout_v2": "PPDocLayoutV2ImageProcessor",
    "pp_doclayout_v3": "PPDocLayoutV3ImageProcessor",
    "sapiens2": "Sapiens2ImageProcessor",
    "tipsv2": "Tipsv2ImageProcessor",
    "tipsv2_dpt": "Tipsv2DptImageProcessor",
}
"""By `model_type`, for a configuration that names no class."""


def processor_class(config: Mapping[str, Any]) -> str:
    """The name of the processor's class as transformers has it now: without `Fast` and `Pil`."""
    named = config.get("image_processor_type") or _CLASS_OF.get(str(config.get("model_type")), "")
    return str(named).removesuffix("Fast").removesuffix("Pil")


def is_configured(config: Mapping[str, Any]) -> bool:
    """Whether a preprocessor_config.json names a processor that is done here."""
    return processor_class(config) in _DEFAULTS


class ConfiguredProcessor:
    """What is asked of transformers' image processors, from a preprocessor_config.json that `is_configured`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Read the steps. Raises `NotCoveredError` where the configuration asks for something else."""
        kind = processor_class(config)
        told = {name: value for name, value in config.items() if value is not None}
        self._config = {**_DEFAULTS[kind], **told, "image_processor_type": kind}
        self._steps = steps_from(self._config)

    def to_dict(self) -> dict[str, Any]:
        """Give every attribute, class defaults included."""
        return dict(self._config)

    def __call__(self, images: Sequence[Frame], *, return_tensors: str = "pt") -> dict[str, torch.Tensor]:  # noqa: ARG002
        """Give `pixel_values` for RGB frames of one shape, and `pixel_mask` where the processor pads."""
        values = prepare(images, self._steps, torch.device("cpu"))
        inputs = {"pixel_values": values}
        if self._config.get("do_pad"):
            mask = torch.zeros((len(images), *values.shape[-2:]), dtype=torch.int64)
            height, width = images[0].shape[:2]
            target = self._steps.size.target(height, width) if self._steps.size else None
            filled = target or (height, width)
            mask[:, : filled[0], : filled[1]] = 1
            inputs["pixel_mask"] = mask
        return inputs

    def post_process_object_detection(
        self, outputs: Any, threshold: float, target_sizes: Sequence[tuple[int, int]]
    ) -> list[dict[str, torch.Tensor]]:
        """Give `scores`, `labels` and `boxes` of each frame: as many of the best (query, class) pairs as queries."""
        found: list[dict[str, torch.Tensor]] = DeformableDetrImageProcessorPil().post_process_object_detection(
            outputs, threshold=threshold, target_sizes=list(target_sizes), top_k=outputs["logits"].shape[1]
        )
        return found

    def post_process_semantic_segmentation(
        self, outputs: Any, target_sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[torch.Tensor]:
        """Give a map of class ids for each frame, of its target size."""
        maps: list[torch.Tensor] = SegformerImageProcessorPil().post_process_semantic_segmentation(
            outputs, None if target_sizes is None else list(target_sizes)
        )
        return maps

    def post_process_instance_segmentation(
        self,
        outputs: Any,
        threshold: float = 0.5,
        target_sizes: Sequence[tuple[int, int]] | None = None,
        mask_threshold: float = 0.0,
        **_: Any,
    ) -> list[dict[str, Any]]:
        """Give RF-DETR's instances: `segmentation` (n, height, width) of booleans, and `segments_info`, best first.

        Masks are the queries' own and may overlap; as in the authors' package, none is cut off by a better one.
        """
        logits, masks = outputs["logits"], outputs["pred_masks"]
        queries, classes = logits.shape[1:]
        best = logits.sigmoid().flatten(1).topk(min(queries, queries * classes), dim=1)
        sizes = target_sizes or [masks.shape[-2:]] * len(logits)
        return [
            _instances(scores, pairs, masks[frame], classes, threshold, mask_threshold, sizes[frame])
            for frame, (scores, pairs) in enumerate(zip(best.values, best.indices, strict=True))
        ]


def _instances(
    scores: torch.Tensor,
    pairs: torch.Tensor,
    masks: torch.Tensor,
    classes: int,
    threshold: float,
    mask_threshold: float,
    size: tuple[int, int],
) -> dict[str, Any]:
    kept = scores > threshold
    scores, pairs = scores[kept], pairs[kept]
    if not len(scores):
        return {"segmentation": masks.new_zeros((0, *size), dtype=torch.bool), "segments_info": []}
    chosen = masks[torch.div(pairs, classes, rounding_mode="floor")].float()
    filled = torch.stack([_resized(mask, size) > mask_threshold for mask in chosen])
    seen = filled.flatten(1).any(dim=1)
    labels, sure = (pairs % classes)[seen].tolist(), scores[seen].tolist()
    info = [
        {"id": number, "label_id": label, "score": score}
        for number, (label, score) in enumerate(zip(labels, sure, strict=True), start=1)
    ]
    return {"segmentation": filled[seen], "segments_info": info}


def _resized(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """One at a time: 300 masks of a 4K frame as floats would take 10 GB."""
    return interpolate(mask[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
