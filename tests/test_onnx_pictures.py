"""Frames as networks in ONNX see them, against their authors' own way of preparing them, and boxes on the way back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from models.onnx_card import InputCard
from models.onnx_pictures import picture_size, pictures, place
from models.onnx_runtime import NetworkInput
from models.vision_model import ModelLoadError
from tests.pictures import pictures as frames_of

SHAPES = [(272, 640), (640, 272), (576, 768), (144, 176), (333, 61), (64, 64)]
TOP_LEFT = InputCard(resize="letterbox", place="top-left", colour="bgr")
CENTRE = InputCard(resize="letterbox", scale=1 / 255)


def prepared(frame: np.ndarray, card: InputCard, size: tuple[int, int] = (416, 416)) -> np.ndarray:
    return pictures([frame], card, place(card, frame.shape[:2], size), np.float32)[0]


def yolox_picture(frame: np.ndarray) -> np.ndarray:
    """YOLOX's preproc: shrink by one ratio, put it at the top left of grey, BGR, channels first."""
    ratio = min(416 / frame.shape[0], 416 / frame.shape[1])
    canvas = np.full((416, 416, 3), 114, dtype=np.uint8)
    size = (int(frame.shape[1] * ratio), int(frame.shape[0] * ratio))
    canvas[: size[1], : size[0]] = cv2.resize(frame[..., ::-1], size, interpolation=cv2.INTER_LINEAR)
    return canvas.transpose(2, 0, 1).astype(np.float32)


def ultralytics_picture(frame: np.ndarray) -> np.ndarray:
    """Ultralytics' LetterBox: shrink by one ratio, a grey border around it, RGB from 0 to 1."""
    height, width = frame.shape[:2]
    ratio = min(416 / height, 416 / width)
    inner = (round(width * ratio), round(height * ratio))
    across, down = (416 - inner[0]) / 2, (416 - inner[1]) / 2
    resized = cv2.resize(frame, inner, interpolation=cv2.INTER_LINEAR)
    bordered = cv2.copyMakeBorder(
        resized,
        round(down - 0.1),
        round(down + 0.1),
        round(across - 0.1),
        round(across + 0.1),
        cv2.BORDER_CONSTANT,
        value=(114, 114, 114),
    )
    return bordered.transpose(2, 0, 1).astype(np.float32) / 255


@pytest.mark.parametrize("shape", SHAPES)
def test_a_frame_is_prepared_as_yolox_prepares_it(shape: tuple[int, int]) -> None:
    (frame,) = frames_of(1, *shape)
    assert np.array_equal(prepared(frame, TOP_LEFT), yolox_picture(frame))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_frame_is_prepared_as_ultralytics_prepares_it(shape: tuple[int, int]) -> None:
    (frame,) = frames_of(1, *shape)
    assert np.abs(prepared(frame, CENTRE) - ultralytics_picture(frame)).max() < 1e-6


@pytest.mark.parametrize("card", [TOP_LEFT, CENTRE, InputCard(), InputCard(resize="crop")], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_mark_is_where_the_way_back_says(shape: tuple[int, int], card: InputCard) -> None:
    """A bright square in the middle of black comes back to within what one pixel of the picture covers."""
    height, width = shape
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    top, bottom, left, right = height // 3, -(-2 * height // 3), width // 3, -(-2 * width // 3)
    frame[top:bottom, left:right] = 255
    card = card.model_copy(update={"pad_value": 0})
    placement = place(card, shape, (416, 416))
    seen = pictures([frame], card, placement, np.float32)[0].max(axis=0) * (255 if card.scale != 1 else 1) > 127
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)
    if card.resize == "crop":
        box = np.where((box == 0) | (box == 416), np.nan, box)
    apart = np.abs(placement.to_frame(box) - [left, top, right, bottom]) * np.tile(placement.scale, 2)
    assert np.nanmax(apart) <= max(1.0, placement.scale[0] * 0.51)


