"""Which class runs which `inference_type`. Resolved when used: importing this module imports no model code."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from models.runtime_imports import importing

if TYPE_CHECKING:
    from models.vision_model import VisionModel

TYPES: dict[str, str] = {
    "object-detection": "models.object_detection:ObjectDetection",
    "instance-segmentation": "models.instance_segmentation:InstanceSegmentation",
    "semantic-segmentation": "models.semantic_segmentation:SemanticSegmentation",
    "classification": "models.classification:Classification",
    "keypoint-detection": "models.keypoint_detection:KeyPointDetection",
    "gaze-detection": "models.gaze:GazeDetection",
    "clip-embed-image": "models.clip:ClipEmbedImage",
    "clip-compare": "models.clip_compare:ClipCompare",
}


def vision_model_class(inference_type: str) -> type[VisionModel]:
    """Import and return the class that runs `inference_type`; `KeyError` when there is none."""
    module_name, class_name = TYPES[inference_type].split(":")
    with importing():
        return cast("type[VisionModel]", getattr(import_module(module_name), class_name))
