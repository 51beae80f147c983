"""MODEL[@REVISION][:TYPE] and MODEL.NAME=VALUE, with names that make it hard."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from deployments.model_argument import BadModelArgumentError, parse_model, parse_models


@pytest.mark.parametrize(
    ("text", "name", "revision", "inference_type"),
    [
        ("rtdetr-v2-small", "rtdetr-v2-small", None, None),
        ("PekingU/rtdetr_v2_r18vd", "PekingU/rtdetr_v2_r18vd", None, None),
        ("PekingU/rtdetr_v2_r18vd@main", "PekingU/rtdetr_v2_r18vd", "main", None),
        ("a/b.c@refs/pr/7:object-detection", "a/b.c", "refs/pr/7", "object-detection"),
        ("a/b@v1.0", "a/b", "v1.0", None),
        ("a/b:classification", "a/b", None, "classification"),
    ],
)
def test_names_revisions_and_types(text, name, revision, inference_type):
    argument = parse_model(text)

    assert (argument.name, argument.revision, argument.inference_type) == (name, revision, inference_type)
    assert argument.folder is None
    assert argument.text == text


@pytest.mark.parametrize("name", ["plain", "with:colon", "with@at", "run@2:classification", "with space"])
@pytest.mark.parametrize("inference_type", [None, "classification"])
def test_a_folder_is_a_folder_whatever_its_name(tmp_path, name, inference_type):
    folder = tmp_path / name
    folder.mkdir()

    argument = parse_model(str(folder) + (f":{inference_type}" if inference_type else ""))

    assert argument.folder == folder
    assert (argument.name, argument.revision, argument.inference_type) == (name, None, inference_type)


def test_a_relative_folder_is_keyed_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "weights" / "best").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "weights")

    assert parse_model("best").folder == tmp_path / "weights" / "best"
    assert parse_model("../weights/best/").name == "best"
    assert parse_model(".").name == "weights"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a/b:detection", "take one of: object-detection"),
        ("a/b:", "is no inference type"),
        ("a/b@", "NAME@REVISION"),
        ("@main", "NAME@REVISION"),
        ("", "NAME@REVISION"),
        ("/no/such/folder", "there is no folder /no/such/folder"),
        ("./gone:classification", "there is no folder ./gone"),
        ("some/where/else", "there is no folder some/where/else"),
        ("what is this", "NAME@REVISION"),
        ("https://host/model", "there is no folder"),
    ],
)
def test_what_cannot_be_meant_is_said(text, said):
    with pytest.raises(BadModelArgumentError, match=said):
        parse_model(text)


def test_a_folder_has_no_revision(tmp_path):
    with pytest.raises(BadModelArgumentError, match="has no revision"):
        parse_model(f"{tmp_path}@main:classification")


def test_parameters_find_their_model_by_text_name_or_alias(tmp_path):
    folder = tmp_path / "mine.v2"
    folder.mkdir()

    by_text, by_name, by_alias = parse_models(
        ["a/b@v1.0", str(folder), "c"],
        ["a/b@v1.0.confidence=0.25", "mine.v2.top_k=3", "see.iou_threshold=0.5", "c.alias=see", "c.pool=gpu-b"],
    )

    assert by_text.request().inference_params.confidence == 0.25
    assert by_name.request().inference_params.top_k == 3
    assert by_alias.request().inference_params.iou_threshold == 0.5
    assert (by_alias.request().alias, by_alias.request().pool) == ("see", "gpu-b")


def test_an_alias_of_digits_stays_text():
    assert parse_models(["a"], ["a.alias=12"])[0].request().alias == "12"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (["b.confidence=0.5"], "names no --model"),
        (["a.confidance=0.5"], "take one of: confidence"),
        (["a.confidence"], "MODEL.NAME=VALUE"),
        (["confidence=0.5"], "MODEL.NAME=VALUE"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(params, said):
    with pytest.raises(BadModelArgumentError, match=said):
        parse_models(["a"], params)


def test_a_parameter_that_could_mean_two_models_is_refused():
    with pytest.raises(BadModelArgumentError, match="could mean 2"):
        parse_models(["a@1", "a@2"], ["a.confidence=0.5"])


def test_values_are_checked_when_the_request_is_made():
    with pytest.raises(ValidationError, match="confidence"):
        parse_models(["a"], ["a.confidence=1.5"])[0].request()


def test_no_model_is_refused():
    with pytest.raises(BadModelArgumentError, match="--model"):
        parse_models([])
