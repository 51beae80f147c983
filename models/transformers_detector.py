"""Detectors of transformers that find classes of their own: DETR and its kin, YOLOS, RT-DETR, D-FINE, RF-DETR …"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.detections import FoundBoxes
from models.request import InferenceParams
from models.transformers_loading import LoadedModel, load_model
from models.vision_model import Frame, Precision

_AUTO_CLASS = "AutoModelForObjectDetection"


class TransformersDetector:
    """A detector whose processor has `post_process_object_detection`.

    These networks predict a set: each query stands for one object at most, and nothing is suppressed afterwards, so
    `iou_threshold` plays no part. Boxes are what transformers gives, not clipped: one may reach beyond the frame.
    """

    def __init__(self, folder: Path, params: InferenceParams, precision: Precision) -> None:
        """Remember what to load; reads nothing."""
        self._folder, self._params, self._precision = folder, params, precision
        self._loaded: LoadedModel | None = None

    def setup(self, device: str) -> None:
        """Load weights onto `device`. Raises `ModelLoadError`."""
        self._loaded = load_model(
            self._folder,
            inference_type="object-detection",
            auto_class=_AUTO_CLASS,
            device=device,
            precision=self._precision,
            compiled=self._params.compile,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class id."""
        return self._ready.class_names

    @property
    def _ready(self) -> LoadedModel:
        assert self._loaded is not None, "setup comes before predict"
        return self._loaded

    def detect(self, frames: Sequence[Frame]) -> list[FoundBoxes]:
        """Give what was found in each frame with more than the confidence asked for."""
        outputs = self._ready.forward(frames)
        # What is read frame by frame below comes from the device in one piece: each copy waits for all that is queued.
        for name in ("logits", "pred_boxes"):
            outputs[name] = outputs[name].cpu()
        height, width = frames[0].shape[:2]
        found = self._ready.processor.post_process_object_detection(
            outputs, threshold=self._params.confidence, target_sizes=[(height, width)] * len(frames)
        )
        return [found_boxes(one) for one in found]


def found_boxes(found: Mapping[str, Any]) -> FoundBoxes:
    """Take one frame's `scores` (n,), `labels` (n,) and `boxes` (n, 4) as transformers gives them."""
    return FoundBoxes(
        scores=found["scores"].cpu().numpy().astype(np.float64),
        class_ids=found["labels"].cpu().numpy().astype(np.int64),
        boxes=found["boxes"].cpu().numpy().astype(np.float64),
    )
