"""Detectors in ONNX: every decoding against the plain path (onnxruntime, the authors' rules), box for box."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from scipy.optimize import linear_sum_assignment

from models.onnx_card import OnnxCardError, OutputCard
from models.onnx_detections import read_detections, read_yolo, read_yolox
from models.onnx_models import OnnxDetector
from models.onnx_runtime import OnnxRunError
from models.request import InferenceParams
from models.vision_model import ModelLoadError
from tests.onnx_assets import SSD, YOLOX, asset_folder, asset_frames, asset_path
from tests.onnx_networks import SIDE_PX, YOLO_CELLS, NetworkBuilder, save_detections, save_yolo, save_yolox, write_card
from tests.pictures import pictures
from tests.requirements import needs

BOX_PX, SCORE = 0.5, 1e-3
EVERYTHING = InferenceParams(confidence=0, iou_threshold=1, max_detections=10000)
DETECTOR = "inference_type: object-detection\n"


def detector(folder: Path, params: InferenceParams = EVERYTHING) -> OnnxDetector:
    model = OnnxDetector(folder, params)
    model.setup("cpu")
    return model


def run(path: Path, batch: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: batch})


def yolox_grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    grids, strides = [], []
    for stride in (8, 16, 32):
        for row in range(side // stride):
            grids += [(column, row) for column in range(side // stride)]
            strides += [stride] * (side // stride)
    return np.array(grids, dtype=np.float64), np.array(strides, dtype=np.float64)[:, None]


def plain_yolox(path: Path, frame: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """YOLOX's demo: boxes (k, 4) in the frame, scores and classes of each cell."""
    ratio = min(side / frame.shape[0], side / frame.shape[1])
    canvas = np.full((side, side, 3), 114, dtype=np.uint8)
    inner = (int(frame.shape[1] * ratio), int(frame.shape[0] * ratio))
    canvas[: inner[1], : inner[0]] = cv2.resize(frame[..., ::-1], inner)
    (output,) = run(path, canvas.transpose(2, 0, 1)[None].astype(np.float32))
    grid, strides = yolox_grid(side)
    rows = output[0].astype(np.float64)
    centres, sizes = (rows[:, :2] + grid) * strides, np.exp(rows[:, 2:4]) * strides
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1) / ratio
    scores = rows[:, 4:5] * rows[:, 5:]
    return boxes, scores.max(axis=1), scores.argmax(axis=1)


