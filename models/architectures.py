"""Which `inference_type` the architectures in a model's config.json can run. Imports no model code."""

from __future__ import annotations

from collections.abc import Sequence

ARCHITECTURE_MARKS: dict[str, str] = {
    "object-detection": "ForObjectDetection",
    "classification": "ForImageClassification",
}
"""transformers names a class by what its head is for: `RTDetrV2ForObjectDetection`, `ViTForImageClassification`."""


def types_of(architectures: Sequence[str]) -> list[str]:
    """The inference types that one of the named architectures runs; empty where none does, or none is named."""
    return [
        inference_type
        for inference_type, mark in ARCHITECTURE_MARKS.items()
        if any(mark in name for name in architectures)
    ]
