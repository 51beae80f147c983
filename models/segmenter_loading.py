"""Loads networks that segment: one inference type may come as either of two of transformers' Auto classes."""

from __future__ import annotations

import json
from pathlib import Path

from transformers.models.auto.modeling_auto import (
    MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES,
    MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
    MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES,
)

from models.transformers_loading import LoadedModel, load_model
from models.vision_model import Precision

UNIVERSAL = "AutoModelForUniversalSegmentation"
"""Networks whose masks serve as instances and as a map of classes."""
_CLASSES = (
    (UNIVERSAL, MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES),
    ("AutoModelForInstanceSegmentation", MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES),
    ("AutoModelForSemanticSegmentation", MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES),
)


def load_segmenter(
    folder: Path, *, inference_type: str, device: str, precision: Precision, compiled: bool = False
) -> LoadedModel:
    """Load `folder` as what its `model_type` is for. Raises `ModelLoadError`."""
    return load_model(
        folder,
        inference_type=inference_type,
        auto_class=segmenter_class(folder),
        device=device,
        precision=precision,
        compiled=compiled,
    )


def segmenter_class(folder: Path) -> str:
    """The name of the Auto class for the folder's `model_type`; where it cannot be told, loading says why."""
    try:
        model_type = str(json.loads((folder / "config.json").read_bytes())["model_type"])
    except (OSError, ValueError, LookupError, TypeError):
        return UNIVERSAL
    return next((name for name, model_types in _CLASSES if model_type in model_types), UNIVERSAL)
