"""Masks of networks in ONNX, pixel for pixel against the plain path: Ultralytics' at full size, torch's resize."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import supervision
import torch
from pycocotools import mask as coco_masks
from torch.nn.functional import interpolate

from models.instance_segmentation import InstanceSegmentation
from models.onnx_card import OnnxCardError
from models.onnx_masks import split_outputs
from models.onnx_runtime import OnnxRunError
from models.request import InferenceParams
from models.semantic_segmentation import SemanticSegmentation
from models.vision_model import ModelLoadError
from tests.onnx_assets import YOLO_SEG, asset_folder, asset_frames, asset_path
from tests.onnx_networks import save_segmenter, save_yolo, write_card
from tests.pictures import pictures
from tests.requirements import needs

SHAPES = [(272, 640), (144, 176), (133, 61), (64, 64)]
YOLO = "{inference_type: instance-segmentation, output: yolo-seg, classes: [a, b, c]}"
SEMANTIC = "inference_type: semantic-segmentation\noutput: semantic\nclasses: [a, b, c]\n"


def run(path: Path, batch: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: batch})


def letterboxed(frame: np.ndarray, side: int) -> tuple[np.ndarray, float, int, int]:
    """The frame in the middle of a grey square; the ratio and the padding on the left and above."""
    ratio = min(side / frame.shape[0], side / frame.shape[1])
    inner = (round(frame.shape[1] * ratio), round(frame.shape[0] * ratio))
    left, top = round((side - inner[0]) / 2 - 0.1), round((side - inner[1]) / 2 - 0.1)
    canvas = np.full((side, side, 3), 114, dtype=np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(frame, inner)
    return canvas, ratio, left, top


def plain_masks(coefficients: np.ndarray, prototypes: np.ndarray, boxes: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Ultralytics' process_mask_native: prototypes (m, h, w) → masks (k, height, width) of boxes in the frame."""
    height, width = frame.shape[:2]
    rows, columns = prototypes.shape[1:]
    mixed = torch.from_numpy(coefficients @ prototypes.reshape(len(prototypes), -1)).view(-1, rows, columns)
    gain = min(rows / height, columns / width)
    across, down = (columns - width * gain) / 2, (rows - height * gain) / 2
    top, left = round(down - 0.1), round(across - 0.1)
    inside = mixed[:, top : rows - round(down + 0.1), left : columns - round(across + 0.1)]
    masks = interpolate(inside[None], (height, width), mode="bilinear", align_corners=False)[0].numpy()
    x, y = np.arange(width)[None, None], np.arange(height)[None, :, None]
    x1, y1, x2, y2 = (boxes[:, side, None, None] for side in range(4))
    return (masks > 0) & (x >= x1) & (x < x2) & (y >= y1) & (y < y2)


def plain_instances(path: Path, frame: np.ndarray, side: int, *, normalised: bool = False, nhwc: bool = False):
    """Boxes (k, 4), scores, classes and masks of every candidate, without suppression."""
    canvas, ratio, left, top = letterboxed(frame, side)
    values = canvas[None].astype(np.float32) / 255
    found, grid = run(path, values if nhwc else values.transpose(0, 3, 1, 2))
    prototypes = grid[0].transpose(2, 0, 1) if nhwc else grid[0]
    rows = found[0].T.astype(np.float64)
    rows[:, :4] *= side if normalised else 1
    centres, sizes = rows[:, :2] - [left, top], rows[:, 2:4]
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1) / ratio
    boxes = boxes.clip(0, [frame.shape[1], frame.shape[0]] * 2)
    scores = rows[:, 4 : -len(prototypes)]
    return boxes, scores.max(axis=1), scores.argmax(axis=1), rows[:, -len(prototypes) :].astype(np.float32), prototypes


def model_of(folder: Path, **params: object) -> InstanceSegmentation:
    model = InstanceSegmentation(folder, InferenceParams(mask_format="rle", **params))
    model.setup("cpu")
    return model


def whole(prediction: dict) -> np.ndarray:
    size, counts = prediction["rle"]["size"], prediction["rle"]["counts"]
    return np.array(coco_masks.decode([{"size": size, "counts": counts.encode()}])[..., 0], dtype=bool)


