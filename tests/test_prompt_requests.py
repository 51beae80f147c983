"""Prompts are checked before a GPU run starts: asked for where a model needs them, refused where it takes none."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.prompts import PromptsMissingError, UnusedPromptsError
from models.request import InferenceParams, ModelRequest
from tasks.local_store import LocalStore
from tasks.model_sources import resolve_models
from tests.tiny_detectors import DETECTORS, PROMPTED, PROMPTS, save_tiny, save_tiny_prompted


def resolved(tmp_path: Path, folder: Path, **params: object) -> InferenceParams:
    request = ModelRequest(model_id=str(folder), inference_params=InferenceParams(**params))
    (model,) = resolve_models(LocalStore(tmp_path / "store"), [request])
    assert model.inference_type == "object-detection"
    return model.params


@pytest.mark.parametrize("family", PROMPTED)
def test_a_detector_that_reads_prompts_needs_some(tmp_path: Path, family: str) -> None:
    folder = save_tiny_prompted(tmp_path / family, family)
    with pytest.raises(PromptsMissingError, match="add prompts"):
        resolved(tmp_path, folder)
    assert resolved(tmp_path, folder, prompts=PROMPTS).prompts == PROMPTS
    assert resolved(tmp_path, folder, prompts={"car": "a red car"}).prompts == {"car": "a red car"}


def test_a_detector_with_classes_of_its_own_takes_none(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "detector", DETECTORS["yolos"]())
    with pytest.raises(UnusedPromptsError, match="takes no prompts"):
        resolved(tmp_path, folder, prompts=PROMPTS)
    assert resolved(tmp_path, folder).prompts is None
