"""Outputs of detectors in ONNX → boxes. Every decoding gives boxes of the network's picture; the frame's come last.

Rules are those of the authors' own code: YOLOX (`demo_postprocess`), YOLOv5, v8 and v11 (Ultralytics' exports).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.detections import FoundBoxes
from models.frame_sizes import Size
from models.onnx_card import OutputCard
from models.onnx_pictures import Placement
from models.onnx_runtime import Array, OnnxRunError
from models.suppression import suppress

_YOLOX_STRIDES = (8, 16, 32)
_BOX_NUMBERS = 4


@dataclass(frozen=True)
class Candidates:
    """Boxes of one picture before suppression, in pixels of the picture.

    Attributes:
        boxes: `(k, 4)`: left, top, right, bottom.
        scores: `(k,)`.
        class_ids: `(k,)`.
        coefficients: `(k, m)`: what their masks are mixed from; m is 0 for detectors.

    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    coefficients: NDArray[np.float32]

    def chosen(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Candidates:
        """Only those of the given indices, or where a mask says so."""
        return Candidates(self.boxes[which], self.scores[which], self.class_ids[which], self.coefficients[which])


def named_outputs(card: OutputCard) -> tuple[str, ...]:
    """The outputs that the card names."""
    named = (card.name, card.boxes, card.scores, card.classes, card.count, card.rows)
    return tuple(name for name in named if name is not None)


def read_detections(outputs: Mapping[str, Array], card: OutputCard, picture: Size) -> list[Candidates]:
    """Read what a network gives that suppresses by itself: boxes, scores and classes apart, or rows of six numbers."""
    if card.rows is not None:
        rows = _checked(outputs[card.rows], card.rows, 3, 6)
        boxes, scores, classes = rows[..., :4], rows[..., 4], rows[..., 5]
    else:
        assert card.boxes is not None
        assert card.scores is not None
        assert card.classes is not None
        boxes, scores = _checked(outputs[card.boxes], card.boxes, 3, _BOX_NUMBERS), outputs[card.scores]
        classes = outputs[card.classes]
        if scores.shape != boxes.shape[:2] or classes.shape != boxes.shape[:2]:
            raise OnnxRunError(
                f"the network gives boxes {boxes.shape}, scores {scores.shape} and classes {classes.shape}; scores and "
                "classes need a number for each box."
            )
    corners = _corners(boxes.astype(np.float64), card.box_format) * _unit(card, picture)
    counts = outputs[card.count].reshape(len(boxes)).astype(int) if card.count else [boxes.shape[1]] * len(boxes)
    return [
        _candidates(one[:count], some[:count].astype(np.float64), ids[:count].round().astype(np.int64))
        for one, some, ids, count in zip(corners, scores, classes, counts, strict=True)
    ]


def read_yolox(output: Array, picture: Size) -> list[Candidates]:
    """Read YOLOX's grid `(n, cells, 5 + classes)`: centre = (cell + number) × stride, side = exp(number) × stride.

    A cell's score for a class is its objectness times the class's; it stands for its best class.
    """
    cells, strides = _yolox_cells(picture)
    if output.ndim != 3 or output.shape[1] != len(cells) or output.shape[2] < 6:
        raise OnnxRunError(
            f"the output has the shape {output.shape}; YOLOX gives (n, {len(cells)}, 5 + classes) for pictures of "
            f"{picture[0]} × {picture[1]}."
        )
    numbers = output[..., :_BOX_NUMBERS].astype(np.float64)
    centres, sides = (numbers[..., :2] + cells) * strides, np.exp(numbers[..., 2:]) * strides
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=-1)
    return [_best_products(one, rows[:, 4], rows[:, 5:]) for one, rows in zip(boxes, output, strict=True)]


def read_yolo(output: Array, card: OutputCard, picture: Size, *, classes: int, masks: int = 0) -> list[Candidates]:
    """Read the one output of YOLOv5 `(n, k, 5 + classes)`, or of v8 and v11 `(n, 4 + classes, k)`, in either order.

    Behind the classes stand `masks` coefficients where the network gives masks too. `classes` is 0 where nobody knows
    how many there are: then the card must say which head it is.
    """
    rows, objectness = _yolo_rows(output, card.head, classes, masks)
    first = _BOX_NUMBERS + objectness
    last = rows.shape[-1] - masks
    boxes = _corners(rows[..., :_BOX_NUMBERS].astype(np.float64), "cxcywh") * _unit(card, picture)
    return [
        _best_products(one, row[:, _BOX_NUMBERS], row[:, first:last], row[:, last:])
        if objectness
        else _best_classes(one, row[:, first:last], row[:, last:])
        for one, row in zip(boxes, rows, strict=True)
    ]


