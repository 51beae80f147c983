"""Object detection with transformers' detectors (DETR and its kin: RT-DETR, D-FINE, YOLOS, Deformable DETR …)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.elements import Detection, DetectionElement
from models.transformers_model import TransformersModel
from models.vision_model import Frame

_PIXEL_DECIMALS = 3
_CONFIDENCE_DECIMALS = 6


class ObjectDetection(TransformersModel):
    """A detector whose processor has `post_process_object_detection`.

    These models predict a set: each query stands for one object at most, and nothing is suppressed afterwards, so
    `iou_threshold` plays no part. Boxes are what transformers gives, not clipped: one may reach beyond the frame.
    """

    inference_type = "object-detection"
    auto_class = "AutoModelForObjectDetection"

    def predict(self, frames: Sequence[Frame]) -> list[DetectionElement]:
        """Give one element per frame, detections with more than the confidence asked for, the surest first."""
        height, width = frames[0].shape[:2]
        outputs = self.loaded.forward(frames)
        found = self.loaded.processor.post_process_object_detection(
            outputs, threshold=self._params.confidence, target_sizes=[(height, width)] * len(frames)
        )
        names, most = self.loaded.class_names, self._params.max_detections
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
