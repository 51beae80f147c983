"""What people write first: a loop over the frames that OpenCV gives, and a call of the model for each that is wanted.

The same weights, frames and thresholds as ours, and the same outcome: boxes of every wanted frame as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.decode_files import FPS, HEIGHT, WIDTH
from tests.benchmarks.job_found import write_found
from tests.benchmarks.job_work import Work

IOU_THRESHOLD = 0.3
"""Ours by default."""
_STRIDES = (8, 16, 32)
_COCO_CLASSES = 80


def wanted_frames(order: dict[str, Any]) -> range:
    """The numbers of the frames wanted."""
    return range(0, int(order["end_s"] * FPS), FPS // order["fps"])


def opencv_frames(order: dict[str, Any]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Number and BGR picture of each frame wanted.

    The `way` there: `read` takes every frame, `grab` only decodes those between, `seek` jumps from one to the next.
    """
    wanted, capture = wanted_frames(order), cv2.VideoCapture(order["path"])
    for number in wanted if order["way"] == "seek" else range(wanted.stop):
        if order["way"] == "seek":
            capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        elif order["way"] == "grab" and number not in wanted:
            capture.grab()
            continue
        given, picture = capture.read()
        if not given:
            raise RuntimeError(f"OpenCV gives no frame {number}")
        if number in wanted:
            yield number, np.asarray(picture, np.uint8)


def pipeline_loop(order: dict[str, Any]) -> Work:
    """transformers' pipeline, a PIL picture a call; it takes no batches of this model (5.20 raises `IndexError`)."""
    from PIL import Image
    from transformers import pipeline

    model = order["model"]
    threshold = model["inference_params"]["confidence"]
    detect = pipeline("object-detection", model=model["model_id"], device=order["device"])
    detect(Image.new("RGB", (WIDTH, HEIGHT)), threshold=threshold)

    def boxes(picture: NDArray[np.uint8]) -> list[Any]:
        given = detect(Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)), threshold=threshold)
        return [[one["label"], one["score"], *one["box"].values()] for one in given]

    def work() -> dict[str, Any]:
        found = {number: boxes(picture) for number, picture in opencv_frames(order)}
        write_found(Path(order["found"]), found)
        return {"frames": len(found)}

    return work


def onnx_loop(order: dict[str, Any]) -> Work:
    """onnxruntime with its own defaults, OpenCV's resize, YOLOX's published decoding and suppression."""
    import onnxruntime

    session = onnxruntime.InferenceSession(yolox_file(order["model"]), providers=["CPUExecutionProvider"])
    read = YoloxReader(session, order["model"]["inference_params"]["confidence"])
    read(np.zeros((HEIGHT, WIDTH, 3), np.uint8))

    def work() -> dict[str, Any]:
        found = {number: read(picture) for number, picture in opencv_frames(order)}
        write_found(Path(order["found"]), found)
        return {"frames": len(found)}

    return work


def yolox_file(model: dict[str, Any]) -> str:
    """The network in a model's folder."""
    return str(next(Path(model["model_id"]).glob("*.onnx")))


class YoloxReader:
    """One YOLOX network: a BGR picture `(height, width, 3)` → boxes, as its authors' demo does it."""

    def __init__(self, session: Any, threshold: float) -> None:
        self._session, self._threshold = session, threshold
        described = session.get_inputs()[0]
        self._name, self._side = described.name, int(described.shape[2])
        cells, strides = [], []
        for stride in _STRIDES:
            columns, rows = np.meshgrid(np.arange(self._side // stride), np.arange(self._side // stride))
            cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
            strides.append(np.full((columns.size, 1), stride))
        self._cells, self._strides = np.concatenate(cells), np.concatenate(strides)

    def __call__(self, picture: NDArray[np.uint8]) -> list[Any]:
        ratio = min(self._side / picture.shape[0], self._side / picture.shape[1])
        inner = (int(picture.shape[1] * ratio), int(picture.shape[0] * ratio))
        canvas = np.full((self._side, self._side, 3), 114, dtype=np.uint8)
        canvas[: inner[1], : inner[0]] = cv2.resize(picture, inner)
        given = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], dtype=np.float32)
        (rows,) = self._session.run(None, {self._name: given})[0]
        centres = (rows[:, :2] + self._cells) * self._strides
        sizes = np.exp(rows[:, 2:4]) * self._strides
        scores = rows[:, 4:5] * rows[:, 5:]
        classes, best = scores.argmax(axis=1), scores.max(axis=1)
        sure = best >= self._threshold
        corners = (centres - sizes / 2)[sure] / ratio
        boxes = np.concatenate([corners, sizes[sure] / ratio], axis=1)
        kept = cv2.dnn.NMSBoxesBatched(
            boxes.tolist(), best[sure].tolist(), classes[sure].tolist(), self._threshold, IOU_THRESHOLD
        )
        ends = corners + boxes[:, 2:]
        return [
            [str(classes[sure][one]), float(best[sure][one]), *corners[one].tolist(), *ends[one].tolist()]
            for one in kept
        ]
