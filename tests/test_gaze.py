"""Gaze detection: the whole chain against the same chain run by hand, its signs, and networks that are none of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from PIL import Image

from models.face_detection import LANDMARKS, FaceDetector, FoundFaces, blend
from models.gaze import GazeDetection, gazes
from models.gaze_chain import turned_back, vector_angles
from models.gaze_faces import FaceInFrame, Square, cut_out
from models.gaze_l2cs import L2csEstimator, radians_of
from models.onnx_card import L2csGaze
from models.onnx_runtime import OnnxRunError
from models.request import InferenceParams
from models.vision_model import ModelLoadError
from tests.onnx_assets import FACES, GAZE, HEAD_POSE, asset_folder, asset_frames, asset_path
from tests.onnx_assets import LANDMARKS as LANDMARKS_FILE
from tests.onnx_networks import save_classifier, save_l2cs, save_tiny_gaze, write_card
from tests.pictures import pictures
from tests.requirements import needs

BOX_PX, SCORE, ANGLE = 0.5, 1e-3, 2e-3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> GazeDetection:
    model = GazeDetection(asset_folder(tmp_path_factory.mktemp("models"), GAZE), InferenceParams())
    model.setup("cpu")
    return model


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return asset_frames("gaze_demo_udacity.mp4", [20, 70, 120, 320, 470])


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


# --- the plain path ---------------------------------------------------------------------------------------------------


def plain_face(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The one face of a frame by BlazeFace: box (4,), landmarks (6, 2), score."""
    height, width = frame.shape[:2]
    ratio = 128 / max(height, width)
    inner = (round(width * ratio), round(height * ratio))
    left, top = round((128 - inner[0]) / 2 - 0.1), round((128 - inner[1]) / 2 - 0.1)
    canvas = np.zeros((128, 128, 3), dtype=np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(frame, inner, interpolation=cv2.INTER_AREA)
    numbers, logits = session(asset_path(FACES)).run(None, {"input": canvas[None].astype(np.float32) / 127.5 - 1})
    anchors = []
    for side, count in ((16, 2), (8, 6)):
        for row in range(side):
            for column in range(side):
                anchors += [[(column + 0.5) * 128 / side, (row + 0.5) * 128 / side]] * count
    scores = 1 / (1 + np.exp(-logits[0, :, 0].astype(np.float64).clip(-100, 100)))
    sure = np.flatnonzero(scores >= 0.4)
    points = numbers[0, sure].astype(np.float64).reshape(-1, 8, 2)
    points[:, [0, *range(2, 8)]] += np.array(anchors)[sure, None]
    weights = scores[sure] / scores[sure].sum()
    points = np.tensordot(weights, points, axes=1)
    scale = np.array(inner) / [width, height]
    places = (points[[0, *range(2, 8)]] - [left, top]) / scale
    size = points[1] / scale
    box = np.concatenate([places[0] - size / 2, places[0] + size / 2])
    return box, places[1:], scores.max()


def plain_patch(frame: np.ndarray, x: float, y: float, side: float, pixels: int, turn: float = 0.0) -> np.ndarray:
    """A square of the frame, each of its pixels looked up on its own; (1, 3, pixels, pixels) BGR."""
    steps = (np.arange(pixels) + 0.5) / pixels * side - side / 2
    across, down = np.meshgrid(steps, steps)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    map_x, map_y = x - 0.5 + cos * across - sin * down, y - 0.5 + sin * across + cos * down
    found = cv2.remap(
        frame, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return found[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)


def plain_gaze(frame: np.ndarray, box: np.ndarray) -> tuple[float, float]:
    """Open Model Zoo's chain for one face: yaw and pitch as atan2(-x, -z) and asin(y)."""
    side = (box[2] - box[0]) * 1.2
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2 - 0.06 * (box[2] - box[0])
    (points,) = session(asset_path(LANDMARKS_FILE)).run(None, {"0": plain_patch(frame, x, y, side, 48)})
    eyes = points.reshape(5, 2)[:2] * side + [x - side / 2, y - side / 2]
    names = ["angle_y_fc", "angle_p_fc", "angle_r_fc"]
    head = session(asset_path(HEAD_POSE)).run(names, {"data": plain_patch(frame, x, y, side, 60)})
    yaw, pitch, roll = (float(angle.item()) for angle in head)
    eye_side = 0.75 * np.hypot(*(eyes[1] - eyes[0]))
    left, right = (plain_patch(frame, *eye, eye_side, 60, roll) for eye in eyes)
    feeds = {"left_eye_image": left, "right_eye_image": right, "head_pose_angles": np.float32([[yaw, pitch, 0]])}
    ((vector,),) = session(asset_path(GAZE)).run(None, feeds)
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    across, up, away = vector / np.linalg.norm(vector)
    across, up = across * cos + up * sin, -across * sin + up * cos
    return np.arctan2(-across, -away), np.arcsin(up)


@needs("assets")
def test_every_face_is_the_plain_paths(model: GazeDetection, frames: list[np.ndarray]) -> None:
    for frame, element in zip(frames, model.predict(frames), strict=True):
        box, points, score = plain_face(frame)
        (found,) = element["predictions"]
        face = found["face"]
        assert [face["x"], face["y"]] == pytest.approx((box[:2] + box[2:]) / 2, abs=BOX_PX)
        assert [face["width"], face["height"]] == pytest.approx(box[2:] - box[:2], abs=BOX_PX)
        assert face["confidence"] == pytest.approx(score, abs=SCORE)
        landmarks = [[point["x"], point["y"]] for point in face["landmarks"]]
        assert np.abs(np.array(landmarks) - points).max() < BOX_PX
        assert (found["yaw"], found["pitch"]) == pytest.approx(plain_gaze(frame, box), abs=ANGLE)


@needs("assets")
def test_looks_go_where_a_person_sees_them_go(model: GazeDetection, frames: list[np.ndarray]) -> None:
    """Seen on the frames with their arrows drawn: the frame's left, down, up to its right, into the camera."""
    looks = [element["predictions"][0] for element in model.predict(frames)]
    left, down, up_right, camera = (looks[index] for index in (1, 2, 3, 4))
    assert left["yaw"] > 0.3
    assert down["pitch"] < -0.25
    assert up_right["yaw"] < -0.5
    assert up_right["pitch"] > 0.25
    assert abs(camera["yaw"]) < 0.15
    assert abs(camera["pitch"]) < 0.15


@needs("assets")
def test_a_mirrored_face_looks_the_other_way(model: GazeDetection, frames: list[np.ndarray]) -> None:
    mirrored = [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]
    for one, other in zip(model.predict(frames), model.predict(mirrored), strict=True):
        (face,), (mirror) = one["predictions"], other["predictions"][0]
        assert face["face"]["x"] == pytest.approx(frames[0].shape[1] - mirror["face"]["x"], abs=40)
        assert face["yaw"] == pytest.approx(-mirror["yaw"], abs=0.35)
        assert face["pitch"] == pytest.approx(mirror["pitch"], abs=0.35)


@needs("assets")
def test_several_faces_are_one_batch_and_say_what_each_says_alone(model: GazeDetection) -> None:
    """Two halves of a frame with a face each, beside a frame without any."""
    one, other = asset_frames("carphone_pristine.mp4", [0, 60])
    both, nobody = np.concatenate([one, other], axis=1), np.zeros((144, 352, 3), dtype=np.uint8)
    found, empty = model.predict([both, nobody])
    assert empty["predictions"] == []
    assert len(found["predictions"]) == 2
    places = sorted(gaze["face"]["x"] for gaze in found["predictions"])
    assert places[0] < 176 < places[1]
    (again,) = model.predict([both])
    assert np.allclose(angles(found), angles(again), atol=1e-3)
    assert [gaze["face"] for gaze in found["predictions"]] == [gaze["face"] for gaze in again["predictions"]]


def angles(element: dict) -> list[tuple[float, float]]:
    return [(gaze["yaw"], gaze["pitch"]) for gaze in element["predictions"]]


@needs("assets")
def test_times_of_both_parts_are_a_frames_share_of_the_batch(model: GazeDetection) -> None:
    elements = model.predict(asset_frames("carphone_pristine.mp4", [0, 60]))
    for element in elements:
        assert list(element) == ["predictions", "time_face_det", "time_gaze_det"]
        assert 0 < element["time_face_det"] < 60
        assert 0 < element["time_gaze_det"] < 60


@needs("assets")
def test_faces_are_found_upright_wherever_the_frame_is_padded(tmp_path: Path) -> None:
    """A frame of any shape around the same face: its box stays where it is."""
    (face,) = asset_frames("carphone_pristine.mp4", [0])
    detector = FaceDetector(asset_path(FACES), "cpu", confidence=0.4, iou_threshold=0.3, most=10)
    (alone,) = detector.find([face])
    for height, width in ((144, 176), (300, 176), (144, 400), (301, 333)):
        frame = np.full((height, width, 3), 90, dtype=np.uint8)
        frame[height - 144 :, width - 176 :] = face
        (found,) = detector.find([frame])
        assert len(found) == 1
        box = found.boxes[0] - np.tile([width - 176, height - 144], 2)
        assert box == pytest.approx(alone.boxes[0], abs=6)


# --- angles -----------------------------------------------------------------------------------------------------------


def test_vectors_become_angles_with_the_hosted_apis_signs() -> None:
    looks = {
        (0, 0, -1): (0, 0),
        (1, 0, -1): (-np.pi / 4, 0),
        (-1, 0, -1): (np.pi / 4, 0),
        (0, 2, -2): (0, np.pi / 4),
        (0, -1, -1): (0, -np.pi / 4),
    }
    assert vector_angles(np.array(list(looks), dtype=np.float64)) == pytest.approx(np.array(list(looks.values())))


def test_a_head_turned_by_a_quarter_turns_its_look() -> None:
    upright = np.array([[0.0, 1.0, -1.0]])
    assert turned_back(upright, np.array([90.0])) == pytest.approx(np.array([[1.0, 0.0, -1.0]]))
    assert turned_back(upright, np.array([0.0])) == pytest.approx(upright)


def test_cut_outs_turn_around_their_centre_and_go_on_beyond_the_border() -> None:
    frame = np.zeros((40, 40, 3), dtype=np.uint8)
    frame[10:20, 20:30] = 200
    assert (cut_out(frame, Square((25, 15), 10), 10) == 200).all()
    turned = cut_out(frame, Square((20, 20), 20, 90), 20)
    assert (turned[:10, :10] == 200).all(), "what was at the upper right is at the upper left"
    assert not turned[10:].any()
    assert not turned[:, 10:].any()
    frame[:, :5] = 77
    assert (cut_out(frame, Square((-20, 20), 20), 8) == 77).all()


def test_bins_become_radians() -> None:
    """Sure of bin 45: 0 degrees; of bin 0: -180; between bins 60 and 61: 62 degrees."""
    logits = np.full((3, 90), -50.0, dtype=np.float32)
    logits[0, 45] = logits[1, 0] = logits[2, 60] = logits[2, 61] = 50
    assert np.degrees(radians_of(logits, "yaw")) == pytest.approx([0, -180, 62], abs=1e-6)
    assert radians_of(np.array([[0.5], [-0.25]]), "yaw").tolist() == [0.5, -0.25]
    with pytest.raises(OnnxRunError, match=r"yaw has the shape \(3, 66\); L2CS-Net gives \(n, 90\)"):
        radians_of(np.zeros((3, 66)), "yaw")


@pytest.mark.parametrize("batch", ["n", 1])
def test_l2cs_is_its_authors_path(tmp_path: Path, batch: int | str) -> None:
    """Cut, to 224 by OpenCV, to 448 by Pillow, ImageNet's mean and deviation, the expected bin; outputs by name."""
    path = save_l2cs(tmp_path / "l2cs.onnx", batch=batch)
    frames = pictures(3)
    boxes = np.array([[100.4, 30.2, 220.9, 151.0], [-20.0, -10.0, 90.0, 100.0], [600.0, 200.0, 700.0, 300.0]])
    faces = [FaceInFrame(frame, box) for frame, box in zip(frames, boxes, strict=True)]
    card = L2csGaze(estimator="l2cs", file="l2cs.onnx")
    found = L2csEstimator(card, tmp_path, "cpu").angles(faces)
    for face, ours in zip(faces, found, strict=True):
        left, top, right, bottom = face.box.astype(int).clip(0)
        small = cv2.resize(face.frame[top:bottom, left:right], (224, 224))
        large = np.asarray(Image.fromarray(small).resize((448, 448), Image.Resampling.BILINEAR)) / 255
        values = ((large - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)[None]
        pitch, yaw = session(path).run(None, {"picture": values.astype(np.float32)})
        for angle, logits in zip(ours, (yaw, pitch), strict=True):
            parts = np.exp(logits[0] - logits[0].max())
            degrees = (parts / parts.sum() * np.arange(90)).sum() * 4 - 180
            assert np.degrees(angle) == pytest.approx(degrees, abs=0.05)
    assert np.ptp(found, axis=0).min() > np.radians(1), "different faces look differently"


@needs("assets")
def test_l2cs_stands_behind_the_same_type(tmp_path: Path) -> None:
    folder = write_card(
        tmp_path, f"{{inference_type: gaze-detection, faces: {FACES}, gaze: {{estimator: l2cs, file: l2cs.onnx}}}}"
    )
    (folder / FACES).symlink_to(asset_path(FACES))
    save_l2cs(folder / "l2cs.onnx")
    model = GazeDetection(folder, InferenceParams())
    model.setup("cpu")
    (element,) = model.predict(asset_frames("carphone_pristine.mp4", [0]))
    assert len(element["predictions"]) == 1


def test_overlapping_candidates_are_averaged_by_score() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]])
    scores = np.array([0.9, 0.3, 0.5])
    blended = blend(boxes, scores, boxes, np.array([0, 2]), 0.3)
    assert blended == pytest.approx(np.array([[0.25, 0, 10.25, 10], [50, 50, 60, 60]]))