def surest_boxes(candidates: Candidates, *, confidence: float, iou_threshold: float | None, most: int) -> Candidates:
    """Those at or above `confidence`, suppressed class by class unless `iou_threshold` is None; at most `most`."""
    sure = candidates.chosen(candidates.scores >= confidence)
    if iou_threshold is None:
        return sure.chosen(np.argsort(-sure.scores, kind="stable")[:most])
    return sure.chosen(suppress(sure.boxes, sure.scores, sure.class_ids, iou_threshold=iou_threshold, most=most))


def in_frame(candidates: Candidates, placement: Placement, *, clip: bool) -> FoundBoxes:
    """Give the boxes in pixels of the frame, cut at its edges where the authors do so."""
    boxes = placement.to_frame(candidates.boxes)
    if clip:
        height, width = placement.frame
        boxes = boxes.clip(0, [width, height, width, height])
    return FoundBoxes(scores=candidates.scores, class_ids=candidates.class_ids, boxes=boxes)


def _best_classes(boxes: NDArray[np.float64], scores: Array, coefficients: Array) -> Candidates:
    """Each box stands for its best class: `scores` is (k, classes)."""
    best = scores.argmax(axis=-1)
    values = np.take_along_axis(scores, best[:, None], axis=-1)[:, 0]
    return _candidates(boxes, values.astype(np.float64), best, coefficients)


def _best_products(
    boxes: NDArray[np.float64], objectness: Array, classes: Array, coefficients: Array | None = None
) -> Candidates:
    """Each box stands for its best class: `(k,)` objectness times `(k, classes)`, as float64.

    Where the objectness is above 0, the best class is the best product's; only its own is multiplied.
    """
    best = classes.argmax(axis=-1)
    scores = objectness.astype(np.float64) * np.take_along_axis(classes, best[:, None], axis=-1)[:, 0]
    doubtful = objectness <= 0
    if doubtful.any():
        products = objectness[doubtful, None].astype(np.float64) * classes[doubtful]
        best[doubtful], scores[doubtful] = products.argmax(axis=-1), products.max(axis=-1)
    return _candidates(boxes, scores, best, coefficients)


def _candidates(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    class_ids: NDArray[np.int64],
    coefficients: Array | None = None,
) -> Candidates:
    mixed = np.zeros((len(boxes), 0), dtype=np.float32) if coefficients is None else coefficients
    return Candidates(boxes, scores, class_ids, mixed.astype(np.float32, copy=False))


def _corners(boxes: NDArray[np.float64], box_format: str) -> NDArray[np.float64]:
    """Left, top, right, bottom of boxes (…, 4) in any of the card's formats."""
    if box_format == "xyxy":
        return boxes
    if box_format == "yxyx":
        return boxes[..., [1, 0, 3, 2]]
    place, sides = boxes[..., :2], boxes[..., 2:]
    corner = place if box_format == "xywh" else place - sides / 2
    return np.concatenate([corner, corner + sides], axis=-1)


def _unit(card: OutputCard, picture: Size) -> NDArray[np.float64]:
    """Pixels of the picture for one unit of left, top, right, bottom."""
    height, width = picture if card.box_unit == "normalised" else (1, 1)
    return np.array([width, height, width, height], dtype=np.float64)


def _yolox_cells(picture: Size) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Place and stride of every cell, `(cells, 2)` and `(cells, 1)`: row by row, the finest grid first."""
    cells, strides = [], []
    for stride in _YOLOX_STRIDES:
        rows, columns = picture[0] // stride, picture[1] // stride
        across, down = np.meshgrid(np.arange(columns), np.arange(rows))
        cells.append(np.stack([across.ravel(), down.ravel()], axis=-1))
        strides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(cells).astype(np.float64), np.concatenate(strides).astype(np.float64)


def _yolo_rows(output: Array, head: str, classes: int, masks: int) -> tuple[Array, int]:
    """Turn the output so that each row is a box; say too whether it has an objectness (1) or not (0)."""
    if output.ndim != 3:
        raise OnnxRunError(f"the output has the shape {output.shape}; YOLO gives three dimensions.")
    rows, columns = output.shape[1:]
    if not classes:
        # v5 lays boxes out as rows, its successors as columns.
        return (output, 1) if head == "objectness" else (output.transpose(0, 2, 1), 0)
    forms = {"auto": (1, 0), "objectness": (1,), "plain": (0,)}[head]
    lengths = [_BOX_NUMBERS + objectness + classes + masks for objectness in forms]
    for objectness, length in zip(forms, lengths, strict=True):
        if columns == length:
            return output, objectness
        if rows == length:
            return output.transpose(0, 2, 1), objectness
    expected = " or ".join(str(length) for length in lengths)
    raise OnnxRunError(
        f"the output has the shape {output.shape}; with {classes} classes a box has {expected} numbers, so the classes "
        "in the card, or its decoding, are those of another network."
    )


def _checked(value: Array, name: str, dimensions: int, last: int) -> Array:
    if value.ndim != dimensions or value.shape[-1] != last:
        raise OnnxRunError(f"{name} has the shape {value.shape}; (n, boxes, {last}) was to be expected.")
    return value
