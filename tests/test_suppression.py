"""Suppression, against the rule written out box by box."""

from __future__ import annotations

import numpy as np
import pytest

from models.suppression import suppress


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    corner, opposite = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = (opposite - corner).clip(0).prod()
    return shared / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - shared)


def box_by_box(boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        rivals = [other for other in kept if class_ids[other] == class_ids[index]]
        if all(overlap(boxes[index], boxes[other]) <= threshold for other in rivals):
            kept.append(index)
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_it_is_the_rule_box_by_box(threshold: float) -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(-80, 300, (300, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 120, (300, 2))], axis=1)
    scores, class_ids = rng.random(300), rng.integers(0, 4, 300)
    kept = suppress(boxes, scores, class_ids, iou_threshold=threshold, most=1000)
    assert kept.tolist() == box_by_box(boxes, scores, class_ids, threshold)
    assert suppress(boxes, scores, class_ids, iou_threshold=threshold, most=7).tolist() == kept[:7].tolist()


def test_classes_never_suppress_each_other_even_beyond_the_frame() -> None:
    """A box left of the frame, of the next class, must not be moved onto one at the right of this class."""
    boxes = np.array([[590.0, 0, 640, 50], [-51.0, 0, -1, 50]])
    assert len(suppress(boxes, np.array([0.9, 0.8]), np.array([0, 1]), iou_threshold=0.1, most=9)) == 2


def test_a_score_of_nothing_stays_where_nothing_is_surer() -> None:
    assert suppress(np.array([[0.0, 0, 5, 5]]), np.zeros(1), np.zeros(1, int), iou_threshold=0.5, most=9).tolist() == [
        0
    ]


def test_no_boxes_are_no_boxes() -> None:
    assert len(suppress(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), iou_threshold=0.5, most=9)) == 0
