"""How well predictions agree with truth: average precision, intersection over union, top-1. Numpy and nothing else.

Average precision is that of PASCAL VOC since 2010 (the area under the precision envelope over all recalls) at one
threshold of intersection over union; its mean runs over the classes that the truth holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Found:
    """Objects of one frame. `regions` is `(n, 4)` boxes x0, y0, x1, y1 or `(n, height, width)` masks."""

    regions: NDArray[np.float64] | NDArray[np.bool_]
    class_ids: NDArray[np.int64]
    scores: NDArray[np.float64] | None = None
    """Confidence of each prediction; None for truth."""

    def __post_init__(self) -> None:
        lengths = {len(self.regions), len(self.class_ids), *([] if self.scores is None else [len(self.scores)])}
        if len(lengths) > 1:
            raise ValueError(f"regions {self.regions.shape} and class ids {self.class_ids.shape} do not match")


def box_overlaps(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union `(n, m)` of boxes `(n, 4)` and `(m, 4)`; 0 where both are empty."""
    first, second = one[:, None, :], other[None, :, :]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    shared = np.clip(sides, 0, None).prod(-1)
    areas = [np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(-1) for boxes in (first, second)]
    return _over(shared, areas[0] + areas[1] - shared)


def mask_overlaps(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Intersection over union `(n, m)` of masks `(n, height, width)` and `(m, …)`; 0 where both are empty."""
    first, second = (masks.reshape(len(masks), math.prod(masks.shape[1:])).astype(np.float64) for masks in (one, other))
    shared = first @ second.T
    return _over(shared, first.sum(1)[:, None] + second.sum(1)[None, :] - shared)


def mean_average_precision(predictions: Sequence[Found], truths: Sequence[Found], *, overlap: float = 0.5) -> float:
    """mAP over all frames, boxes or masks; ValueError where frames differ in number or no truth holds an object."""
    if len(predictions) != len(truths):
        raise ValueError(f"{len(predictions)} frames were predicted, {len(truths)} are known")
    classes = np.unique(np.concatenate([truth.class_ids for truth in truths])) if truths else np.array([])
    if not classes.size:
        raise ValueError("no frame of the truth holds an object: nothing to score")
    return float(np.mean([_average_precision(predictions, truths, int(class_id), overlap) for class_id in classes]))


def _average_precision(predictions: Sequence[Found], truths: Sequence[Found], class_id: int, overlap: float) -> float:
    """Each prediction, most confident first, takes the best object of its class that it covers and nobody took."""
    scores: list[float] = []
    hits: list[bool] = []
    expected = 0
    for predicted, truth in zip(predictions, truths, strict=True):
        assert predicted.scores is not None
        wanted = truth.class_ids == class_id
        expected += int(wanted.sum())
        chosen = predicted.class_ids == class_id
        order = np.argsort(-predicted.scores[chosen], kind="stable")
        scores.extend(predicted.scores[chosen][order])
        hits.extend(_hits(_overlaps(predicted.regions[chosen][order], truth.regions[wanted]), overlap))
    right = np.array(hits, bool)[np.argsort(-np.array(scores), kind="stable")]
    if not right.size:
        return 0.0
    recall = np.cumsum(right) / expected
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _hits(overlaps: NDArray[np.float64], least: float) -> list[bool]:
    free = np.ones(overlaps.shape[1], bool)
    hits = []
    for row in overlaps:
        allowed = np.where(free, row, -1.0)
        best = int(allowed.argmax()) if allowed.size else -1
        hit = best >= 0 and allowed[best] >= least
        if hit:
            free[best] = False
        hits.append(bool(hit))
    return hits


def _overlaps(one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.float64]:
    if one.ndim == 2:
        return box_overlaps(one.astype(np.float64), other.astype(np.float64))
    return mask_overlaps(one.astype(np.bool_), other.astype(np.bool_))


def mean_overlap(
    predictions: Sequence[NDArray[np.integer]], truths: Sequence[NDArray[np.integer]], *, classes: int
) -> float:
    """mIoU of label maps `(height, width)`, pixels of all frames taken together, over the classes that occur."""
    counts = np.zeros((classes, classes), np.int64)
    for predicted, truth in zip(predictions, truths, strict=True):
        if predicted.shape != truth.shape:
            raise ValueError(f"a label map of {predicted.shape} cannot be compared with one of {truth.shape}")
        pairs = truth.astype(np.int64).ravel() * classes + predicted.astype(np.int64).ravel()
        counts += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    unions = counts.sum(0) + counts.sum(1) - counts.diagonal()
    return float((counts.diagonal()[unions > 0] / unions[unions > 0]).mean())


def share_right(predictions: Sequence[object], truths: Sequence[object]) -> float:
    """The share of predictions that equal their truth; ValueError for none."""
    if not truths:
        raise ValueError("nothing to score")
    return sum(one == other for one, other in zip(predictions, truths, strict=True)) / len(truths)


def _over(shared: NDArray[np.float64], union: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
