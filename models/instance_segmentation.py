"""Instance segmentation: transformers' set predictors (Mask2Former, MaskFormer, EoMT, RF-DETR), or YOLO in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch

from models.box_columns import InstanceColumns
from models.detections import image_size
from models.elements import InstanceElement
from models.instances import FoundInstances, instance_rows
from models.onnx_folder import is_onnx_folder
from models.query_masks import INSTANCE_READERS, found_instances, frame_logits, kind_of
from models.segmenter_loading import UNIVERSAL, load_segmenter
from models.transformers_model import TransformersModel
from models.vision_model import Frame, ModelLoadError

if TYPE_CHECKING:
    import pyarrow as pa

    from models.onnx_segmenters import OnnxInstances


class InstanceSegmentation(TransformersModel):
    """A network of queries, each with a class and a mask; or, in a folder with a card, one that runs on onnxruntime.

    Of queries nothing is suppressed afterwards, so `iou_threshold` plays no part, and masks may overlap. An object
    whose mask has no pixel on the frame is left out.
    """

    inference_type = "instance-segmentation"
    auto_class = UNIVERSAL
    _onnx: OnnxInstances | None = None

    def setup(self, device: str) -> None:
        """Load weights onto `device`. Raises `ModelLoadError`."""
        if is_onnx_folder(self._folder):
            from models.onnx_segmenters import OnnxInstances

            self._onnx = OnnxInstances(self._folder, self._params)
            self._onnx.setup(device)
            return
        model = load_segmenter(
            self._folder,
            inference_type=self.inference_type,
            device=device,
            precision=self._precision,
            compiled=self._params.compile,
        )
        kind = kind_of(model.processor)
        if kind not in INSTANCE_READERS:
            raise ModelLoadError(
                f"the model's image processor is a {kind}, whose instances cannot be read; take a model with one of "
                f"these: {', '.join(INSTANCE_READERS)}."
            )
        self._model = model

    def predict(self, frames: Sequence[Frame]) -> list[InstanceElement]:
        """Give one element per frame, instances with at least the confidence asked for, the surest first."""
        return cast("list[InstanceElement]", InstanceColumns().elements(self.predict_rows(frames)))

    def predict_rows(self, frames: Sequence[Frame]) -> pa.RecordBatch:
        """Give the same as columns."""
        params, names = self._params, (self._onnx or self.loaded).class_names
        return instance_rows(
            self._found(frames),
            names,
            image_size(frames[0]),
            most=params.max_detections,
            mask_format=params.mask_format,
        )

    def _found(self, frames: Sequence[Frame]) -> list[FoundInstances]:
        if self._onnx is not None:
            return self._onnx.detect(frames)
        size = (int(frames[0].shape[0]), int(frames[0].shape[1]))
        processor, least = self.loaded.processor, self._params.confidence
        with torch.inference_mode():
            outputs = self.loaded.forward(frames)
            return [found_instances(frame_logits(outputs, row), processor, size, least) for row in range(len(frames))]
