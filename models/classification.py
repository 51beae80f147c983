"""Classification with image classifiers of transformers or in ONNX: one label of many, or many labels at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from models.class_columns import ClassificationColumns
from models.detections import image_size
from models.elements import ClassificationElement, ImageSize, MultiLabelElement
from models.onnx_folder import is_onnx_folder
from models.transformers_model import TransformersModel
from models.vision_model import Frame

if TYPE_CHECKING:
    import pyarrow as pa

    from models.onnx_models import OnnxClassifier

_CONFIDENCE_DECIMALS = 6
_COLUMNS = ClassificationColumns()
_MANY_LABELS = "multi_label_classification"
"""`problem_type` of configurations whose classes do not exclude each other."""


class Classification(TransformersModel):
    """An image classifier; its configuration, or its card, says whether a frame has one label or many."""

    inference_type = "classification"
    auto_class = "AutoModelForImageClassification"
    _onnx: OnnxClassifier | None = None

    def setup(self, device: str) -> None:
        """Load weights onto `device`. Raises `ModelLoadError`."""
        if not is_onnx_folder(self._folder):
            super().setup(device)
            return
        from models.onnx_models import OnnxClassifier

        self._onnx = OnnxClassifier(self._folder, self._params)
        self._onnx.setup(device)

    def predict(self, frames: Sequence[Frame]) -> list[ClassificationElement | MultiLabelElement]:
        """Give one element per frame: every class with its softmax score, or with its sigmoid score."""
        return cast("list[ClassificationElement | MultiLabelElement]", _COLUMNS.elements(self.predict_rows(frames)))

    def predict_rows(self, frames: Sequence[Frame]) -> pa.RecordBatch:
        """Give the same as columns."""
        image, params = image_size(frames[0]), self._params
        scores, many = self._scores(frames)
        names = (self._onnx or self.loaded).class_names
        if many:
            return _COLUMNS.rows([many_labels(one, names, image, params.confidence) for one in scores])
        return _COLUMNS.of_classes(image, *sorted_classes(scores, params.top_k), names)

    def _scores(self, frames: Sequence[Frame]) -> tuple[NDArray[np.float32], bool]:
        """`(n, classes)`, and whether a frame may have several of the classes."""
        if self._onnx is not None:
            return self._onnx.scores(frames), self._onnx.many_labels
        logits = self.loaded.forward(frames)["logits"]
        many = self.loaded.network.config.problem_type == _MANY_LABELS
        return (logits.sigmoid() if many else logits.softmax(dim=-1)).cpu().numpy(), many


def sorted_classes(scores: NDArray[np.float32], top_k: int | None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Sort softmax `scores` `(n, classes)`; gives the class ids of each, the best first, and their confidences."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return order, np.take_along_axis(scores, order, axis=1).astype(np.float64).round(_CONFIDENCE_DECIMALS)


def one_label(
    scores: NDArray[np.float32], names: Sequence[str], image: ImageSize, top_k: int | None
) -> ClassificationElement:
    """Sort softmax `scores` (classes,), the best first, all of them or `top_k`."""
    order, confidences = (one[0].tolist() for one in sorted_classes(scores[None], top_k))
    return {
        "image": image,
        "predictions": [
            {"class": names[class_id], "class_id": class_id, "confidence": confidence}
            for class_id, confidence in zip(order, confidences, strict=True)
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