def plain_yolo(path: Path, frame: np.ndarray, *, objectness: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ultralytics' prediction on 64 × 64: letterboxed in the middle, boxes cut at the frame."""
    height, width = frame.shape[:2]
    ratio = min(SIDE_PX / height, SIDE_PX / width)
    inner = (round(width * ratio), round(height * ratio))
    left, top = round((SIDE_PX - inner[0]) / 2 - 0.1), round((SIDE_PX - inner[1]) / 2 - 0.1)
    canvas = np.full((SIDE_PX, SIDE_PX, 3), 114, dtype=np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(frame, inner)
    output = run(path, canvas.transpose(2, 0, 1)[None].astype(np.float32) / 255)[0][0].astype(np.float64)
    rows = output if objectness else output.T
    centres, sizes = rows[:, :2] - [left, top], rows[:, 2:4]
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1) / ratio
    scores = rows[:, 4:5] * rows[:, 5:] if objectness else rows[:, 4:]
    return boxes.clip(0, [width, height, width, height]), scores.max(axis=1), scores.argmax(axis=1)


def assert_same(found, boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray) -> None:
    """Every box has its own counterpart: the same class, within half a pixel and a thousandth of a score."""
    assert len(found) == len(boxes) > 0
    assert (np.diff(found.scores) <= 0).all(), "the surest come first"
    apart = np.abs(found.boxes[:, None] - boxes[None]).max(axis=-1)
    differ = np.abs(found.scores[:, None] - scores[None])
    other = found.class_ids[:, None] != class_ids[None]
    ours, theirs = linear_sum_assignment(apart / BOX_PX + differ / SCORE + 1e9 * other)
    assert not other[ours, theirs].any(), "classes differ"
    assert apart[ours, theirs].max() < BOX_PX
    assert differ[ours, theirs].max() < SCORE


SHAPES = [(272, 640), (144, 100), (61, 333)]


@pytest.mark.parametrize("shape", SHAPES)
def test_yolox_is_its_authors_box_for_box(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = save_yolox(write_card(tmp_path, DETECTOR + "output: yolox\nclasses: [a, b, c]") / "x.onnx", 3)
    frames = pictures(2, *shape)
    for frame, found in zip(frames, detector(tmp_path).detect(frames), strict=True):
        assert_same(found, *plain_yolox(path, frame, SIDE_PX))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("objectness", [True, False], ids=["v5", "v8"])
def test_yolo_is_its_authors_box_for_box(tmp_path: Path, shape: tuple[int, int], objectness: bool) -> None:
    """Which of the two heads it is, the shape tells."""
    write_card(tmp_path, DETECTOR + "output: yolo\nclasses: [a, b, c]")
    path = save_yolo(tmp_path / "x.onnx", 3, objectness=objectness)
    frames = pictures(2, *shape)
    for frame, found in zip(frames, detector(tmp_path).detect(frames), strict=True):
        assert_same(found, *plain_yolo(path, frame, objectness=objectness))


def test_a_shift_by_one_pixel_fails_the_same_comparison(tmp_path: Path) -> None:
    write_card(tmp_path, DETECTOR + "output: yolo\nclasses: [a, b, c]")
    path = save_yolo(tmp_path / "x.onnx", 3, objectness=False)
    (frame,) = pictures(1)
    (found,) = detector(tmp_path).detect([np.roll(frame, 1, axis=1)])
    with pytest.raises(AssertionError):
        assert_same(found, *plain_yolo(path, frame, objectness=False))


def test_the_order_of_sides_is_found_and_a_stated_head_is_believed() -> None:
    rng = np.random.default_rng(2)
    rows = rng.random((1, 30, 9)).astype(np.float32)
    plain = read_yolo(rows, OutputCard(decode="yolo"), (64, 64), classes=5)
    turned = read_yolo(rows.transpose(0, 2, 1), OutputCard(decode="yolo"), (64, 64), classes=5)
    assert np.array_equal(plain[0].boxes, turned[0].boxes)
    assert plain[0].scores == pytest.approx(rows[0, :, 4:].max(axis=1))
    stated = read_yolo(rows, OutputCard(decode="yolo", head="objectness"), (64, 64), classes=0)
    assert stated[0].scores == pytest.approx((rows[0, :, 4:5] * rows[0, :, 5:]).max(axis=1))
    units = read_yolo(rows, OutputCard(decode="yolo", box_unit="normalised"), (32, 64), classes=5)
    assert units[0].boxes == pytest.approx(plain[0].boxes * [64, 32, 64, 32])


def test_classes_of_another_network_are_told() -> None:
    with pytest.raises(OnnxRunError, match=r"with 80 classes a box has 85 or 84 numbers"):
        read_yolo(np.zeros((1, 30, 9), np.float32), OutputCard(decode="yolo"), (64, 64), classes=80)
    with pytest.raises(OnnxRunError, match=r"YOLOX gives \(n, 84, 5 \+ classes\) for pictures of 64 × 64"):
        read_yolox(np.zeros((1, 30, 9), np.float32), (64, 64))
    with pytest.raises(OnnxRunError, match=r"YOLO gives three dimensions"):
        read_yolo(np.zeros((30, 9), np.float32), OutputCard(decode="yolo"), (64, 64), classes=5)


def test_the_thresholds_are_kept(tmp_path: Path) -> None:
    folder = write_card(tmp_path, DETECTOR + "output: yolo\nclasses: [a, b, c]")
    save_yolo(folder / "x.onnx", 3, objectness=False)
    frames = pictures(1)
    (everything,) = detector(folder).detect(frames)
    assert len(everything) == YOLO_CELLS
    (sure,) = detector(folder, InferenceParams(confidence=0.6, iou_threshold=1)).detect(frames)
    assert sure.scores.tolist() == everything.scores[everything.scores >= 0.6].tolist()
    (apart,) = detector(folder, InferenceParams(confidence=0.6, iou_threshold=0.2)).detect(frames)
    assert 0 < len(apart) < len(sure)
    (few,) = detector(folder, InferenceParams(confidence=0, iou_threshold=1, max_detections=3)).detect(frames)
    assert few.scores.tolist() == everything.scores[:3].tolist()
    assert len(detector(folder, InferenceParams(confidence=1)).detect(frames)[0]) == 0


def test_names_that_the_exporter_wrote_into_the_file_are_the_classes(tmp_path: Path) -> None:
    folder = write_card(tmp_path, DETECTOR + "output: yolo")
    save_yolo(folder / "x.onnx", 3, objectness=False, names=True)
    assert detector(folder).class_names == ("kind 0", "kind 1", "kind 2")
    save_yolo(folder / "x.onnx", 3, objectness=False)
    with pytest.raises(OnnxCardError, match=r"names no classes"):
        detector(folder)
    write_card(folder, DETECTOR + "output: {decode: yolo, head: plain}")
    assert len(detector(folder).detect(pictures(1))[0]) == YOLO_CELLS


def test_detections_apart_and_in_rows_are_the_same_boxes() -> None:
    """Boxes in every form that the card may name, and only as many as are said to be real."""
    boxes = np.array([[[10.0, 20, 30, 60], [1, 2, 3, 4], [0, 0, 0, 0]]], np.float32)
    scores, classes = np.array([[0.9, 0.8, 0.0]], np.float32), np.array([[2.0, 1, 0]], np.float32)
    named = {"boxes": "b", "scores": "s", "classes": "c"}
    forms = {
        "xyxy": boxes,
        "yxyx": boxes[..., [1, 0, 3, 2]],
        "xywh": np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1),
        "cxcywh": np.concatenate([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], axis=-1),
    }
    for box_format, given in forms.items():
        card = OutputCard(decode="detections", box_format=box_format, count="n", **named)
        outputs = {"b": given, "s": scores, "c": classes, "n": np.array([[2.0]])}
        (found,) = read_detections(outputs, card, (64, 64))
        assert found.boxes == pytest.approx(boxes[0, :2])
        assert found.class_ids.tolist() == [2, 1]
    rows = np.concatenate([boxes / 64, scores[..., None], classes[..., None]], axis=-1)
    card = OutputCard(decode="detections", rows="r", box_unit="normalised")
    (found,) = read_detections({"r": rows}, card, (64, 64))
    assert found.boxes == pytest.approx(boxes[0])
    apart = OutputCard(decode="detections", **named)
    with pytest.raises(OnnxRunError, match=r"r has the shape \(1, 3, 5\)"):
        read_detections({"r": rows[..., :5]}, card, (64, 64))
    with pytest.raises(OnnxRunError, match=r"scores and classes need a number for each box"):
        read_detections({"b": boxes, "s": scores[:, :2], "c": classes}, apart, (64, 64))


@pytest.mark.parametrize(
    ("card", "told"),
    [
        (
            "output: {decode: detections, boxes: b, scores: grid, classes: grid}",
            "has no output 'b'; it has grid",
        ),
        ("output: {decode: yolox, name: found}", "has no output 'found'"),
        ("output: yolox\ninput: {name: images}", "has no input 'images'; it has picture"),
        ("output: yolox\ninput: {size: [640, 640]}", "64 × 64, the card's size is [640, 640]"),
        ("output: yolox\ninput: {layout: nhwc}", "no 3 colours as nhwc"),
    ],
)
def test_a_card_that_names_what_the_network_lacks_is_refused(tmp_path: Path, card: str, told: str) -> None:
    save_yolox(write_card(tmp_path, DETECTOR + card) / "x.onnx", 3)
    with pytest.raises(ModelLoadError) as refused:
        detector(tmp_path)
    assert told in str(refused.value)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_network_that_suppresses_by_itself_takes_frames_as_they_are(tmp_path: Path, shape: tuple[int, int]) -> None:
    """Any size and any batch; whole grey levels; boxes in parts of the frame, by rows and columns."""
    write_card(
        tmp_path,
        DETECTOR
        + "input: {layout: nhwc}\noutput: {decode: detections, boxes: boxes, scores: scores, classes: classes, "
        "box_format: yxyx, box_unit: normalised}",
    )
    path = save_detections(tmp_path / "x.onnx", 6)
    frames = pictures(2, *shape)
    for frame, found in zip(frames, detector(tmp_path).detect(frames), strict=True):
        boxes, scores, classes = (one[0] for one in run(path, frame[None]))
        assert_same(found, boxes[:, [1, 0, 3, 2]] * [*shape[::-1], *shape[::-1]], scores, classes.astype(int))


def test_of_several_outputs_one_must_be_named(tmp_path: Path) -> None:
    write_card(tmp_path, DETECTOR + "output: yolo\nclasses: [a, b, c]")
    save_yolo(tmp_path / "x.onnx", 3, objectness=False, masks=4)
    with pytest.raises(OnnxCardError, match=r"has the outputs found, prototypes; say which one"):
        detector(tmp_path)


def test_numbers_are_not_made_of_whole_grey_levels(tmp_path: Path) -> None:
    net = NetworkBuilder()
    net.node("Cast", "picture", to=1, output="found")
    net.save(tmp_path / "x.onnx", ["found"], dtype=2)
    write_card(tmp_path, DETECTOR + "output: yolo\nclasses: [a]")
    with pytest.raises(OnnxCardError, match=r"takes whole grey levels; leave scale"):
        detector(tmp_path)


@needs("assets")
def test_yolox_nano_on_a_street_is_the_plain_path(tmp_path: Path) -> None:
    frames = asset_frames("bikes.mp4", [20, 120, 220])
    model = detector(asset_folder(tmp_path, YOLOX))
    for frame, found in zip(frames, model.detect(frames), strict=True):
        boxes, scores, class_ids = plain_yolox(asset_path(YOLOX), frame, 416)
        sure = scores > 0.01
        ours = found.scores > 0.01
        assert found.scores[0] > 0.4
        assert_same(
            type(found)(found.scores[ours], found.class_ids[ours], found.boxes[ours]),
            boxes[sure],
            scores[sure],
            class_ids[sure],
        )


@needs("assets")
@pytest.mark.long  # onnxruntime takes half a minute to load this file, whatever its options
def test_ssd_in_one_batch_is_the_plain_path_frame_by_frame(tmp_path: Path) -> None:
    """Any size and any batch; suppression inside; classes by COCO's own numbers."""
    frames = asset_frames("bikes.mp4", [20, 120])
    model = detector(asset_folder(tmp_path, SSD))
    for frame, found in zip(frames, model.detect(frames), strict=True):
        count, boxes, scores, classes = run(asset_path(SSD), frame[None])
        height, width = frame.shape[:2]
        real = int(count[0])
        corners = boxes[0, :real][:, [1, 0, 3, 2]] * [width, height, width, height]
        assert_same(found, corners, scores[0, :real], classes[0, :real].astype(int))
    assert model.class_names[found.class_ids[0]] == "person"
