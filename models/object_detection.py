"""Object detection with transformers' detectors (DETR and its kin: RT-DETR, D-FINE, YOLOS, Deformable DETR …)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.elements import Detection, DetectionElement
from models.vision_model import Frame, Precision

if TYPE_CHECKING:
    from models.request import InferenceParams
    from models.transformers_loading import LoadedModel

_PIXEL_DECIMALS = 3
_CONFIDENCE_DECIMALS = 6


class ObjectDetection:
    """A detector whose processor has `post_process_object_detection`.

    These models predict a set: each query stands for one object at most, and nothing is suppressed afterwards, so
    `iou_threshold` plays no part. Boxes are what transformers gives, not clipped: one may reach beyond the frame.
    """

    def __init__(self, folder: Path, params: InferenceParams, *, precision: Precision = "auto") -> None:
        """Remember what to load; reads nothing."""
        self._folder, self._params, self._precision = folder, params, precision
        self._model: LoadedModel | None = None

    def setup(self, device: str) -> None:
        """Load weights onto `device`. Raises `ModelLoadError`."""
        from models.transformers_loading import load_model

        self._model = load_model(
            self._folder,
            inference_type="object-detection",
            auto_class="AutoModelForObjectDetection",
            device=device,
            precision=self._precision,
        )

    def predict(self, frames: Sequence[Frame]) -> list[DetectionElement]:
        """Give one element per frame, detections with more than the confidence asked for, the surest first."""
        assert self._model is not None, "setup comes before predict"
        height, width = frames[0].shape[:2]
        outputs = self._model.forward(frames)
        found = self._model.processor.post_process_object_detection(
            outputs, threshold=self._params.confidence, target_sizes=[(height, width)] * len(frames)
        )
        names, most = self._model.class_names, self._params.max_detections
        return [
            {"image": {"width": width, "height": height}, "predictions": detections(one, names, most)} for one in found
        ]


def detections(found: dict[str, Any], class_names: Sequence[str], most: int) -> list[Detection]:
    """Turn one frame's `scores` (n,), `labels` (n,), `boxes` (n, 4; left, top, right, bottom) into at most `most`."""
    scores = found["scores"].cpu().numpy().astype(np.float64)
    order = np.argsort(-scores, kind="stable")[:most]
    boxes = found["boxes"].cpu().numpy().astype(np.float64)[order]
    corners, opposite = boxes[:, :2], boxes[:, 2:]
    places = np.concatenate([(corners + opposite) / 2, opposite - corners], axis=1).round(_PIXEL_DECIMALS).tolist()
    confidences = scores[order].round(_CONFIDENCE_DECIMALS).tolist()
    class_ids = found["labels"].cpu().numpy()[order].tolist()
    return [
        {
            "x": x,
            "y": y,
            "width": width,
            "height": height,
            "confidence": confidence,
            "class": class_names[class_id],
            "class_id": class_id,
        }
        for (x, y, width, height), confidence, class_id in zip(places, confidences, class_ids, strict=True)
    ]
