"""Masks as polygons, run lengths and PNG files, each read back by other people's code."""

from __future__ import annotations

from base64 import b64decode

import cv2
import numpy as np
import orjson
import pytest
import supervision
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pycocotools import mask as coco_masks

from models.box_columns import InstanceColumns
from models.instances import FoundInstances, instance_detections
from models.masks import MaskCrop, crop_mask, png_base64, polygon, run_lengths

HEIGHT, WIDTH = 48, 64
SMALL_MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.booleans())


def mask_of(*rows: str) -> NDArray[np.bool_]:
    """A mask drawn with `#`."""
    return np.array([[letter == "#" for letter in row] for row in rows])


def blob(height: int, width: int, seed: int) -> NDArray[np.bool_]:
    """A mask of smooth outlines, in several parts with holes."""
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), height / 20) > 0


def painted(points: list, height: int, width: int) -> NDArray[np.bool_]:
    places = np.array([[point["x"], point["y"]] for point in points])
    return supervision.polygon_to_mask(places, (width, height)).astype(bool)


def parts(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """What touches by a side or a corner, holes filled: found by flooding, not by contours."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    found = []
    for label in range(1, labels.max() + 1):
        outside = np.pad((labels != label).astype(np.uint8), 1, constant_values=1)
        cv2.floodFill(outside, None, (0, 0), 2, flags=4)
        found.append(outside[1:-1, 1:-1] != 2)
    return found


def enclosed(part: NDArray[np.bool_]) -> float:
    """The area within the outline through the centres of a part's outermost pixels."""
    (outline,), _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.contourArea(outline)


def largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return max(parts(mask), key=enclosed)


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((one & other).sum() / (one | other).sum())


def cut(mask: NDArray[np.bool_]) -> MaskCrop:
    crop = crop_mask(mask)
    assert crop is not None
    return crop


def test_a_crop_is_the_mask_and_nothing_around_it() -> None:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[5, 7:10] = mask[11, 8] = True
    crop = cut(mask)
    assert (crop.box, crop.pixels.shape) == ((7, 5, 10, 12), (7, 3))
    assert np.array_equal(crop.whole(HEIGHT, WIDTH), mask)


def test_a_crop_of_a_crop_knows_its_place_in_the_frame() -> None:
    crop = crop_mask(mask_of("...", ".#."), left=10, top=20)
    assert crop is not None
    assert crop.box == (11, 21, 12, 22)


def test_an_empty_mask_has_no_crop() -> None:
    assert crop_mask(np.zeros((3, 4), dtype=bool)) is None


@pytest.mark.parametrize("pixels", [np.zeros((0, 3), bool), np.zeros((2, 2), np.uint8), np.zeros(4, bool)])
def test_a_crop_says_what_it_expected(pixels: NDArray) -> None:
    with pytest.raises(ValueError, match=r"expected a mask of \(height, width\) bool"):
        MaskCrop(0, 0, pixels)


def test_a_polygon_runs_through_the_outermost_pixels() -> None:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[10:20, 5:35] = True
    corners = {(point["x"], point["y"]) for point in polygon(cut(mask))}
    assert corners == {(5.0, 10.0), (34.0, 10.0), (34.0, 19.0), (5.0, 19.0)}


def test_a_polygon_is_the_part_that_encloses_most() -> None:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[2:12, 2:12] = True
    mask[4:10, 4:10] = False
    mask[20:28, 20:28] = True
    mask[40, :] = True
    assert np.array_equal(painted(polygon(cut(mask)), HEIGHT, WIDTH), largest_part(mask))


@pytest.mark.parametrize("mask", [mask_of("#"), mask_of("##"), mask_of("#", "#", "#"), mask_of("#..", ".#.", "..#")])
def test_a_polygon_of_a_dot_or_a_line_has_three_points(mask: NDArray[np.bool_]) -> None:
    points = polygon(MaskCrop(3, 4, mask))
    assert len(points) >= 3
    assert np.array_equal(painted(points, 10, 10), MaskCrop(3, 4, mask).whole(10, 10))


@given(SMALL_MASKS)
@settings(max_examples=100, deadline=None)
def test_polygons_of_small_masks_paint_exactly_a_largest_part(mask: NDArray[np.bool_]) -> None:
    crop = crop_mask(mask)
    if crop is None:
        return
    candidates = parts(crop.whole(7, 7))
    most = max(map(enclosed, candidates))
    got = painted(polygon(crop), 7, 7)
    assert any(np.array_equal(got, part) and enclosed(part) == most for part in candidates)


@pytest.mark.parametrize(("height", "width"), [(90, 120), (360, 640)])
def test_polygons_of_large_masks_stay_within_a_hundredth(height: int, width: int) -> None:
    for seed in range(3):
        mask = blob(height, width, seed)
        assert overlap(painted(polygon(cut(mask)), height, width), largest_part(mask)) >= 0.99


def test_the_polygon_of_an_object_that_fills_a_4k_frame_is_short() -> None:
    angles = np.linspace(0, 2 * np.pi, 3000)
    wavy = 1 + 0.05 * np.sin(9 * angles)
    outline = np.stack([1920 + 1500 * wavy * np.cos(angles), 1080 + 900 * wavy * np.sin(angles)], axis=1)
    mask = cv2.fillPoly(np.zeros((2160, 3840), np.uint8), [outline.astype(np.int32)], 1).astype(bool)
    points = polygon(cut(mask))
    assert overlap(painted(points, 2160, 3840), mask) >= 0.99
    assert len(orjson.dumps(points)) < 10_000


@given(SMALL_MASKS, st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_run_lengths_are_cocos(mask: NDArray[np.bool_], left: int, top: int) -> None:
    crop = crop_mask(mask, left=left, top=top)
    if crop is None:
        return
    got = run_lengths(crop, 10, 11)
    whole = crop.whole(10, 11)
    assert got["size"] == [10, 11]
    assert got["counts"] == coco_masks.encode(np.asfortranarray(whole.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(supervision.rle_to_mask(got["counts"], (11, 10)), whole)


def test_run_lengths_hold_every_part_and_hole_of_a_mask_that_fills_the_frame() -> None:
    for mask in (blob(270, 480, 5), np.ones((270, 480), dtype=bool)):
        got = run_lengths(cut(mask), 270, 480)
        assert np.array_equal(supervision.rle_to_mask(got["counts"], (480, 270)), mask)


def test_a_png_file_gives_back_its_picture() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (37, 53), dtype=np.uint8)
    for one in (picture, np.zeros_like(picture)):
        read = cv2.imdecode(np.frombuffer(b64decode(png_base64(one)), np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(read, one)
        assert read.dtype == np.uint8


def found(*masks: NDArray[np.bool_], scores: list[float]) -> FoundInstances:
    return FoundInstances(np.array(scores), np.arange(len(masks)) % 2, [cut(mask) for mask in masks])


def test_instances_are_the_surest_first_with_boxes_around_their_pixels() -> None:
    masks = [np.zeros((HEIGHT, WIDTH), dtype=bool) for _ in range(3)]
    masks[0][0, 0] = True
    masks[1][10:20, 30:50] = True
    masks[2][:, :] = True
    instances = found(*masks, scores=[0.25, 0.75, 0.5])
    got = instance_detections(instances, ("cat",), {"width": WIDTH, "height": HEIGHT}, most=2, mask_format="rle")
    assert [(one["confidence"], one["class"], one["class_id"]) for one in got] == [(0.75, "1", 1), (0.5, "cat", 0)]
    assert [(one["x"], one["y"], one["width"], one["height"]) for one in got] == [
        (40.0, 15.0, 20.0, 10.0),
        (32.0, 24.0, 64.0, 48.0),
    ]
    assert all(one["mask_format"] == "rle" and "points" not in one for one in got)
    assert list(got[0]) == [key for key in InstanceColumns.keys if key not in ("points", "detection_id")]


@pytest.mark.parametrize("mask_format", ["polygon", "rle"])
def test_supervision_reads_the_same_masks_from_instances(mask_format: str) -> None:
    masks = [largest_part(blob(HEIGHT, WIDTH, seed)) for seed in range(3)]
    dot = np.zeros((HEIGHT, WIDTH), dtype=bool)
    dot[47, 63] = True
    masks.append(dot)
    image = {"width": WIDTH, "height": HEIGHT}
    predictions = instance_detections(
        found(*masks, scores=[0.9, 0.8, 0.7, 0.6]), ("cat", "dog"), image, most=10, mask_format=mask_format
    )
    read = supervision.Detections.from_inference({"image": image, "predictions": predictions})
    assert read.mask.shape == (4, HEIGHT, WIDTH)
    for got, mask, box in zip(read.mask, masks, read.xyxy, strict=True):
        assert overlap(got, mask) >= 0.99
        assert tuple(box) == cut(mask).box
    assert read.data["class_name"].tolist() == ["cat", "dog", "cat", "dog"]


def test_instances_of_different_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="2 scores, 2 classes and 1 masks"):
        FoundInstances(np.zeros(2), np.zeros(2, np.int64), [MaskCrop(0, 0, mask_of("#"))])