def test_the_flattest_frame_keeps_a_row() -> None:
    assert place(TOP_LEFT, (2, 2000), (416, 416)).content == (1, 416)
    assert place(CENTRE, (2, 2000), (416, 416)).content == (1, 416)


def test_cutting_the_middle_out_is_what_torchvision_does() -> None:
    """Resize(256) by Pillow, CenterCrop(224): both round as Python does."""
    (frame,) = frames_of(1, 271, 333)
    resized = Image.fromarray(frame).resize((int(256 * 333 / 271), 256), Image.Resampling.BILINEAR)
    left, top = round((resized.width - 224) / 2.0), round((256 - 224) / 2.0)
    expected = np.asarray(resized.crop((left, top, left + 224, top + 224)))
    card = InputCard(resize="crop", edge=256, filter="pillow-bilinear", layout="nhwc")
    assert np.array_equal(prepared(frame, card, (224, 224)), expected.astype(np.float32))


@pytest.mark.parametrize("how", ["bilinear", "bicubic", "area", "nearest", "pillow-bilinear", "pillow-bicubic"])
def test_every_filter_is_another_one(how: str) -> None:
    (frame,) = frames_of(1, 271, 333)
    ours = prepared(frame, InputCard(filter=how, layout="nhwc"), (64, 64))
    if how.startswith("pillow"):
        filters = {"pillow-bilinear": Image.Resampling.BILINEAR, "pillow-bicubic": Image.Resampling.BICUBIC}
        expected = np.asarray(Image.fromarray(frame).resize((64, 64), filters[how]))
    else:
        flag = {"bilinear": 1, "bicubic": 2, "area": 3, "nearest": 0}[how]
        expected = cv2.resize(frame, (64, 64), interpolation=flag)
    assert np.array_equal(ours, expected.astype(np.float32))


def test_mean_and_deviation_are_taken_after_the_scale() -> None:
    (frame,) = frames_of(1, 64, 64)
    card = InputCard(scale=1 / 255, mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.3])
    expected = (frame.astype(np.float64) / 255 - [0.4, 0.5, 0.6]) / [0.2, 0.25, 0.3]
    assert np.abs(prepared(frame, card, (64, 64)) - expected.transpose(2, 0, 1)).max() < 1e-5


def test_whole_grey_levels_stay_whole() -> None:
    (frame,) = frames_of(1, 64, 64)
    card = InputCard(layout="nhwc")
    levels = pictures([frame], card, place(card, (64, 64), (64, 64)), np.uint8)
    assert levels.dtype == np.uint8
    assert np.array_equal(levels[0], frame)


@pytest.mark.parametrize(
    ("shape", "card", "told"),
    [
        ((1, 3, 416), InputCard(), "with 3 dimensions"),
        ((1, 416, 416, 3), InputCard(), "no 3 colours as nchw; set layout"),
        ((1, 3, 416, 416), InputCard(layout="nhwc"), "no 3 colours as nhwc; set layout"),
        ((1, 3, 416, 416), InputCard(size=(640, 640)), "416 × 416, the card's size is [640, 640]"),
        ((1, 3, None, 416), InputCard(), "fixes one side"),
    ],
)
def test_a_network_that_takes_other_pictures_is_refused(shape: tuple, card: InputCard, told: str) -> None:
    with pytest.raises(ModelLoadError) as refused:
        picture_size(card, NetworkInput("images", shape, np.float32), "a.onnx")
    assert told in str(refused.value)


def test_the_size_is_the_networks_the_cards_or_the_frames() -> None:
    def size(shape: tuple, card: InputCard) -> tuple[int, int] | None:
        return picture_size(card, NetworkInput("images", shape, np.float32), Path("a.onnx").name)

    assert size((1, 3, 416, 320), InputCard()) == (416, 320)
    assert size((None, None, None, 3), InputCard(layout="nhwc", size=(320, 240))) == (320, 240)
    assert size((None, 3, None, 416), InputCard(size=(320, 416))) == (320, 416)
    assert size((None, 3, None, None), InputCard()) is None
