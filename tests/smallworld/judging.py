"""How well whole jobs do in the small world: compressed videos, through a job, to its JSON, held against the truth."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import supervision
from numpy.typing import NDArray

from tests.engine_jobs import run_job
from tests.smallworld import WEIGHTS
from tests.smallworld.captions import candidate_captions
from tests.smallworld.measuring import LEAST_CONFIDENCE, true_boxes, true_masks
from tests.smallworld.scenes import CROWD, SINGLE, Frame, Kind
from tests.smallworld.scoring import Found, mean_average_precision, mean_overlap, share_right
from tests.smallworld.shapes import SHAPES
from tests.smallworld.videos import uneven_times, write_video

_RATE = Fraction(10)


@dataclass
class Scores:
    """What jobs said and what was true, frame by frame, over many videos."""

    boxes: list[tuple[Found, Found]] = field(default_factory=list)
    masks: list[tuple[Found, Found]] = field(default_factory=list)
    maps: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = field(default_factory=list)
    labels: list[tuple[str, str]] = field(default_factory=list)
    captions: list[tuple[str, str]] = field(default_factory=list)

    def table(self) -> dict[str, float]:
        """The score of each task that any frame was judged in."""
        scores: dict[str, float] = {}
        if self.boxes:
            scores["detection mAP50"] = mean_average_precision(*_parted(self.boxes))
        if self.masks:
            scores["instance mAP50"] = mean_average_precision(*_parted(self.masks))
        if self.maps:
            scores["semantic mIoU"] = mean_overlap(*_parted(self.maps), classes=1 + len(SHAPES))
        if self.labels:
            scores["classification top-1"] = share_right(*_parted(self.labels))
        if self.captions:
            scores["caption first of 20"] = share_right(*_parted(self.captions))
        return scores


def _parted(pairs: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [found for found, _ in pairs], [truth for _, truth in pairs]


def judge(
    scores: Scores,
    folder: Path,
    kind: Kind,
    seed: int,
    *,
    frames: int,
    every: int,
    rotation: int = 0,
    variable: bool = False,
) -> None:
    """Write the video of `seed`, run a job with the kind's models on it, and add every `every`-th frame to `scores`.

    `variable`: the same pictures, each shown for a time of its own.
    """
    path = folder / f"{kind.name}-{seed}-{rotation}{'-uneven' if variable else ''}.mp4"
    moments_s = [index / _RATE for index in range(frames)]
    shown_s = uneven_times(seed, frames, rate=_RATE) if variable else moments_s
    video = write_video(path, kind, seed, times_s=shown_s, scene_times_s=moments_s, rotation=rotation)
    models = models_for(kind, seed)
    result = run_job(folder / "store", path, models, infer_fps="all").predictions
    assert result["frame_offset"] == list(range(frames))
    for index in range(0, frames, every):
        truth = video.truth(index)
        add_frame(scores, {name: result[name][index] for name in (model["alias"] for model in models)}, truth, seed)
    path.unlink()


def models_for(kind: Kind, seed: int) -> list[dict[str, Any]]:
    """The small world's models that judge frames of a kind, as a request names them."""
    least = {"confidence": LEAST_CONFIDENCE}
    if kind is CROWD:
        asked = [
            ("detector", "object-detection", least),
            ("instance", "instance-segmentation", least | {"mask_format": "rle"}),
            ("semantic", "semantic-segmentation", {}),
        ]
    elif kind is SINGLE:
        asked = [("classifier", "classification", {})]
    else:
        asked = [("clip", "clip-compare", {"prompts": candidate_captions(seed)})]
    return [
        {
            "model_id": str(WEIGHTS / name),
            "inference_type": inference_type,
            "inference_params": params,
            "alias": name,
        }
        for name, inference_type, params in asked
        if (WEIGHTS / name).is_dir()
    ]


def add_frame(scores: Scores, elements: dict[str, Any], truth: Frame, seed: int) -> None:
    """Add what models said of a frame, by the alias of each, beside what is true of it."""
    if "detector" in elements:
        scores.boxes.append((_boxes(elements["detector"]), true_boxes(truth)))
    if "instance" in elements:
        scores.masks.append((_masks(elements["instance"]), true_masks(truth)))
    if "semantic" in elements:
        scores.maps.append((_label_map(elements["semantic"]), truth.label_map))
    if "classifier" in elements:
        scores.labels.append((elements["classifier"]["top"], truth.objects[0].label))
    if "clip" in elements:
        captions = candidate_captions(seed)
        similarity = elements["clip"]["similarity"]
        assert len(similarity) == len(captions)
        scores.captions.append((captions[int(np.argmax(similarity))], captions[0]))


def _boxes(element: dict[str, Any]) -> Found:
    """What `supervision` reads out of a detection element."""
    found = supervision.Detections.from_inference(element)
    if not len(found):
        return Found(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
    assert found.class_id is not None
    assert found.confidence is not None
    return Found(found.xyxy.astype(np.float64), found.class_id.astype(np.int64), found.confidence.astype(np.float64))


def _masks(element: dict[str, Any]) -> Found:
    """Masks of an instance element of run lengths."""
    size = (element["image"]["height"], element["image"]["width"])
    predictions = element["predictions"]
    masks = np.zeros((len(predictions), *size), np.bool_)
    for row, one in zip(masks, predictions, strict=True):
        row[:] = _decoded(one["rle"])
    classes = np.array([one["class_id"] for one in predictions], np.int64)
    return Found(masks, classes, np.array([one["confidence"] for one in predictions], np.float64))


def _decoded(rle: dict[str, Any]) -> NDArray[np.bool_]:
    height, width = rle["size"]
    mask = supervision.rle_to_mask(rle["counts"], (width, height))
    return np.asarray(mask, np.bool_)


def _label_map(element: dict[str, Any]) -> NDArray[np.uint8]:
    png = base64.b64decode(element["predictions"]["segmentation_mask"])
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    return np.asarray(decoded, np.uint8)