def test_elements_say_centres_and_six_landmarks() -> None:
    found = FoundFaces(np.array([0.75]), np.array([[10.0, 20, 30, 60]]), np.arange(12.0).reshape(1, 6, 2))
    (gaze,) = gazes(found, np.array([[0.1234567, -0.5]]))
    assert gaze["face"] == {
        "x": 20.0,
        "y": 40.0,
        "width": 20.0,
        "height": 40.0,
        "confidence": 0.75,
        "class": "face",
        "class_id": 0,
        "landmarks": [{"x": float(2 * index), "y": float(2 * index + 1)} for index in range(len(LANDMARKS))],
    }
    assert (gaze["yaw"], gaze["pitch"]) == (0.123457, -0.5)


def test_a_crowd_goes_through_the_networks_in_parts(tmp_path: Path) -> None:
    """Random weights that see faces everywhere: frames together say what each says alone."""
    model = GazeDetection(save_tiny_gaze(tmp_path), InferenceParams(confidence=0, iou_threshold=0.9, max_detections=23))
    model.setup("cpu")
    frames = pictures(3, 120, 160)
    together = model.predict(frames)
    assert sum(len(element["predictions"]) for element in together) > 64
    for frame, element in zip(frames, together, strict=True):
        (alone,) = model.predict([frame])
        assert len(alone["predictions"]) == len(element["predictions"])
        assert np.allclose(angles(alone), angles(element), atol=1e-4)
        assert [gaze["face"] for gaze in alone["predictions"]] == [gaze["face"] for gaze in element["predictions"]]


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_network_that_finds_no_faces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"faces\.onnx is not BlazeFace"):
        FaceDetector(save_classifier(tmp_path / "faces.onnx", 5), "cpu", confidence=0.4, iou_threshold=0.3, most=10)


