"""Which `inference_type` the architectures in a model's config.json can run. Imports no model code."""

from __future__ import annotations

from collections.abc import Sequence

_ZERO_SHOT = (
    "OwlViTForObjectDetection",
    "Owlv2ForObjectDetection",
    "GroundingDinoForObjectDetection",
    "MMGroundingDinoForObjectDetection",
    "OmDetTurboForObjectDetection",
)
_CONTRASTIVE = ("CLIPModel", "SiglipModel", "Siglip2Model", "MetaClip2Model", "AltCLIPModel", "ChineseCLIPModel")
_UNIVERSAL = ("ForUniversalSegmentation", "MaskFormerForInstanceSegmentation")
"""Their masks serve as instances and as a map of classes."""

ARCHITECTURE_MARKS: dict[str, tuple[str, ...]] = {
    "object-detection": ("ForObjectDetection",),
    "classification": ("ForImageClassification",),
    "instance-segmentation": ("ForInstanceSegmentation", *_UNIVERSAL),
    "semantic-segmentation": ("ForSemanticSegmentation", *_UNIVERSAL),
    "keypoint-detection": ("ForPoseEstimation",),
    "clip-embed-image": (*_CONTRASTIVE, "CLIPVisionModelWithProjection", "MetaClip2VisionModelWithProjection"),
    "clip-compare": _CONTRASTIVE,
}
"""transformers names a class by what its head is for: `RTDetrV2ForObjectDetection`, `ViTForImageClassification`."""


def types_of(architectures: Sequence[str]) -> list[str]:
    """The inference types that one of the named architectures runs; empty where none does, or none is named."""
    return [
        inference_type
        for inference_type, marks in ARCHITECTURE_MARKS.items()
        if any(mark in name for mark in marks for name in architectures)
    ]


def needs_prompts(architectures: Sequence[str]) -> bool:
    """Whether the detector finds what a request's `prompts` name, rather than classes of its own."""
    return any(name in _ZERO_SHOT for name in architectures)
