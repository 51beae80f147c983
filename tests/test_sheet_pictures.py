"""What is drawn on a frame, and where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deployments.sheet_captions import Line, caption
from deployments.sheet_pictures import arrow_end, class_colour, picture_of
from models.masks import crop_mask, png_base64, run_lengths
from tests.element_builders import box, gaze_element, instance_element, key_point_element, segmentation_element

HEIGHT, WIDTH = 360, 640
GREY = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)


def changed(element: Any, width: int = WIDTH) -> np.ndarray:
    """Which pixels of a grey frame are drawn on."""
    drawn = np.asarray(picture_of(GREY, element, width)).astype(int)
    return np.abs(drawn - 128).max(axis=2) > 20


def middle_of(mask: np.ndarray) -> tuple[float, float]:
    """Column and row in the middle of a mask's pixels."""
    rows, columns = np.nonzero(mask)
    return float(columns.mean()), float(rows.mean())


def square(left: int, top: int, side: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def with_mask(mask_format: str) -> dict[str, Any]:
    """A box at the frame's left with a mask at its right, so that the two cannot be taken for each other."""
    corners = [(400.0, 100.0), (499.0, 100.0), (499.0, 199.0), (400.0, 199.0)]
    if mask_format == "polygon":
        drawn: dict[str, Any] = {"points": [{"x": x, "y": y} for x, y in corners]}
    else:
        crop = crop_mask(square(400, 100, 100))
        assert crop is not None
        drawn = {"rle": run_lengths(crop, HEIGHT, WIDTH)}
    return instance_element({**box(60.0, 200.0, size=20.0), **drawn, "mask_format": mask_format})


def segmentation(ids: np.ndarray) -> dict[str, Any]:
    element = segmentation_element("background", "sky", "sea")
    element["predictions"] |= {"segmentation_mask": png_base64(ids), "confidence_mask": png_base64(ids)}
    return element


@pytest.mark.parametrize("mask_format", ["polygon", "rle"])
def test_masks_lie_where_they_say(mask_format: str) -> None:
    drawn = changed(with_mask(mask_format))
    assert np.array_equal(drawn[:, 200:], square(400, 100, 100)[:, 200:])
    assert drawn[:, :200].any()


def test_masks_are_scaled_with_the_frame() -> None:
    drawn = changed(with_mask("polygon"), width=WIDTH // 2)[:, 150:]
    assert middle_of(drawn) == pytest.approx((225 - 150, 75), abs=1)


def test_a_mask_that_leaves_the_frame_is_cut() -> None:
    element = with_mask("polygon")
    for point in element["predictions"][0]["points"]:
        point["x"] += 200
        point["y"] -= 150
    drawn = changed(element)[:, 200:]
    assert np.array_equal(drawn, square(600, 0, 50)[:, 200:])


def test_classes_colour_their_pixels_and_background_does_not() -> None:
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[:90] = 2
    element = segmentation(ids)
    drawn = np.asarray(picture_of(GREY, element, WIDTH)).astype(int)
    assert np.abs(drawn[45, 320] - (np.array(class_colour(2)) + 128) / 2).max() <= 2
    assert (drawn[200:] == 128).all()
    assert caption(element) == [
        Line("background", 0.75),
        Line("sea", 0.25, class_id=2),
    ]


def test_colours_of_neighbouring_classes_are_far_apart() -> None:
    colours = np.array([class_colour(class_id) for class_id in range(21)])
    assert np.abs(np.diff(colours, axis=0)).sum(axis=1).min() > 100
    assert len({tuple(colour) for colour in colours.tolist()}) == 21


def test_sure_key_points_are_drawn_and_unsure_ones_are_not() -> None:
    element = key_point_element((400.0, 100.0), (500.0, 200.0))
    element["predictions"][0]["keypoints"][1]["confidence"] = 0.1
    drawn = changed(element)
    assert drawn[100, 400]
    assert not drawn[190:210, 490:510].any()


@pytest.mark.parametrize(
    ("yaw", "pitch", "right", "down"), [(0.5, 0.0, -1, 0), (-0.5, 0.0, 1, 0), (0.0, 0.5, 0, -1), (0.0, -0.5, 0, 1)]
)
def test_arrows_point_where_the_signs_say(yaw: float, pitch: float, right: int, down: int) -> None:
    end = arrow_end(yaw, pitch, 100.0)
    assert [int(np.sign(round(part))) for part in end] == [right, down]
    element = gaze_element((yaw, pitch))
    element["predictions"][0]["face"] |= {"x": 320.0, "y": 180.0, "width": 200.0, "height": 200.0, "landmarks": []}
    inside = changed(element)[90:270, 230:410]
    at = middle_of(inside)
    assert [int(np.sign(round((place - 90) / 10))) for place in at] == [right, down]


def test_who_looks_into_the_camera_has_no_arrow() -> None:
    assert np.allclose(arrow_end(0.0, 0.0, 100.0), 0)


def test_what_has_no_place_leaves_the_frame_as_it_is() -> None:
    for element in (None, [0.5, 0.25], {"similarity": [0.5]}, gaze_element()):
        assert not changed(element).any()
