"""Detectors that find what texts name: OWL-ViT, OWLv2, Grounding DINO, MM Grounding DINO, OmDet-Turbo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES

from models.contrastive import load_tokenizer
from models.detections import FoundBoxes
from models.prompted_networks import FAMILIES, PromptedNetwork
from models.prompts import asked_prompts
from models.request import InferenceParams
from models.transformers_loading import LoadedModel, checked, load_model
from models.vision_model import Frame, ModelLoadError, Precision

_AUTO_CLASS = "AutoModelForZeroShotObjectDetection"


def takes_prompts(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is that of a detector that finds what texts name."""
    return config.get("model_type") in MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES


class PromptedDetector:
    """Classes are the request's prompts, in their order; texts become numbers once, in `setup`."""

    def __init__(self, folder: Path, params: InferenceParams, precision: Precision) -> None:
        """Remember what to load; reads nothing."""
        self._folder, self._params, self._precision = folder, params, precision
        self._ready: tuple[LoadedModel, PromptedNetwork] | None = None
        self.class_names: tuple[str, ...] = ()

    def setup(self, device: str) -> None:
        """Load weights onto `device` and read the prompts.

        Raises `ModelLoadError`, `PromptsMissingError`, and `BadRequestError` for prompts that are too long.
        """
        prompts = asked_prompts(self._params, "object-detection")
        loaded = load_model(
            self._folder,
            inference_type="object-detection",
            auto_class=_AUTO_CLASS,
            device=device,
            precision=self._precision,
        )
        model_type = str(loaded.network.config.model_type)
        if model_type not in FAMILIES:
            raise ModelLoadError(f"detectors of the kind {model_type} are not run here; take {' or '.join(FAMILIES)}.")
        with torch.inference_mode():
            network = FAMILIES[model_type](loaded, load_tokenizer(self._folder), prompts.texts)
        self.class_names, self._ready = prompts.names, (loaded, network)

    def detect(self, frames: Sequence[Frame]) -> list[FoundBoxes]:
        """Give what was found in each frame with more than the confidence asked for."""
        assert self._ready is not None, "setup comes before predict"
        loaded, network = self._ready
        height, width = frames[0].shape[:2]
        with torch.inference_mode():
            outputs = checked(network.answer(loaded.preprocess(frames)))
            return network.found(outputs, (height, width), self._params)
