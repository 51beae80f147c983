"""Key points against transformers' own way from boxes to points; random weights, so every map has a hottest place."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision
import torch
from transformers import AutoImageProcessor, AutoModelForPoseEstimation

from models.keypoint_detection import KeyPointDetection
from models.object_detection import ObjectDetection
from models.request import InferenceParams
from models.vision_model import ModelLoadError
from tests.pictures import pictures
from tests.tiny_models import save_tiny_detector, set_in_json
from tests.tiny_pose import POINT_NAMES, save_tiny_pose

POINT_PX, SCORE = 0.5, 1e-3
FRAMES = pictures(3)
EVERY_BOX = InferenceParams(confidence=0)


@pytest.fixture(scope="module", params=["simple", "classic", "experts"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models") / request.param
    return save_tiny_pose(made, experts=3 if request.param == "experts" else 1, simple=request.param != "classic")


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pose(tmp_path_factory.mktemp("models") / "pose")


def ready(folder: Path, params: InferenceParams = EVERY_BOX) -> KeyPointDetection:
    model = KeyPointDetection(folder, params)
    model.setup("cpu")
    return model


def said_by_transformers(folder: Path, frame: np.ndarray, element: Any) -> list[dict[str, torch.Tensor]]:
    """Its key points in the element's boxes, one box at a time."""
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    network = AutoModelForPoseEstimation.from_pretrained(folder).eval()
    said = []
    for one in element["predictions"]:
        box = [one["x"] - one["width"] / 2, one["y"] - one["height"] / 2, one["width"], one["height"]]
        inputs = processor([frame], boxes=[[box]], return_tensors="pt")
        if network.config.backbone_config.num_experts > 1:
            inputs["dataset_index"] = torch.zeros(1, dtype=torch.int64)
        with torch.inference_mode():
            said.append(processor.post_process_pose_estimation(network(**inputs), boxes=[[box]])[0][0])
    return said


def test_points_are_those_of_transformers(folder: Path) -> None:
    for frame, element in zip(FRAMES[:2], ready(folder).predict(FRAMES[:2]), strict=True):
        theirs = said_by_transformers(folder, frame, element)
        assert len(element["predictions"]) == len(theirs) == 24
        ours = np.array([[[p["x"], p["y"]] for p in box["keypoints"]] for box in element["predictions"]])
        heat = np.array([[p["confidence"] for p in box["keypoints"]] for box in element["predictions"]])
        points, scores = (np.array([one[name].numpy() for one in theirs]) for name in ("keypoints", "scores"))
        assert np.abs(heat - scores.clip(0, 1)).max() < SCORE
        assert np.abs(ours - points).max() < POINT_PX
        assert (heat > 0).mean() > 0.5
        assert ours.reshape(-1, 2).std(axis=0).min() > 5


def test_boxes_are_the_detectors(plain_folder: Path) -> None:
    detector = ObjectDetection(plain_folder / "detector", EVERY_BOX)
    detector.setup("cpu")
    for element, boxes in zip(ready(plain_folder).predict(FRAMES), detector.predict(FRAMES), strict=True):
        assert [{k: v for k, v in one.items() if k != "keypoints"} for one in element["predictions"]] == boxes[
            "predictions"
        ]
        assert element["image"] == boxes["image"]


def test_points_have_the_networks_names_and_numbers(plain_folder: Path) -> None:
    (element,) = ready(plain_folder).predict(FRAMES[:1])
    for one in element["predictions"]:
        assert [(point["class"], point["class_id"]) for point in one["keypoints"]] == [
            (name, number) for number, name in enumerate(POINT_NAMES)
        ]


def test_frames_of_other_shapes_and_a_batch_are_as_one_by_one(plain_folder: Path) -> None:
    model = ready(plain_folder)
    for height, width in [(160, 90), (64, 48), (61, 333)]:
        frames = pictures(2, height, width)
        together = model.predict(frames)
        for frame, element in zip(frames, together, strict=True):
            theirs = said_by_transformers(plain_folder, frame, element)
            ours = np.array([[[p["x"], p["y"]] for p in box["keypoints"]] for box in element["predictions"]])
            assert np.abs(ours - np.array([one["keypoints"].numpy() for one in theirs])).max() < POINT_PX


def test_only_persons_where_the_detector_knows_them(plain_folder: Path, tmp_path: Path) -> None:
    (every,) = ready(plain_folder).predict(FRAMES[:1])
    rarest = Counter(one["class_id"] for one in every["predictions"]).most_common()[-1][0]
    persons = [one for one in every["predictions"] if one["class_id"] == rarest]
    assert len(persons) < len(every["predictions"])
    folder = save_tiny_pose(tmp_path / "pose")
    names = {str(number): "Person" if number == rarest else f"animal {number}" for number in range(4)}
    set_in_json(folder / "detector" / "config.json", id2label=names)
    (some,) = ready(folder).predict(FRAMES[:1])
    assert [one["keypoints"] for one in some["predictions"]] == [one["keypoints"] for one in persons]
    assert {one["class"] for one in some["predictions"]} == {"Person"}


def test_nothing_found_is_an_element_without_predictions(plain_folder: Path) -> None:
    elements = ready(plain_folder, InferenceParams(confidence=1)).predict(FRAMES)
    assert elements == [{"image": {"width": 640, "height": 272}, "predictions": []}] * 3


def test_only_so_many_as_asked_for(plain_folder: Path) -> None:
    (element,) = ready(plain_folder, InferenceParams(confidence=0, max_detections=3)).predict(FRAMES[:1])
    assert len(element["predictions"]) == 3


def test_supervision_reads_the_points(plain_folder: Path) -> None:
    (element,) = ready(plain_folder).predict(FRAMES[:1])
    read = supervision.KeyPoints.from_inference(element)
    assert read.xy.shape == (24, 5, 2)
    first = element["predictions"][3]["keypoints"][2]
    assert read.xy[3, 2] == pytest.approx([first["x"], first["y"]], abs=1e-3)
    assert read.keypoint_confidence[3, 2] == pytest.approx(first["confidence"])
    assert len(supervision.Detections.from_inference(element)) == 24


def test_a_pose_network_without_a_detector_is_a_sentence(tmp_path: Path) -> None:
    folder = save_tiny_pose(tmp_path / "pose")
    (folder / "detector").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelLoadError, match="finds no objects by itself"):
        ready(folder)


def test_a_detector_is_no_pose_network(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="not a model for keypoint-detection; ask for object-detection"):
        ready(save_tiny_detector(tmp_path / "detector"))


def test_rules_that_are_not_vitposes_are_refused(tmp_path: Path) -> None:
    folder = save_tiny_pose(tmp_path / "pose")
    set_in_json(folder / "preprocessor_config.json", normalize_factor=100.0)
    with pytest.raises(ModelLoadError, match="take a ViTPose"):
        ready(folder)
