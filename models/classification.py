"""Classification with transformers' image classifiers: one label of many, or many labels at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.elements import ClassificationElement, ImageSize, MultiLabelElement
from models.transformers_model import TransformersModel
from models.vision_model import Frame

_CONFIDENCE_DECIMALS = 6
_MANY_LABELS = "multi_label_classification"
"""`problem_type` of configurations whose classes do not exclude each other."""


class Classification(TransformersModel):
    """An image classifier; its configuration's `problem_type` says whether a frame has one label or many."""

    inference_type = "classification"
    auto_class = "AutoModelForImageClassification"

    def predict(self, frames: Sequence[Frame]) -> list[ClassificationElement | MultiLabelElement]:
        """Give one element per frame: every class with its softmax score, or with its sigmoid score."""
        logits = self.loaded.forward(frames)["logits"]
        image: ImageSize = {"width": int(frames[0].shape[1]), "height": int(frames[0].shape[0])}
        names = self.loaded.class_names
        if self.loaded.network.config.problem_type == _MANY_LABELS:
            scores = logits.sigmoid().cpu().numpy()
            return [many_labels(one, names, image, self._params.confidence) for one in scores]
        scores = logits.softmax(dim=-1).cpu().numpy()
        return [one_label(one, names, image, self._params.top_k) for one in scores]


def one_label(
    scores: NDArray[np.float32], names: Sequence[str], image: ImageSize, top_k: int | None
) -> ClassificationElement:
    """Sort softmax `scores` (classes,), the best first, all of them or `top_k`."""
    order = np.argsort(-scores, kind="stable")[:top_k]
    confidences = scores[order].astype(np.float64).round(_CONFIDENCE_DECIMALS).tolist()
    return {
        "image": image,
        "predictions": [
            {"class": names[class_id], "class_id": class_id, "confidence": confidence}
            for class_id, confidence in zip(order.tolist(), confidences, strict=True)
        ],
        "top": names[order[0]],
        "confidence": confidences[0],
    }


def many_labels(
    scores: NDArray[np.float32], names: Sequence[str], image: ImageSize, threshold: float
) -> MultiLabelElement:
    """Name every class with its sigmoid score (classes,), and those at or above `threshold` again, the best first.

    Classes that share a name would hide each other, so each of them gets its number too: `crane (134)`.
    """
    repeated = {name for name, count in Counter(names).items() if count > 1}
    keys = [f"{name} ({index})" if name in repeated else name for index, name in enumerate(names)]
    confidences = scores.astype(np.float64).round(_CONFIDENCE_DECIMALS).tolist()
    order = np.argsort(-scores, kind="stable").tolist()
    return {
        "image": image,
        "predictions": {
            keys[class_id]: {"confidence": confidence, "class_id": class_id}
            for class_id, confidence in enumerate(confidences)
        },
        "predicted_classes": [keys[class_id] for class_id in order if confidences[class_id] >= threshold],
    }
