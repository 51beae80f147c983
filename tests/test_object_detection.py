"""Object detection, box for box against transformers' own path; random weights, so every query has something to say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from transformers import AutoImageProcessor, AutoModelForObjectDetection

from models.detections import FoundBoxes, detections
from models.object_detection import ObjectDetection
from models.request import InferenceParams
from tests.pictures import pictures
from tests.tiny_models import DETECTOR_CLASSES, save_tiny_detector

BOX_PX, SCORE = 0.5, 1e-3
FRAMES = pictures(4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_detector(tmp_path_factory.mktemp("models") / "detector")


@pytest.fixture(scope="module")
def detector(folder: Path) -> ObjectDetection:
    model = ObjectDetection(folder, InferenceParams(confidence=0))
    model.setup("cpu")
    return model


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[dict]:
    """What transformers says of the same frames, one at a time."""
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    network = AutoModelForObjectDetection.from_pretrained(folder).eval()
    with torch.inference_mode():
        return [
            processor.post_process_object_detection(
                network(**processor([frame], return_tensors="pt")), threshold=0, target_sizes=[frame.shape[:2]]
            )[0]
            for frame in FRAMES
        ]


def worst_differences(elements: list[dict], expected: list[dict]) -> tuple[float, float]:
    """Largest difference of a box's edge (pixels) and of a score, over all frames.

    Scores of random weights lie close together and may change places, so boxes are paired by the best assignment, in
    which two classes never meet.
    """
    box, score = 0.0, 0.0
    for element, one in zip(elements, expected, strict=True):
        ours = element["predictions"]
        assert len(ours) == len(one["scores"]) > 0
        places = np.array([[p["x"], p["y"], p["width"], p["height"]] for p in ours])
        edges = np.concatenate([places[:, :2] - places[:, 2:] / 2, places[:, :2] + places[:, 2:] / 2], axis=1)
        apart = np.abs(edges[:, None] - one["boxes"].numpy()[None]).max(axis=-1)
        scores = np.abs(np.array([p["confidence"] for p in ours])[:, None] - one["scores"].numpy()[None])
        other_class = np.array([p["class_id"] for p in ours])[:, None] != one["labels"].numpy()[None]
        rows, columns = linear_sum_assignment(apart / BOX_PX + scores / SCORE + 1e9 * other_class)
        assert not other_class[rows, columns].any(), "classes differ"
        box, score = max(box, apart[rows, columns].max()), max(score, scores[rows, columns].max())
    return box, score


def test_equals_transformers_box_for_box(detector: ObjectDetection, expected: list[dict]) -> None:
    box, score = worst_differences(detector.predict(FRAMES), expected)
    assert box < BOX_PX
    assert score < SCORE


def test_a_shift_by_one_pixel_fails_the_same_comparison(detector: ObjectDetection, expected: list[dict]) -> None:
    shifted = [np.roll(frame, 1, axis=1) for frame in FRAMES]
    try:
        box, score = worst_differences(detector.predict(shifted), expected)
    except AssertionError:
        return
    assert box > BOX_PX
    assert score > 10 * SCORE


def test_frames_of_any_orientation_and_size(folder: Path, detector: ObjectDetection) -> None:
    for height, width in [(90, 60), (160, 160), (61, 333)]:
        (element,) = detector.predict(pictures(1, height, width))
        assert element["image"] == {"width": width, "height": height}


def test_the_surest_come_first_and_no_more_than_asked(folder: Path, detector: ObjectDetection) -> None:
    everything = detector.predict(FRAMES[:1])[0]["predictions"]
    confidences = [p["confidence"] for p in everything]
    assert confidences == sorted(confidences, reverse=True)
    few = ObjectDetection(folder, InferenceParams(confidence=0, max_detections=5))
    few.setup("cpu")
    assert few.predict(FRAMES[:1])[0]["predictions"] == everything[:5]


def test_the_confidence_threshold_holds_and_nothing_found_is_an_empty_list(
    folder: Path, detector: ObjectDetection
) -> None:
    everything = detector.predict(FRAMES[:1])[0]["predictions"]
    middle = (everything[3]["confidence"] + everything[4]["confidence"]) / 2
    for confidence, kept in ((middle, everything[:4]), (1.0, [])):
        model = ObjectDetection(folder, InferenceParams(confidence=confidence))
        model.setup("cpu")
        assert model.predict(FRAMES[:1])[0]["predictions"] == kept


def test_classes_are_named_as_the_configuration_names_them(detector: ObjectDetection) -> None:
    for prediction in detector.predict(FRAMES)[0]["predictions"]:
        assert prediction["class"] == DETECTOR_CLASSES[prediction["class_id"]]


def test_a_box_beyond_the_frame_is_not_clipped() -> None:
    found = FoundBoxes(
        scores=np.array([0.25, 0.5]),
        class_ids=np.array([1, 0]),
        boxes=np.array([[-10.0, 0.0, 30.0, 8.0], [1.0004, 2.0, 3.0, 4.0]]),
    )
    assert detections(found, ("a", "b"), 10) == [
        {"x": 2.0, "y": 3.0, "width": 2.0, "height": 2.0, "confidence": 0.5, "class": "a", "class_id": 0},
        {"x": 10.0, "y": 4.0, "width": 40.0, "height": 8.0, "confidence": 0.25, "class": "b", "class_id": 1},
    ]


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_runs_and_says_about_the_same(folder: Path, precision: str, detector: ObjectDetection) -> None:
    model = ObjectDetection(folder, InferenceParams(confidence=0), precision=precision)
    model.setup("cpu")
    half, full = model.predict(FRAMES[:1])[0]["predictions"], detector.predict(FRAMES[:1])[0]["predictions"]
    assert half != full
    assert half[0]["confidence"] == pytest.approx(full[0]["confidence"], abs=0.05)
