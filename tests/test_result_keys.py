"""What a model's list is called when nobody says, and when two would be called the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.prompts import PromptsMissingError
from models.request import BadRequestError, InferenceParams, ModelRequest
from models.result_keys import default_key, model_keys
from tasks.local_store import LocalStore
from tasks.model_sources import ResolvedModel, resolve_models

PROMPTS = InferenceParams(prompts=["a dog", "a cat"])


def entry(version: str | None = None, alias: str | None = None) -> ModelRequest:
    return ModelRequest(model_id="any", model_version=version, alias=alias)


@pytest.mark.parametrize(
    ("inference_type", "shipped", "key"),
    [
        ("clip-embed-image", True, "clip"),
        ("clip-embed-image", False, None),
        ("clip-compare", True, "clip-compare"),
        ("clip-compare", False, "clip-compare"),
        ("gaze-detection", False, "gaze"),
        ("object-detection", True, None),
        ("classification", False, None),
    ],
)
def test_default_keys_are_the_hosted_words(inference_type: str, shipped: bool, key: str | None) -> None:
    assert default_key(inference_type, shipped=shipped) == key


@pytest.mark.parametrize(
    ("models", "keys"),
    [
        ([(entry(), "vit", None)], ["vit"]),
        ([(entry("12"), "vit", None)], ["vit"]),
        ([(entry("12"), "vit", None), (entry("34"), "vit", None)], ["vit/12", "vit/34"]),
        ([(entry("12"), "vit", None), (entry(), "vit", None)], ["vit/12", "vit"]),
        ([(entry("12"), "vit", None), (entry(alias="mine"), "vit", None)], ["vit/12", "mine"]),
        ([(entry("12"), "vit-clip", "clip"), (entry("12"), "vit-clip", "clip-compare")], ["clip", "clip-compare"]),
        ([(entry(), "a", "clip-compare"), (entry(), "b", "clip-compare")], ["a", "b"]),
        ([(entry("1"), "a", "clip-compare"), (entry("2"), "a", "clip-compare")], ["a/1", "a/2"]),
        ([(entry(), "a", "clip-compare"), (entry(alias="tags"), "a", "clip-compare")], ["clip-compare", "tags"]),
        ([(entry(), "a", "clip-compare"), (entry(alias="clip-compare"), "b", None)], ["a", "clip-compare"]),
    ],
)
def test_keys(models: list[tuple[ModelRequest, str, str | None]], keys: list[str]) -> None:
    assert model_keys(*map(list, zip(*models, strict=True))) == keys


@pytest.mark.parametrize(
    "models",
    [
        [(entry(), "a", "clip-compare"), (entry(), "a", "clip-compare")],
        [(entry(), "vit", None), (entry(), "vit", None)],
        [(entry(alias="a"), "b", None), (entry(), "a", None)],
        [(entry(), "clip", None), (entry(), "vit-clip", "clip")],
    ],
)
def test_keys_that_meet_are_refused(models: list[tuple[ModelRequest, str, str | None]]) -> None:
    with pytest.raises(BadRequestError, match="give one of them an alias"):
        model_keys(*map(list, zip(*models, strict=True)))


def test_no_model_takes_the_place_of_the_frames() -> None:
    with pytest.raises(BadRequestError, match="cannot be called 'time_offset'"):
        model_keys([entry()], ["time_offset"], [None])


# --- through a request ------------------------------------------------------------------------------------------------


def resolved(tmp_path: Path, *requests: ModelRequest) -> list[ResolvedModel]:
    return resolve_models(LocalStore(tmp_path / "store"), list(requests))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A CLIP as far as a parent looks."""
    made = tmp_path / "our-clip"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"architectures": ["CLIPModel"]}))
    (made / "model.safetensors").write_bytes(b"weights")
    return str(made)


def test_a_folder_keeps_its_name_beside_its_comparison(tmp_path: Path, folder: str) -> None:
    both = resolved(
        tmp_path,
        ModelRequest(model_id=folder, inference_type="clip-embed-image"),
        ModelRequest(model_id=folder, inference_type="clip-compare", inference_params=PROMPTS),
    )
    assert [model.key for model in both] == ["our-clip", "clip-compare"]


def test_two_comparisons_with_one_model_need_an_alias(tmp_path: Path, folder: str) -> None:
    request = ModelRequest(model_id=folder, inference_type="clip-compare", inference_params=PROMPTS)
    with pytest.raises(BadRequestError, match="both be called 'our-clip'"):
        resolved(tmp_path, request, request)
    both = resolved(tmp_path, request, request.model_copy(update={"alias": "again"}))
    assert [model.key for model in both] == ["clip-compare", "again"]


def test_a_comparison_without_prompts_is_refused_before_any_worker_hears_of_it(tmp_path: Path, folder: str) -> None:
    with pytest.raises(PromptsMissingError, match="add prompts to inference_params"):
        resolved(tmp_path, ModelRequest(model_id=folder, inference_type="clip-compare"))


def test_other_prompts_are_other_shards(tmp_path: Path, folder: str) -> None:
    def parts(prompts: object) -> dict:
        params = InferenceParams(prompts=prompts)
        request = ModelRequest(model_id=folder, inference_type="clip-compare", inference_params=params)
        return resolved(tmp_path, request)[0].fingerprint_parts()

    assert parts(["a", "b"]) == parts(["a", "b"])
    assert parts(["a", "b"]) != parts(["b", "a"]) != parts({"b": "b", "a": "a"})
