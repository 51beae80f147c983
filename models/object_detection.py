"""Object detection, whatever runs it: what a detector finds in frames becomes elements.

Which detector is told from the folder: transformers' own classes, what the request's prompts name, or ONNX with a card.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from models.box_columns import BoxColumns
from models.detections import FoundBoxes, RoundedBoxes, image_size, rounded_boxes
from models.elements import DetectionElement
from models.onnx_folder import is_onnx_folder
from models.vision_model import Frame, Precision

if TYPE_CHECKING:
    import pyarrow as pa

    from models.request import InferenceParams

_COLUMNS = BoxColumns()


class Detector(Protocol):
    """A network that finds boxes."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class id, once it is set up."""

    def setup(self, device: str) -> None:
        """Load weights onto `device`; once per worker. Raises `ModelLoadError`."""

    def detect(self, frames: Sequence[Frame]) -> list[FoundBoxes]:
        """Give what was found in each frame, all of one shape, at the confidence asked for."""


class ObjectDetection:
    """A detector's elements; `FoundBoxes` of every kind of network end here."""

    inference_type = "object-detection"

    def __init__(self, folder: Path, params: InferenceParams, *, precision: Precision = "auto") -> None:
        """Remember what to load; reads nothing."""
        self._folder, self._params, self._precision = folder, params, precision
        self._detector: Detector | None = None

    def setup(self, device: str) -> None:
        """Load weights onto `device`. Raises `ModelLoadError`, and for prompts what `models.prompts` raises."""
        detector = _detector(self._folder, self._params, self._precision)
        detector.setup(device)
        self._detector = detector

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class id; an `AssertionError` before `setup`."""
        assert self._detector is not None, "setup comes before predict"
        return self._detector.class_names

    def predict(self, frames: Sequence[Frame]) -> list[DetectionElement]:
        """Give one element per frame, the surest detection first."""
        return cast("list[DetectionElement]", _COLUMNS.elements(self.predict_rows(frames)))

    def predict_rows(self, frames: Sequence[Frame]) -> pa.RecordBatch:
        """Give the same as columns."""
        boxes = self.boxes(frames)
        return _COLUMNS.of_boxes(image_size(frames[0]), boxes.counts, boxes.columns(self.class_names))

    def boxes(self, frames: Sequence[Frame]) -> RoundedBoxes:
        """Give the boxes of all frames as arrays."""
        assert self._detector is not None, "setup comes before predict"
        return rounded_boxes(self._detector.detect(frames), self._params.max_detections)


def _detector(folder: Path, params: InferenceParams, precision: Precision) -> Detector:
    from models.prompts import refuse_prompts

    if is_onnx_folder(folder):
        from models.onnx_models import OnnxDetector

        refuse_prompts(params)
        return OnnxDetector(folder, params)
    from models.prompted_detector import PromptedDetector, takes_prompts
    from models.transformers_detector import TransformersDetector
    from models.transformers_loading import read_config

    if takes_prompts(read_config(folder)):
        return PromptedDetector(folder, params, precision)
    refuse_prompts(params)
    return TransformersDetector(folder, params, precision)