@needs("assets")
@pytest.mark.parametrize(
    ("swapped", "told"),
    [(HEAD_POSE, "is not head-pose-estimation-adas-0001"), (GAZE, "is not gaze-estimation-adas-0002")],
)
def test_a_chain_with_a_wrong_link_is_refused(tmp_path: Path, swapped: str, told: str) -> None:
    folder = asset_folder(tmp_path, GAZE)
    (folder / swapped).unlink()
    save_classifier(folder / swapped, 5)
    model = GazeDetection(folder, InferenceParams())
    with pytest.raises(ModelLoadError) as refused:
        model.setup("cpu")
    assert told in str(refused.value)


def test_a_folder_for_another_type_is_refused(tmp_path: Path) -> None:
    folder = write_card(tmp_path, "{inference_type: classification, output: logits}")
    save_classifier(folder / "x.onnx", 5)
    with pytest.raises(ModelLoadError, match=r"is for classification; ask for that"):
        GazeDetection(folder, InferenceParams()).setup("cpu")


def test_a_single_angle_is_no_gaze(tmp_path: Path) -> None:
    save_classifier(tmp_path / "x.onnx", 90)
    with pytest.raises(ModelLoadError, match=r"is not L2CS-Net"):
        L2csEstimator(L2csGaze(estimator="l2cs", file="x.onnx"), tmp_path, "cpu")
    save_l2cs(tmp_path / "y.onnx")
    with pytest.raises(ModelLoadError, match=r"has no output 'tilt'; it has output_pitch, output_yaw"):
        L2csEstimator(L2csGaze(estimator="l2cs", file="y.onnx", yaw="tilt"), tmp_path, "cpu")
