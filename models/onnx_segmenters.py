"""Segmenters in ONNX: raw findings of a batch of frames, as masks of objects or maps of classes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from models import onnx_detections as reading
from models.class_maps import MOST_CLASSES, ClassMap, class_map
from models.frame_sizes import Size
from models.instances import FoundInstances
from models.onnx_card import OnnxCardError
from models.onnx_masks import masks_in_frame, split_outputs
from models.onnx_models import OnnxModel, check_yolo_classes
from models.onnx_pictures import Placement
from models.onnx_runtime import Array, OnnxRunError
from models.vision_model import Frame


class OnnxInstances(OnnxModel):
    """Instance segmentation: YOLO's boxes with masks."""

    inference_type = "instance-segmentation"

    def setup(self, device: str) -> None:
        """Load as every model; frames must not be cut. Raises `ModelLoadError`."""
        super().setup(device)
        check_yolo_classes(self._card.output, self.class_names)
        if self._card.input.resize == "crop":
            raise OnnxCardError("masks cannot be laid over a frame that was cut; take resize: letterbox or stretch.")

    def detect(self, frames: Sequence[Frame]) -> list[FoundInstances]:
        """Give what was found in each frame, the surest first; what has no pixel in its mask is left out."""
        outputs, placement = self.outputs(frames)
        boxes, prototypes = split_outputs(list(outputs.values()))
        candidates = reading.read_yolo(
            boxes,
            self._card.output,
            placement.picture,
            classes=len(self.class_names),
            masks=prototypes.shape[1],
        )
        return [self._found(one, grid, placement) for one, grid in zip(candidates, prototypes, strict=True)]

    def _found(self, candidates: reading.Candidates, prototypes: Array, placement: Placement) -> FoundInstances:
        sure = reading.surest_boxes(
            candidates,
            confidence=self._params.confidence,
            iou_threshold=self._params.iou_threshold,
            most=self._params.max_detections,
        )
        boxes = reading.in_frame(sure, placement, clip=True).boxes
        masks = masks_in_frame(sure, boxes, prototypes, placement)
        there = [index for index, mask in enumerate(masks) if mask is not None]
        return FoundInstances(
            scores=sure.scores[there],
            class_ids=sure.class_ids[there],
            masks=[mask for mask in masks if mask is not None],
            boxes=boxes[there],
        )


class OnnxSemantic(OnnxModel):
    """Semantic segmentation: a class for every pixel of the frame."""

    inference_type = "semantic-segmentation"

    def setup(self, device: str) -> None:
        """Load as every model; frames must not be cut. Raises `ModelLoadError`."""
        super().setup(device)
        if self._card.input.resize == "crop":
            raise OnnxCardError("classes cannot be laid over a frame that was cut; take resize: letterbox or stretch.")

    def class_maps(self, frames: Sequence[Frame]) -> list[ClassMap]:
        """Give each frame's map: of logits `(n, classes, h, w)`, or of class numbers `(n, h, w)` or `(n, 1, h, w)`.

        Logits are taken to the frame's size before the best is chosen; class numbers by the nearest, with confidence 1.
        """
        outputs, placement = self.outputs(frames)
        output = self.only_output(outputs)
        if output.ndim == 4 and output.shape[1] == 1:
            output = output[:, 0]
        if output.ndim == 4:
            return [self._of_logits(one, placement) for one in self._classes_first(output)]
        if output.ndim == 3:
            return [_of_numbers(one, placement) for one in output]
        raise OnnxRunError(
            f"the output has the shape {output.shape}; logits (n, classes, h, w) or class numbers (n, h, w) were to be "
            "expected."
        )

    def _classes_first(self, output: Array) -> Array:
        """Logits as `(n, classes, h, w)`: their place is found by how many names there are, else it is the colours'."""
        count = len(self.class_names)
        last = output.shape[1] != count and (output.shape[3] == count or self._card.input.layout == "nhwc")
        logits = output.transpose(0, 3, 1, 2) if last else output
        if logits.shape[1] > MOST_CLASSES or (count and logits.shape[1] != count):
            raise OnnxRunError(
                f"the network scores {logits.shape[1]} classes, and the card names {count}; {MOST_CLASSES} at most fit "
                "into a map."
            )
        return logits

    def _of_logits(self, logits: Array, placement: Placement) -> ClassMap:
        rows, columns = _content_cells((logits.shape[1], logits.shape[2]), placement)
        inside = torch.from_numpy(np.ascontiguousarray(logits[:, rows, columns], dtype=np.float32))
        return class_map(inside, placement.frame, softmax=True)


def _of_numbers(numbers: Array, placement: Placement) -> ClassMap:
    rows, columns = _content_cells((numbers.shape[0], numbers.shape[1]), placement)
    inside = np.ascontiguousarray(numbers[rows, columns].astype(np.uint8))
    nearest = cv2.resize(inside, placement.frame[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return ClassMap(np.asarray(nearest, dtype=np.uint8), np.full(placement.frame, 255, dtype=np.uint8))


def _content_cells(cells: Size, placement: Placement) -> tuple[slice, slice]:
    """Rows and columns of an output that hold the frame and no padding, to the nearest cell."""
    found = []
    for count, whole, content, before in zip(
        cells, placement.picture, placement.content, reversed(placement.shift), strict=True
    ):
        start = round(before * count / whole)
        found.append(slice(start, max(round((before + content) * count / whole), start + 1)))
    return found[0], found[1]
