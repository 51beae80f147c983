"""How far elements are from each other that hold more than boxes and classes: each figure moved by what it measures."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from models.masks import crop_mask, png_base64, run_lengths
from models.masks import polygon as contour
from tasks.comparison import ResultComparison, compare_results, equal
from tasks.element_comparison import COMPARERS
from tests.element_builders import (
    box,
    classification_element,
    detection_element,
    gaze_element,
    instance_element,
    key_point_element,
    multi_label_element,
    polygon,
    segmentation_element,
    similarity_element,
)


@pytest.fixture
def compare(tmp_path):
    def compare_written(a: Sequence[Any], b: Sequence[Any]) -> ResultComparison:
        import orjson

        for name, elements in (("a", a), ("b", b)):
            lists = {"frame_offset": [*range(len(a))], "time_offset": [0.1 * i for i in range(len(a))]}
            (tmp_path / name).write_bytes(orjson.dumps({**lists, "model": list(elements)}))
        return compare_results(tmp_path / "a", tmp_path / "b")

    return compare_written


def figures(report: ResultComparison) -> dict[str, float]:
    """What is not zero."""
    return {difference.name: difference.value for difference in report.models[0].differences if difference.value}


def square(side: int, *, at: int = 20) -> np.ndarray:
    mask = np.zeros((360, 640), dtype=bool)
    mask[at : at + side, at : at + side] = True
    return mask


def instance(mask: np.ndarray, mask_format: str = "polygon", **of_box: Any) -> dict[str, Any]:
    crop = crop_mask(mask)
    assert crop is not None
    drawn = {"points": contour(crop)} if mask_format == "polygon" else {"rle": run_lengths(crop, *mask.shape)}
    return {**box(**of_box), **drawn, "mask_format": mask_format}


def segmentation(ids: np.ndarray, confidence: float = 1.0) -> dict[str, Any]:
    element = segmentation_element("ground", "sky")
    sure = np.full(ids.shape, round(confidence * 255), dtype=np.uint8)
    element["predictions"] |= {"segmentation_mask": png_base64(ids), "confidence_mask": png_base64(sure)}
    return element


ONE_OF_EACH = {
    "object-detection": detection_element(box()),
    "instance-segmentation": instance_element(polygon((1, 1), (9, 1), (9, 9))),
    "keypoint-detection": key_point_element((1.0, 2.0)),
    "semantic-segmentation": segmentation(np.zeros((4, 4), np.uint8)),
    "classification": classification_element(cat=1.0),
    "classification, many labels": multi_label_element(cat=1.0),
    "gaze-detection": gaze_element((0.1, 0.2)),
    "clip-embed-image": [0.5, -0.25],
    "clip-compare": similarity_element(cat=0.25),
}


@pytest.mark.parametrize("element_type", ONE_OF_EACH)
def test_each_kind_of_element_is_known_and_equal_to_itself(compare, element_type: str) -> None:
    element = ONE_OF_EACH[element_type]
    report = compare([element], [copy.deepcopy(element)])
    assert report.models[0].element_type == element_type
    assert report.models[0].compared >= 1
    assert equal(report)
    assert next(one.element_type for one in COMPARERS if one.takes(element)) == element_type


def test_masks_differ_by_the_share_that_one_side_lacks(compare) -> None:
    for one, other in (("polygon", "polygon"), ("rle", "rle"), ("polygon", "rle")):
        report = compare([instance_element(instance(square(40), one))], [instance_element(instance(square(20), other))])
        assert figures(report) == {"max_mask_apart": pytest.approx(1 - 400 / 1600)}
        assert equal(report, mask=0.76)
        assert not equal(report, mask=0.74, box_px=1e9, score=1)


def test_a_mask_is_the_same_in_either_format(compare) -> None:
    mask = np.zeros((360, 640), dtype=np.uint8)
    cv2.circle(mask, (600, 300), 90, (1,), -1)
    both = [instance_element(instance(mask.astype(bool), way)) for way in ("polygon", "rle")]
    assert figures(compare(both[:1], both[1:])).get("max_mask_apart", 0.0) < 0.02


def test_masks_of_matched_boxes_are_compared(compare) -> None:
    left, right = instance(square(10), x=10.0), instance(square(30, at=200), x=300.0)
    assert equal(compare([instance_element(left, right)], [instance_element(right, left)]))


def test_maps_differ_by_their_worst_frame(compare) -> None:
    same, other = np.zeros((10, 20), np.uint8), np.zeros((10, 20), np.uint8)
    other[:, :5] = 1
    report = compare([segmentation(same), segmentation(same)], [segmentation(same), segmentation(other, 0.8)])
    assert figures(report) == {"max_share_of_pixels": 0.25, "max_mean_score": pytest.approx(0.2)}
    assert equal(report, mask=0.25, score=0.21)


def test_maps_of_two_sizes_or_with_other_names_are_counted(compare) -> None:
    small, large = segmentation(np.zeros((4, 4), np.uint8)), segmentation(np.zeros((8, 4), np.uint8))
    small["predictions"]["class_map"] = {"0": "ground", "1": "sea"}
    assert figures(compare([small], [large])) == {"frames_size_differ": 1, "frames_class_map_differ": 1}


def test_key_points_are_compared_by_name(compare) -> None:
    a, b = key_point_element((1.0, 2.0), (5.0, 5.0)), key_point_element((4.0, 6.0))
    b["predictions"][0]["keypoints"][0]["confidence"] = 0.25
    report = compare([a], [b])
    assert figures(report) == {"points_unmatched": 1, "max_point_px": 5.0, "max_point_score": 0.25}


def test_gazes_differ_by_the_angle_between_them(compare) -> None:
    report = compare(
        [gaze_element((0.0, 0.5), (math.pi - 0.01, 0.0))], [gaze_element((0.0, 0.4), (0.01 - math.pi, 0.0))]
    )
    assert report.models[0].compared == 2
    assert figures(report) == {"max_angle_rad": pytest.approx(0.1)}
    assert equal(report, angle_rad=0.11)
    assert not equal(report, angle_rad=0.09)


def test_faces_that_one_side_lacks_are_counted(compare) -> None:
    moved = gaze_element((0.0, 0.0))
    moved["predictions"][0]["face"]["landmarks"][0]["x"] += 3
    report = compare(
        [gaze_element((0.0, 0.0), (1.0, 0.0)), gaze_element((0.0, 0.0))], [gaze_element((0.0, 0.0)), moved]
    )
    assert figures(report) == {"faces_unmatched": 1, "max_landmark_px": 3.0}


def test_embeddings_differ_by_their_angle_alone(compare) -> None:
    report = compare([[1.0, 0.0], [1.0, 2.0], [1.0]], [[3.0, 0.0], [2.0, 1.0], [1.0, 0.0]])
    assert figures(report) == {"embeddings_size_differ": 1, "max_cosine_apart": pytest.approx(0.2)}


def test_similarities_are_compared_by_prompt(compare) -> None:
    a, b = similarity_element(cat=0.25, dog=0.125), similarity_element(dog=0.25, emu=0.5)
    report = compare([a], [b])
    assert figures(report) == {"prompts_unmatched": 2, "frames_top_differ": 1, "max_similarity": 0.125}
    in_order = compare([{"similarity": [0.5, 0.25]}], [{"similarity": [0.5, 0.0]}])
    assert figures(in_order) == {"max_similarity": 0.25}


def test_frames_without_faces_leave_the_type_to_the_others(compare) -> None:
    report = compare([gaze_element(), gaze_element((0.0, 0.0))], [gaze_element()] * 2)
    assert report.models[0].element_type == "gaze-detection"
    assert figures(report) == {"faces_unmatched": 1}


def test_boxes_and_masks_are_two_kinds(compare) -> None:
    report = compare([instance_element(instance(square(9)))], [detection_element(box())])
    assert report.models[0].element_type == "instance-segmentation and object-detection"
