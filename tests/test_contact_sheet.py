"""A contact sheet of a barcoded video: which frames are on it, and where."""

import json
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from deployments.contact_sheet import (
    GAP,
    MARGIN,
    TITLE_HEIGHT,
    ResultUnreadableError,
    arrange,
    draw_contact_sheet,
    evenly,
    frames_as_seen,
    read_model_result,
)
from tests.element_builders import box, classification_element, detection_element
from tests.video_files import make_video, read_barcode, with_hole


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("video") / "numbers.mp4", frames=60, rate=Fraction(30), b_frames=2)


def write_result(folder, **lists):
    folder.mkdir(exist_ok=True)
    (folder / "predictions.json").write_text(json.dumps(lists))
    return folder


@pytest.mark.parametrize(
    ("count", "wanted", "chosen"),
    [(0, 12, []), (1, 12, [0]), (5, 12, [0, 1, 2, 3, 4]), (10, 2, [2, 7]), (50, 5, [5, 15, 25, 35, 45])],
)
def test_evenly(count, wanted, chosen):
    assert evenly(count, wanted) == chosen


def test_frames_are_those_of_the_offsets(video):
    pictures = frames_as_seen(video, [0, 7, 30, 31, 59])

    assert [read_barcode(picture) for picture in pictures] == [0, 7, 30, 31, 59]


def test_no_frames(video):
    assert frames_as_seen(video, []) == []


def test_a_frame_that_the_video_lacks(video):
    with pytest.raises(ResultUnreadableError, match=r"speaks of frame 60 and numbers\.mp4 has 60 frames"):
        frames_as_seen(video, [1, 60])


def test_frames_that_cannot_be_decoded_are_grey(video, tmp_path):
    damaged = with_hole(video, tmp_path / "damaged.mp4", at=0.5, size_bytes=400)

    pictures = frames_as_seen(damaged, range(60))

    grey = [number for number, picture in enumerate(pictures) if (picture == picture[0, 0]).all()]
    assert 0 < len(grey) < 40
    good = [number for number in range(60) if number not in grey]
    assert [read_barcode(pictures[number]) for number in good] == good


def test_sheet_shows_even_samples_in_reading_order(video, tmp_path):
    offsets = list(range(0, 60, 3))
    result = write_result(
        tmp_path / "result",
        frame_offset=offsets,
        time_offset=[offset / 30 for offset in offsets],
        classifier=[classification_element(cat=0.5, dog=0.25) if i % 2 else None for i in range(20)],
    )

    png = draw_contact_sheet(result, video, tmp_path / "new" / "sheet.png", frames=6, columns=4, tile_width=320)

    sheet = np.asarray(Image.open(png))
    assert sheet.shape[1] == 2 * MARGIN + 4 * 320 + 3 * GAP
    tile_height = (sheet.shape[0] - 2 * MARGIN - TITLE_HEIGHT - GAP) // 2
    numbers = []
    for place in range(6):
        top = MARGIN + TITLE_HEIGHT + place // 4 * (tile_height + GAP)
        left = MARGIN + place % 4 * (320 + GAP)
        numbers.append(read_barcode(sheet[top : top + 192, left : left + 320]))
    assert numbers == [offsets[i] for i in evenly(20, 6)]


def test_sheet_of_a_chosen_model_has_its_boxes(video, tmp_path):
    lists = {
        "frame_offset": [0, 30],
        "time_offset": [0.0, 1.0],
        "classifier": [classification_element(cat=1.0)] * 2,
        "detector": [detection_element(box(80.0, 48.0, size=20.0)), detection_element()],
    }
    result = write_result(tmp_path / "result", **lists)

    first = draw_contact_sheet(result, video, tmp_path / "first.png").read_bytes()
    chosen = draw_contact_sheet(result, video, tmp_path / "chosen.png", model_key="detector")

    assert chosen.read_bytes() != first
    assert _has_saturated_colour(Image.open(chosen))
    assert not _has_saturated_colour(Image.open(tmp_path / "first.png"))


def test_tiles_of_different_height_do_not_overlap():
    tiles = [Image.new("RGB", (100, height), colour) for height, colour in ((50, "red"), (80, "lime"), (60, "blue"))]

    sheet = arrange(tiles, "title", "subtitle", columns=2)

    red, lime, blue = ((np.asarray(sheet) == np.asarray(tile)[0, 0]).all(axis=2).sum() for tile in tiles)
    assert (red, lime, blue) == (100 * 50, 100 * 80, 100 * 60)


def test_a_result_without_samples_gives_a_sheet_with_a_title(video, tmp_path):
    result = write_result(tmp_path / "result", frame_offset=[], time_offset=[], m=[])

    assert Image.open(draw_contact_sheet(result, video, tmp_path / "sheet.png")).height > TITLE_HEIGHT


def test_says_when_there_is_no_result(tmp_path):
    with pytest.raises(ResultUnreadableError, match=r"predictions\.json cannot be read \(No such file"):
        read_model_result(tmp_path)


@pytest.mark.parametrize(
    "text", ["no json", "[]", "{}", '{"frame_offset": [0], "time_offset": [0.0]}', '{"m": [], "frame_offset": []}']
)
def test_refuses_what_is_no_result(tmp_path, text):
    (tmp_path / "predictions.json").write_text(text)

    with pytest.raises(ResultUnreadableError, match="holds no result of reelmill"):
        read_model_result(tmp_path)


def test_refuses_lists_of_different_length_and_a_model_that_is_not_there(tmp_path):
    write_result(tmp_path, frame_offset=[0, 1], time_offset=[0.0, 0.1], m=[None])

    with pytest.raises(ResultUnreadableError, match="holds no result of reelmill"):
        read_model_result(tmp_path)
    with pytest.raises(ResultUnreadableError, match="no result of the model 'other'"):
        read_model_result(tmp_path, "other")


def _has_saturated_colour(image):
    pixels = np.asarray(image).astype(int)
    return bool((pixels.max(axis=2) - pixels.min(axis=2) > 150).any())
