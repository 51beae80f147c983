"""A request for key points: which detector finds the boxes, and both models' folders on a worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.prompts import PromptsMissingError
from models.request import BadRequestError, InferenceParams, ModelRequest
from tasks.joined_folders import joined_folder
from tasks.local_store import LocalStore
from tasks.model_sources import ResolvedModel, StoreSource, WrongTypeError, model_folder, resolve_models


def folder_of(path: Path, architecture: str) -> Path:
    """A model as far as a parent looks."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    (path / "model.safetensors").write_bytes(architecture.encode())
    return path


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its catalog calls a folder by the name of the shipped catalog's detector, so that no hub is asked."""
    folder = tmp_path / "work"
    folder.mkdir()
    folder_of(folder / "persons", "RTDetrV2ForObjectDetection")
    (folder / "reelmill-models.yaml").write_text(
        "rtdetr-v2-small:\n  source: ./persons\n  inference_type: object-detection\n"
    )
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def pose(tmp_path: Path) -> str:
    return str(folder_of(tmp_path / "our pose", "VitPoseForPoseEstimation"))


def resolved(tmp_path: Path, model_id: str, **params: Any) -> ResolvedModel:
    request = ModelRequest(model_id=model_id, inference_params=InferenceParams(**params))
    (model,) = resolve_models(LocalStore(tmp_path / "store"), [request])
    return model


def test_the_catalogs_detector_finds_people_where_nobody_names_one(tmp_path: Path, pose: str) -> None:
    model = resolved(tmp_path, pose)
    assert (model.key, model.inference_type) == ("our pose", "keypoint-detection")
    assert model.detector is not None
    assert model.detector.model_id == "rtdetr-v2-small"
    assert ResolvedModel.model_validate_json(model.model_dump_json()) == model


def test_a_request_may_name_its_detector(tmp_path: Path, pose: str) -> None:
    own = folder_of(tmp_path / "animals", "DetrForObjectDetection")
    model = resolved(tmp_path, pose, detector=str(own))
    assert model.detector is not None
    assert model.detector.model_id == "animals"
    assert isinstance(model.detector.source, StoreSource)


def test_another_detector_makes_other_shards_and_its_name_does_not(tmp_path: Path, pose: str) -> None:
    own = folder_of(tmp_path / "animals", "DetrForObjectDetection")
    usual = resolved(tmp_path, pose).fingerprint_parts()
    assert resolved(tmp_path, pose, detector="rtdetr-v2-small").fingerprint_parts() == usual
    assert resolved(tmp_path, pose, detector=str(own)).fingerprint_parts() != usual


def test_a_worker_gets_both_folders_as_one(tmp_path: Path, pose: str) -> None:
    model = resolved(tmp_path, pose)
    folder = model_folder(LocalStore(tmp_path / "store"), model, tmp_path / "cache")
    assert (folder / "model.safetensors").read_bytes() == b"VitPoseForPoseEstimation"
    assert (folder / "detector" / "model.safetensors").read_bytes() == b"RTDetrV2ForObjectDetection"
    assert model_folder(LocalStore(tmp_path / "store"), model, tmp_path / "cache") == folder


def test_a_detector_must_be_one(tmp_path: Path, pose: str) -> None:
    other = folder_of(tmp_path / "classifier", "ResNetForImageClassification")
    with pytest.raises(WrongTypeError, match="does not do object-detection"):
        resolved(tmp_path, pose, detector=str(other))


def test_a_detector_that_needs_prompts_asks_for_them(tmp_path: Path, pose: str) -> None:
    open_words = folder_of(tmp_path / "owl", "Owlv2ForObjectDetection")
    with pytest.raises(PromptsMissingError):
        resolved(tmp_path, pose, detector=str(open_words))
    assert resolved(tmp_path, pose, detector=str(open_words), prompts=["a dog"]).detector is not None


def test_what_works_on_whole_frames_takes_no_detector(tmp_path: Path) -> None:
    classifier = folder_of(tmp_path / "classifier", "ResNetForImageClassification")
    with pytest.raises(BadRequestError, match="leave out detector"):
        resolved(tmp_path, str(classifier), detector="rtdetr-v2-small")


def test_joined_folders_are_made_anew_where_one_has_moved(tmp_path: Path) -> None:
    one, other = folder_of(tmp_path / "one", "A"), folder_of(tmp_path / "other", "B")
    joined = joined_folder(one, {"detector": other}, tmp_path / "kept")
    before = joined.stat().st_ino
    assert joined_folder(one, {"detector": other}, tmp_path / "kept").stat().st_ino == before
    (joined / "detector").unlink()
    (joined / "detector").symlink_to(tmp_path / "gone")
    assert (joined_folder(one, {"detector": other}, tmp_path / "kept") / "detector" / "config.json").is_file()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [joined.name]
