"""One tile: what stands on it and where."""

import sys

import numpy as np
import pytest
from PIL import ImageColor

from deployments.sheet_captions import Line, caption
from deployments.sheet_pictures import DrawingLibraryError
from deployments.sheet_tiles import BAR, PAD, Tile, clock, draw_tile
from tests.element_builders import (
    box,
    classification_element,
    detection_element,
    gaze_element,
    instance_element,
    key_point_element,
    multi_label_element,
    polygon,
    similarity_element,
)

GREY = np.full((200, 400, 3), 128, np.uint8)


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0.0, "0:00.0"), (7.4074, "0:07.4"), (59.96, "1:00.0"), (61.0, "1:01.0"), (3723.5, "1:02:03.5")],
)
def test_clock(time_s, text):
    assert clock(time_s) == text


@pytest.mark.parametrize(
    ("element", "lines"),
    [
        (None, [Line("no result for this frame")]),
        (classification_element(cat=0.75, dog=0.25), [Line("cat", 0.75), Line("dog", 0.25)]),
        (classification_element(a=0.4, b=0.3, c=0.2, d=0.1), [Line("a", 0.4), Line("b", 0.3), Line("c", 0.2)]),
        (classification_element(**{"cab, hack, taxi": 1.0}), [Line("cab", 1.0)]),
        (multi_label_element(dog=0.25, cat=0.75), [Line("cat", 0.75), Line("dog", 0.25)]),
        (detection_element(), [Line("nothing found")]),
        (detection_element(box(), box(name="car"), box(name="car")), [Line("2 × car"), Line("1 × person")]),
        (
            detection_element(
                box(name="car"), box(name="car"), *(box(name=n) for n in ("person", "bicycle", "größe ü"))
            ),
            [Line("2 × car"), Line("1 × person"), Line("and 2 of other classes")],
        ),
        (instance_element(polygon((1, 1), (9, 1), (9, 9))), [Line("1 × person")]),
        (key_point_element((1.0, 2.0)), [Line("1 × person")]),
        (gaze_element(), [Line("nothing found")]),
        (gaze_element((0.5, -0.1)), [Line("face: 29° left, 6° down", figure="75%")]),
        (
            gaze_element((-0.5, 0.1), *[(0.0, 0.0)] * 4),
            [
                Line("face: 29° right, 6° up", figure="75%"),
                Line("face: 0° left, 0° up", figure="75%"),
                Line("and 3 more faces"),
            ],
        ),
        ({"similarity": {"a dog": 0.25, "a cat": -0.1}}, [Line("a dog", 0.25, "0.250"), Line("a cat", 0.0, "-0.100")]),
        ({"similarity": [0.1, 0.2]}, [Line("prompt 2", 0.2, "0.200"), Line("prompt 1", 0.1, "0.100")]),
        (similarity_element(dog=0.5, cat=0.25), [Line("dog", 0.5), Line("cat", 0.25)]),
        ([3.0, -4.0], [Line("2 numbers", figure="length 5.00"), Line("3, -4 …")]),
        ({"yaw": 1.0}, [Line("a kind of result that has no picture")]),
    ],
)
def test_caption(element, lines):
    assert caption(element) == lines


def test_bars_are_as_long_as_the_confidence():
    tile = np.asarray(draw_tile(Tile(GREY, 0.0, classification_element(cat=0.75, dog=0.25)), 424))
    bar = np.array(ImageColor.getrgb(BAR))

    lengths = [int((tile[212 + PAD + row * 30 + 2] == bar).all(axis=1).sum()) for row in range(3)]

    assert lengths == [pytest.approx(300, abs=4), pytest.approx(100, abs=4), 0]


def test_boxes_stand_where_the_element_says_in_the_scaled_frame():
    element = {**detection_element(box(200.0, 100.0, size=60.0)), "image": {"width": 400, "height": 200}}

    plain, drawn = (
        np.asarray(draw_tile(Tile(GREY, 0.0, said), 800)).astype(int) for said in (detection_element(), element)
    )

    changed = (np.abs(plain - drawn).sum(axis=2) > 60)[:400]
    below_label = changed[120:]
    rows, columns = np.nonzero(below_label)
    assert columns.min() == pytest.approx(2 * 170, abs=2)
    assert columns.max() == pytest.approx(2 * 230, abs=2)
    assert rows.max() + 120 == pytest.approx(2 * 160, abs=2)
    assert not changed[150:300, 350:450].any()


def test_boxes_without_their_library_are_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)

    with pytest.raises(DrawingLibraryError, match="libgl1"):
        draw_tile(Tile(GREY, 0.0, detection_element(box())), 400)


def test_classes_need_no_drawing_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    monkeypatch.setitem(sys.modules, "cv2", None)

    assert draw_tile(Tile(GREY, 0.0, classification_element(cat=1.0)), 400).width == 400


def test_long_names_keep_clear_of_the_percentage():
    tiles = [
        np.asarray(draw_tile(Tile(GREY, 0.0, classification_element(**{name: 0.0})), 400)) for name in ("w" * 60, "w")
    ]

    np.testing.assert_array_equal(tiles[0][:, 350:], tiles[1][:, 350:])