def check_instances(element: dict, frame: np.ndarray, plain) -> int:
    """Every prediction has a plain counterpart with its class, score, box and mask."""
    boxes, scores, classes, coefficients, prototypes = plain
    for prediction in element["predictions"]:
        x, y, width, height = (prediction[key] for key in ("x", "y", "width", "height"))
        box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        near = np.abs(boxes - box).max(axis=1) / 0.5 + np.abs(scores - prediction["confidence"]) / 1e-3
        near[classes != prediction["class_id"]] = np.inf
        best = [near.argmin()]
        assert near[best[0]] < 2
        (mask,) = plain_masks(coefficients[best], prototypes, boxes[best], frame)
        ours = whole(prediction)
        assert (ours & mask).sum() / (ours | mask).sum() >= 0.99
    return len(element["predictions"])


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_are_ultralytics_own_on_frames_of_every_shape(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = save_yolo(write_card(tmp_path, YOLO) / "x.onnx", 3, objectness=False, masks=8)
    model = model_of(tmp_path, confidence=0, iou_threshold=1, max_detections=1000)
    frames = pictures(2, *shape)
    for frame, element in zip(frames, model.predict(frames), strict=True):
        plain = plain_instances(path, frame, 64)
        found = check_instances(element, frame, plain)
        boxes, _, _, coefficients, prototypes = plain
        assert found == plain_masks(coefficients, prototypes, boxes, frame).any(axis=(1, 2)).sum() > 15


def test_polygons_and_run_lengths_go_through_supervision(tmp_path: Path) -> None:
    save_yolo(write_card(tmp_path, YOLO) / "x.onnx", 3, objectness=False, masks=8)
    (frame,) = pictures(1)
    for mask_format in ("polygon", "rle"):
        model = InstanceSegmentation(tmp_path, InferenceParams(confidence=0.7, mask_format=mask_format))
        model.setup("cpu")
        (element,) = model.predict([frame])
        read = supervision.Detections.from_inference(element)
        assert len(read) == len(element["predictions"]) > 0
        assert read.mask.shape == (len(read), *frame.shape[:2])
        assert set(read.data["class_name"]) <= {"a", "b", "c"}


@needs("assets")
def test_yolov8_on_a_street_is_the_plain_path(tmp_path: Path) -> None:
    model = model_of(asset_folder(tmp_path, YOLO_SEG), iou_threshold=0.45)
    (frame,) = asset_frames("bikes.mp4", [120])
    (element,) = model.predict([frame])
    assert {one["class"] for one in element["predictions"]} == {"person", "bicycle", "bus", "motorcycle"}
    plain = plain_instances(asset_path(YOLO_SEG), frame, 640, normalised=True, nhwc=True)
    assert check_instances(element, frame, plain) == 4


def test_outputs_are_told_apart_by_their_shape() -> None:
    boxes, prototypes = np.zeros((1, 15, 84)), np.zeros((1, 8, 16, 16))
    for outputs in ([boxes, prototypes], [prototypes.transpose(0, 2, 3, 1), boxes]):
        found, grid = split_outputs(outputs)
        assert found is boxes
        assert grid.shape == (1, 8, 16, 16)
    with pytest.raises(OnnxRunError, match=r"gives \(1, 15, 84\); masks need one output of boxes"):
        split_outputs([boxes])


def test_masks_need_the_whole_frame(tmp_path: Path) -> None:
    save_yolo(write_card(tmp_path, YOLO[:-1] + ", input: {resize: crop}}") / "x.onnx", 3, objectness=False, masks=8)
    with pytest.raises(OnnxCardError, match=r"frame that was cut; take resize: letterbox or stretch"):
        model_of(tmp_path)


# --- maps of classes --------------------------------------------------------------------------------------------------


def class_map(element: dict, which: str = "segmentation_mask") -> np.ndarray:
    png = np.frombuffer(base64.b64decode(element["predictions"][which]), np.uint8)
    return cv2.imdecode(png, cv2.IMREAD_UNCHANGED)


def semantic(folder: Path) -> SemanticSegmentation:
    model = SemanticSegmentation(folder, InferenceParams())
    model.setup("cpu")
    return model


@pytest.mark.parametrize("shape", SHAPES)
def test_classes_of_a_stretched_frame_are_the_plain_paths(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = save_segmenter(write_card(tmp_path, SEMANTIC + "input: {scale: 1/255}") / "x.onnx", 3)
    frames = pictures(2, *shape)
    for frame, element in zip(frames, semantic(tmp_path).predict(frames), strict=True):
        values = cv2.resize(frame, (64, 64)).transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        logits = interpolate(torch.from_numpy(run(path, values)[0]), shape, mode="bilinear", align_corners=False)[0]
        expected = logits.argmax(dim=0).numpy()
        assert (class_map(element) != expected).mean() < 1e-4
        scores = logits.softmax(dim=0).max(dim=0).values.numpy()
        assert np.abs(class_map(element, "confidence_mask") / 255 - scores).max() < 0.01
        assert element["predictions"]["class_map"] == {"0": "a", "1": "b", "2": "c"}
        assert len(element["predictions"]["present_class_ids"]) == len(np.unique(expected)) > 1


def test_a_letterboxed_frame_has_no_classes_of_its_border(tmp_path: Path) -> None:
    path = save_segmenter(write_card(tmp_path, SEMANTIC + "input: {scale: 1/255, resize: letterbox}") / "x.onnx", 3)
    (frame,) = pictures(1, 64, 128)
    (element,) = semantic(tmp_path).predict([frame])
    canvas, _, left, top = letterboxed(frame, 64)
    assert (left, top) == (0, 16)
    (logits,) = run(path, canvas.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    inside = interpolate(torch.from_numpy(logits[:, :, 4:12]), (64, 128), mode="bilinear", align_corners=False)
    assert (class_map(element) != inside[0].argmax(dim=0).numpy()).mean() < 1e-3


def test_class_numbers_are_taken_to_the_frame_by_the_nearest(tmp_path: Path) -> None:
    path = save_segmenter(write_card(tmp_path, SEMANTIC + "input: {scale: 1/255}") / "x.onnx", 3, numbers=True)
    (frame,) = pictures(1, 128, 256)
    (element,) = semantic(tmp_path).predict([frame])
    values = cv2.resize(frame, (64, 64)).transpose(2, 0, 1)[None].astype(np.float32) / 255
    (numbers,) = run(path, values)
    assert np.array_equal(class_map(element), np.kron(numbers[0], np.ones((8, 16), dtype=np.int64)))
    assert (class_map(element, "confidence_mask") == 255).all()


def test_other_classes_than_the_cards_are_told(tmp_path: Path) -> None:
    save_segmenter(write_card(tmp_path, SEMANTIC) / "x.onnx", 5)
    with pytest.raises(OnnxRunError, match=r"scores 5 classes, and the card names 3"):
        semantic(tmp_path).predict(pictures(1))


def test_a_card_for_another_type_is_refused(tmp_path: Path) -> None:
    save_segmenter(write_card(tmp_path, SEMANTIC) / "x.onnx", 3)
    with pytest.raises(ModelLoadError, match=r"card says semantic-segmentation, not instance-segmentation"):
        model_of(tmp_path)
