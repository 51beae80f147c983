"""Frames → the pictures that a network in ONNX was exported for, and the way back from its pixels to the frame's.

The resizes are those of the networks' authors (OpenCV's; Pillow's where the card says so): on the CPU, frame by frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.frame_sizes import Size, shortest_edge_size
from models.onnx_card import InputCard
from models.onnx_runtime import Array, NetworkInput
from models.resizing import ResizeFilter, resize_pictures
from models.vision_model import Frame, ModelLoadError

_OPENCV_FILTERS = {
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
}


@dataclass(frozen=True)
class Placement:
    """Where frames of one shape lie in the network's picture: its pixel = the frame's pixel × scale + shift.

    Attributes:
        frame: `(height, width)` of the frames.
        picture: `(height, width)` of the network's picture.
        content: `(height, width)` of the resized frame before padding or cutting.
        scale: Along x and y.
        shift: Along x and y, in pixels of the picture; negative where the frame was cut.

    """

    frame: Size
    picture: Size
    content: Size
    scale: tuple[float, float]
    shift: tuple[int, int]

    def to_frame(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn boxes (…, 4; left, top, right, bottom) of the picture into boxes of the frame."""
        moved: NDArray[np.float64] = (boxes - np.array(self.shift * 2)) / np.array(self.scale * 2)
        return moved


def place(card: InputCard, frame: Size, picture: Size) -> Placement:
    """Say where frames of `frame` go in pictures of `picture`, as the card asks."""
    height, width = frame
    if card.resize == "stretch":
        return Placement(frame, picture, picture, (picture[1] / width, picture[0] / height), (0, 0))
    if card.resize == "crop":
        content = shortest_edge_size(height, width, card.edge or max(picture))
        shift = (-round((content[1] - picture[1]) / 2), -round((content[0] - picture[0]) / 2))
        return Placement(frame, picture, content, (content[1] / width, content[0] / height), shift)
    ratio = min(picture[0] / height, picture[1] / width)
    if card.place == "top-left":
        return Placement(
            frame, picture, (max(1, int(height * ratio)), max(1, int(width * ratio))), (ratio, ratio), (0, 0)
        )
    content = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    shift = (round((picture[1] - content[1]) / 2 - 0.1), round((picture[0] - content[0]) / 2 - 0.1))
    return Placement(frame, picture, content, (ratio, ratio), shift)


def picture_size(card: InputCard, described: NetworkInput, file_name: str) -> Size | None:
    """Settle how large the network's picture is; None where it takes frames as they are. Raises `ModelLoadError`."""
    if len(described.shape) != 4:
        raise ModelLoadError(
            f"{file_name} takes {described.name} with {len(described.shape)} dimensions; pictures in batches have 4."
        )
    rows, columns, channels = (2, 3, 1) if card.layout == "nchw" else (1, 2, 3)
    if described.shape[channels] not in (3, None):
        raise ModelLoadError(
            f"{file_name} takes {described.name} as {list(described.shape)}, which has no 3 colours as {card.layout}; "
            "set layout in the card's input."
        )
    own = (described.shape[rows], described.shape[columns])
    asked = card.size or (None, None)
    if any(one and other and one != other for one, other in zip(own, asked, strict=True)):
        raise ModelLoadError(f"{file_name} takes pictures of {own[0]} × {own[1]}, the card's size is {list(asked)}.")
    height, width = own[0] or asked[0], own[1] or asked[1]
    if (height is None) != (width is None):
        raise ModelLoadError(f"{file_name} fixes one side of its pictures only; set size in the card's input.")
    return (height, width) if height is not None and width is not None else None


def pictures(frames: Sequence[Frame], card: InputCard, placement: Placement, dtype: type) -> Array:
    """Prepare frames of one shape: `(n, 3, height, width)`, or `(n, height, width, 3)`, in the network's type."""
    batch = _empty_batch(len(frames), placement.picture, card, dtype)
    canvas = np.full((*placement.picture, 3), card.pad_value, dtype=np.uint8)
    left, top = placement.shift
    rows = _overlap(top, placement.content[0], placement.picture[0])
    columns = _overlap(left, placement.content[1], placement.picture[1])
    whole = placement.content == placement.picture and placement.shift == (0, 0)
    for values, frame in zip(batch, frames, strict=True):
        resized = resized_frame(frame, placement.content, card)
        if not whole:
            canvas[rows, columns] = resized[_source(rows, top), _source(columns, left)]
        _fill(values, resized if whole else canvas, card)
    return batch.astype(dtype, copy=False)


def network_input(cuts: NDArray[np.uint8], card: InputCard, dtype: type) -> Array:
    """Take pictures `(n, height, width, 3)` of the network's own size to its numbers, laid out as it wants them."""
    batch = _empty_batch(len(cuts), (cuts.shape[1], cuts.shape[2]), card, dtype)
    for values, levels in zip(batch, cuts, strict=True):
        _fill(values, levels, card)
    return batch.astype(dtype, copy=False)


def resized_frame(frame: Frame, size: Size, card: InputCard) -> Frame:
    """Resize one frame `(height, width, 3)` with the card's filter."""
    if frame.shape[:2] == size:
        return frame
    if card.filter in _OPENCV_FILTERS:
        resized = cv2.resize(frame, (size[1], size[0]), interpolation=_OPENCV_FILTERS[card.filter])
        return np.asarray(resized, dtype=np.uint8)
    how: ResizeFilter = "bilinear" if card.filter == "pillow-bilinear" else "bicubic"
    return np.asarray(resize_pictures([frame], size, how)[0].permute(1, 2, 0))


def _empty_batch(count: int, picture: Size, card: InputCard, dtype: type) -> Array:
    """Floats are computed in 32 bits, whatever the network takes; whole numbers stay what they are."""
    shape = (count, 3, *picture) if card.layout == "nchw" else (count, *picture, 3)
    return np.empty(shape, np.float32 if np.dtype(dtype).kind == "f" else dtype)


def _fill(values: Array, levels: NDArray[np.uint8], card: InputCard) -> None:
    """Write (grey level × scale - mean) / std of a picture `(height, width, 3)` into one row of a batch.

    Whole numbers are left as they are. One plane after the other, where planes lie apart: a plane stays in the cache.
    """
    if card.layout == "nhwc":
        values[...] = levels[..., ::-1] if card.colour == "bgr" else levels
        _scale(values, card, np.array(card.mean, dtype=np.float32), np.array(card.std, dtype=np.float32))
        return
    mean, std = (np.broadcast_to(np.array(one, dtype=np.float32), 3) for one in (card.mean, card.std))
    planes = cv2.split(levels)
    for plane, levels_of_one, *constants in zip(
        values, reversed(planes) if card.colour == "bgr" else planes, mean, std, strict=True
    ):
        plane[...] = levels_of_one
        _scale(plane, card, *constants)


def _scale(values: Array, card: InputCard, mean: Array, std: Array) -> None:
    """(value × scale - mean) / std in place; `mean` and `std` are what belongs to the values' last side, or to all."""
    if values.dtype != np.float32:
        return
    if card.scale != 1:
        values *= np.float32(card.scale)
    if any(card.mean):
        values -= mean
    if any(one != 1 for one in card.std):
        values /= std


def _overlap(shift: int, content: int, picture: int) -> slice:
    """The picture's pixels that the shifted content covers."""
    return slice(max(shift, 0), min(shift + content, picture))


def _source(target: slice, shift: int) -> slice:
    return slice(target.start - shift, target.stop - shift)
