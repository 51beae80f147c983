"""Semantic segmentation with transformers: networks that score classes for each pixel, and those that predict masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers.image_transforms import get_size_with_aspect_ratio

from models.class_maps import MOST_CLASSES, ClassMap, class_map
from models.detections import class_name, image_size
from models.elements import ImageSize, SegmentationElement
from models.frame_patches import joined_patches, patch_spans
from models.frame_sizes import Size
from models.masks import png_base64
from models.onnx_folder import is_onnx_folder
from models.query_masks import CLASS_GRIDS, class_scores, frame_logits, kind_of
from models.segmenter_loading import UNIVERSAL, load_segmenter, segmenter_class
from models.transformers_model import TransformersModel
from models.vision_model import Frame, ModelLoadError

if TYPE_CHECKING:
    from models.onnx_segmenters import OnnxSemantic


class SemanticSegmentation(TransformersModel):
    """A network that gives every pixel a class.

    Scores are taken to the frame's size before the best is chosen, as transformers does it, so that borders run between
    the frame's own pixels. The confidence is the class's softmax score there; networks that predict masks have no
    softmax over classes, and the confidence is then what the masks add up to for the class, 1 at most.
    """

    inference_type = "semantic-segmentation"
    auto_class = "AutoModelForSemanticSegmentation"
    _onnx: OnnxSemantic | None = None

    def setup(self, device: str) -> None:
        """Load weights onto `device`. Raises `ModelLoadError`."""
        if is_onnx_folder(self._folder):
            from models.onnx_segmenters import OnnxSemantic

            self._onnx = OnnxSemantic(self._folder, self._params)
            self._onnx.setup(device)
            return
        model = load_segmenter(
            self._folder,
            inference_type=self.inference_type,
            device=device,
            precision=self._precision,
            compiled=self._params.compile,
        )
        if len(model.class_names) > MOST_CLASSES:
            raise ModelLoadError(
                f"the model has {len(model.class_names)} classes; a map of classes has 8 bits for each pixel, which is "
                f"enough for {MOST_CLASSES}."
            )
        kind = kind_of(model.processor)
        if segmenter_class(self._folder) == UNIVERSAL and kind not in CLASS_GRIDS:
            raise ModelLoadError(
                f"the model's image processor is a {kind}, whose masks cannot be read; take a model with one of "
                f"these: {', '.join(CLASS_GRIDS)}."
            )
        self._model = model

    def predict(self, frames: Sequence[Frame]) -> list[SegmentationElement]:
        """Give one element per frame: a class for every pixel."""
        if self._onnx is not None:
            image, classes = image_size(frames[0]), self._onnx.class_names
            return [segmentation_element(found, classes, image) for found in self._onnx.class_maps(frames)]
        names = self.loaded.class_names
        with torch.inference_mode():
            outputs = self.loaded.forward(frames)
            return [
                segmentation_element(self._class_map(outputs, number, frame), names, image_size(frame))
                for number, frame in enumerate(frames)
            ]

    def _class_map(self, outputs: Any, number: int, frame: Frame) -> ClassMap:
        size = (int(frame.shape[0]), int(frame.shape[1]))
        if "logits" in outputs:
            return class_map(outputs["logits"][number], size, softmax=True)
        config = self.loaded.processor.to_dict()
        if config.get("do_split_image"):
            scores = self._from_patches(outputs, number, size, config["size"])
        else:
            scores = class_scores(frame_logits(outputs, number), self.loaded.processor)
        return class_map(scores, size, softmax=False)

    def _from_patches(self, outputs: Any, number: int, size: Size, edges: Any) -> torch.Tensor:
        edge = int(edges["shortest_edge"])
        seen = get_size_with_aspect_ratio(size, edge, edges.get("longest_edge"))
        spans = patch_spans(seen, edge)
        rows = range(number * len(spans), (number + 1) * len(spans))
        patches = [class_scores(frame_logits(outputs, row), self.loaded.processor) for row in rows]
        return joined_patches(patches, spans, seen)


def segmentation_element(found: ClassMap, class_names: Sequence[str], image: ImageSize) -> SegmentationElement:
    """Write a map of classes as an element; every class is named, also those that are nowhere on the frame."""
    present = found.present_class_ids()
    named = range(max([len(class_names), *(class_id + 1 for class_id in present)]))
    return {
        "image": image,
        "predictions": {
            "segmentation_mask": png_base64(found.class_ids),
            "confidence_mask": png_base64(found.confidence),
            "class_map": {str(class_id): class_name(class_names, class_id) for class_id in named},
            "present_class_ids": present,
        },
    }
