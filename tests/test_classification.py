"""Classification against transformers' own path, with real weights where the assets are, and tiny ones everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from models.classification import Classification, many_labels, one_label
from models.request import InferenceParams
from tests.pictures import pictures
from tests.requirements import assets, needs
from tests.tiny_models import COLOURS, save_tiny_classifier, set_in_json

SCORE = 1e-3
FRAMES = pictures(4)


def loaded(folder: Path, **params: object) -> Classification:
    model = Classification(folder, InferenceParams(**params))
    model.setup("cpu")
    return model


def expected_scores(folder: Path, frames: list[np.ndarray], *, many: bool = False) -> np.ndarray:
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    network = AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = torch.cat([network(**processor([frame], return_tensors="pt")).logits for frame in frames])
    return (logits.sigmoid() if many else logits.softmax(-1)).numpy()


def scores_by_class(element: dict) -> np.ndarray:
    by_class = {p["class_id"]: p["confidence"] for p in element["predictions"]}
    return np.array([by_class[index] for index in range(len(by_class))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_classifier(tmp_path_factory.mktemp("models") / "classifier")


@pytest.fixture(scope="module")
def many_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_classifier(tmp_path_factory.mktemp("models") / "tagger", many_labels=True)


@needs("assets")
def test_real_weights_equal_transformers_on_real_frames_and_a_shift_by_one_pixel_does_not() -> None:
    import av

    with av.open(str(assets() / "videos" / "bikes.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)][::50]
    weights = assets() / "models" / "classification-efficientnet-lite0-hf"
    expected = expected_scores(weights, frames)
    model = loaded(weights)
    for element, one in zip(model.predict(frames), expected, strict=True):
        assert np.abs(scores_by_class(element) - one).max() < SCORE
        assert element["predictions"][0]["class_id"] == one.argmax()
    shifted = model.predict([np.roll(frame, 1, axis=1) for frame in frames])
    assert max(np.abs(scores_by_class(e) - one).max() for e, one in zip(shifted, expected, strict=True)) > 10 * SCORE


def test_one_label_equals_transformers_and_a_shift_by_one_pixel_does_not(folder: Path) -> None:
    expected, model = expected_scores(folder, FRAMES), loaded(folder)
    got = np.stack([scores_by_class(element) for element in model.predict(FRAMES)])
    assert np.abs(got - expected).max() < SCORE
    shifted = np.stack([scores_by_class(e) for e in model.predict([np.roll(f, 1, axis=1) for f in FRAMES])])
    assert np.abs(shifted - expected).max() > SCORE


def test_one_label_is_sorted_and_named_again_at_the_top(folder: Path) -> None:
    for element in loaded(folder).predict(FRAMES):
        confidences = [p["confidence"] for p in element["predictions"]]
        assert confidences == sorted(confidences, reverse=True)
        assert sum(confidences) == pytest.approx(1, abs=1e-5)
        assert (element["top"], element["confidence"]) == (element["predictions"][0]["class"], confidences[0])
        assert all(p["class"] == COLOURS[p["class_id"]] for p in element["predictions"])
        assert element["image"] == {"width": 640, "height": 272}


def test_top_k_keeps_the_best(folder: Path) -> None:
    everything, best = loaded(folder).predict(FRAMES), loaded(folder, top_k=2).predict(FRAMES)
    assert [element["predictions"] for element in best] == [element["predictions"][:2] for element in everything]


def test_many_labels_equal_transformers_and_name_those_above_the_threshold(many_folder: Path) -> None:
    expected = expected_scores(many_folder, FRAMES, many=True)
    threshold = float(np.median(expected))
    for element, one in zip(loaded(many_folder, confidence=threshold).predict(FRAMES), expected, strict=True):
        assert list(element["predictions"]) == list(COLOURS)
        got = np.array([element["predictions"][name]["confidence"] for name in COLOURS])
        assert np.abs(got - one).max() < SCORE
        assert element["predicted_classes"] == [COLOURS[i] for i in np.argsort(-got) if got[i] >= threshold]


def test_classes_of_one_name_do_not_hide_each_other() -> None:
    element = many_labels(np.float32([0.9, 0.2, 0.5]), ("crane", "gull", "crane"), {"width": 1, "height": 1}, 0.5)
    assert element["predicted_classes"] == ["crane (0)", "crane (2)"]
    assert element["predictions"]["gull"] == {"confidence": 0.2, "class_id": 1}


def test_one_label_of_equal_scores_keeps_the_classes_order() -> None:
    element = one_label(np.float32([0.25, 0.5, 0.25]), ("a", "b", "c"), {"width": 1, "height": 1}, None)
    assert [p["class"] for p in element["predictions"]] == ["b", "a", "c"]


def test_a_class_without_a_name_is_called_by_its_number(folder: Path, tmp_path: Path) -> None:
    import shutil

    nameless = shutil.copytree(folder, tmp_path / "nameless")
    set_in_json(nameless / "config.json", id2label=None, label2id=None, num_labels=5)
    element = loaded(nameless).predict(FRAMES[:1])[0]
    assert {p["class"] for p in element["predictions"]} == {str(index) for index in range(5)}
