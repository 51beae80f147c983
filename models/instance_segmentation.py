"""Instance segmentation with transformers' set predictors: Mask2Former, MaskFormer, EoMT, RF-DETR's masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from models.detections import image_size
from models.elements import InstanceElement
from models.instances import FoundInstances, instance_detections
from models.query_masks import INSTANCE_READERS, found_instances, frame_logits, kind_of
from models.segmenter_loading import UNIVERSAL, load_segmenter
from models.transformers_model import TransformersModel
from models.vision_model import Frame, ModelLoadError


class InstanceSegmentation(TransformersModel):
    """A network of queries, each with a class and a mask.

    Nothing is suppressed afterwards, so `iou_threshold` plays no part, and masks may overlap. An object whose mask has
    no pixel on the frame is left out.
    """

    inference_type = "instance-segmentation"
    auto_class = UNIVERSAL

    def setup(self, device: str) -> None:
        """Load weights onto `device`. Raises `ModelLoadError`."""
        model = load_segmenter(
            self._folder, inference_type=self.inference_type, device=device, precision=self._precision
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
        names, params = self.loaded.class_names, self._params
        return [
            {
                "image": image_size(frame),
                "predictions": instance_detections(
                    found, names, image_size(frame), most=params.max_detections, mask_format=params.mask_format
                ),
            }
            for frame, found in zip(frames, self._found(frames), strict=True)
        ]

    def _found(self, frames: Sequence[Frame]) -> list[FoundInstances]:
        size = (int(frames[0].shape[0]), int(frames[0].shape[1]))
        processor, least = self.loaded.processor, self._params.confidence
        with torch.inference_mode():
            outputs = self.loaded.forward(frames)
            return [found_instances(frame_logits(outputs, row), processor, size, least) for row in range(len(frames))]
