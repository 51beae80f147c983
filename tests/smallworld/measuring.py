"""How well a saved model does, through plain transformers and PIL: no code of the product takes part.

Predictions below `LEAST_CONFIDENCE` are left out, as a result file leaves out those below its threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForObjectDetection,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    AutoTokenizer,
    CLIPModel,
)

from tests.smallworld import FIRST_HELD_OUT_SEED
from tests.smallworld.captions import candidate_captions
from tests.smallworld.scenes import Frame, Kind, Scene
from tests.smallworld.scoring import Found, mean_average_precision, mean_overlap, share_right
from tests.smallworld.shapes import SHAPES

LEAST_CONFIDENCE = 0.05
_BATCH = 10


@dataclass(frozen=True)
class Sample:
    """A picture to judge by: pixels as a model sees them, and the truth about them."""

    rgb: NDArray[np.uint8]
    truth: Frame
    seed: int


def held_out(kind: Kind, count: int) -> list[Sample]:
    """Stills of scenes that took no part in training, as rendered."""
    samples = []
    for seed in range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + count):
        frame = Scene(kind, seed).still()
        samples.append(Sample(frame.rgb, frame, seed))
    return samples


def true_boxes(frame: Frame) -> Found:
    """The counted objects of a frame by their boxes."""
    boxes = np.array([seen.box for seen in frame.seen], np.float64).reshape(-1, 4)
    return Found(boxes, np.array([seen.class_id for seen in frame.seen], np.int64))


def true_masks(frame: Frame) -> Found:
    """The counted objects of a frame by their masks."""
    masks = np.array([seen.mask for seen in frame.seen], np.bool_).reshape(-1, *frame.owners.shape)
    return Found(masks, np.array([seen.class_id for seen in frame.seen], np.int64))


@torch.inference_mode()
def measure_detection(folder: Path, samples: Sequence[Sample]) -> float:
    """mAP50 of boxes."""
    network, processor = AutoModelForObjectDetection.from_pretrained(folder).eval(), _processor(folder)
    found: list[Found] = []
    for batch in _batches(samples):
        outputs = network(**processor(images=[sample.rgb for sample in batch], return_tensors="pt"))
        sizes = [sample.rgb.shape[:2] for sample in batch]
        for result in processor.post_process_object_detection(outputs, LEAST_CONFIDENCE, target_sizes=sizes):
            found.append(Found(*(result[key].double().numpy() for key in ("boxes", "labels", "scores"))))
    return mean_average_precision(found, [true_boxes(sample.truth) for sample in samples])


@torch.inference_mode()
def measure_instance(folder: Path, samples: Sequence[Sample]) -> float:
    """mAP50 of masks."""
    network, processor = AutoModelForUniversalSegmentation.from_pretrained(folder).eval(), _processor(folder)
    found: list[Found] = []
    for batch in _batches(samples):
        outputs = network(**processor(images=[sample.rgb for sample in batch], return_tensors="pt"))
        sizes = [sample.rgb.shape[:2] for sample in batch]
        results = processor.post_process_instance_segmentation(
            outputs, LEAST_CONFIDENCE, target_sizes=sizes, return_binary_maps=True
        )
        found.extend(_instances(result, size) for result, size in zip(results, sizes, strict=True))
    return mean_average_precision(found, [true_masks(sample.truth) for sample in samples])


def _instances(result: dict[str, Any], size: tuple[int, int]) -> Found:
    segments = result["segments_info"]
    masks = np.zeros((0, *size), np.bool_) if not segments else np.asarray(result["segmentation"]).astype(np.bool_)
    classes = np.array([segment["label_id"] for segment in segments], np.int64)
    return Found(masks, classes, np.array([segment["score"] for segment in segments], np.float64))


@torch.inference_mode()
def measure_semantic(folder: Path, samples: Sequence[Sample]) -> float:
    """mIoU over the background and the shapes."""
    network, processor = AutoModelForSemanticSegmentation.from_pretrained(folder).eval(), _processor(folder)
    found: list[NDArray[np.integer]] = []
    for batch in _batches(samples):
        outputs = network(**processor(images=[sample.rgb for sample in batch], return_tensors="pt"))
        sizes = [sample.rgb.shape[:2] for sample in batch]
        maps = processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)
        found.extend(label_map.numpy() for label_map in maps)
    return mean_overlap(found, [sample.truth.label_map for sample in samples], classes=1 + len(SHAPES))


@torch.inference_mode()
def measure_classification(folder: Path, samples: Sequence[Sample]) -> float:
    """The share of pictures whose one object's label comes first."""
    network, processor = AutoModelForImageClassification.from_pretrained(folder).eval(), _processor(folder)
    found: list[str] = []
    for batch in _batches(samples):
        logits = network(**processor(images=[sample.rgb for sample in batch], return_tensors="pt")).logits
        found.extend(network.config.id2label[int(index)] for index in logits.argmax(1))
    return share_right(found, [sample.truth.objects[0].label for sample in samples])


@torch.inference_mode()
def measure_clip(folder: Path, samples: Sequence[Sample]) -> float:
    """The share of pictures whose own caption comes first of their twenty."""
    network, processor = CLIPModel.from_pretrained(folder).eval(), _processor(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    right: list[bool] = []
    for sample in samples:
        captions = tokenizer(candidate_captions(sample.seed), padding=True, return_tensors="pt")
        similarity = network(**captions, **processor(images=[sample.rgb], return_tensors="pt")).logits_per_image[0]
        right.append(int(similarity.argmax()) == 0)
    return share_right(right, [True] * len(right))


def _processor(folder: Path) -> Any:
    return AutoImageProcessor.from_pretrained(folder, backend="pil")


def _batches(samples: Sequence[Sample]) -> Iterable[Sequence[Sample]]:
    return (samples[start : start + _BATCH] for start in range(0, len(samples), _BATCH))
