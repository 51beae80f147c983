"""The catalog that ships, and what a person may write into one."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from models.catalog import CatalogError, checked_name, is_path, parse_catalog, shipped_catalog
from models.inference_types import TYPES
from models.request import InferenceParams, ModelRequest

FROM_FOLDERS_ONLY = {"gaze-detection"}
GOOD = "source: owner/name\n  inference_type: classification"


def test_the_shipped_catalog_has_pinned_models_of_every_type_here() -> None:
    catalog = shipped_catalog()
    counts = Counter(entry.inference_type for entry in catalog.values())
    assert set(counts) == set(TYPES) - FROM_FOLDERS_ONLY
    assert min(counts.values()) >= 2, "a small one and a good one"
    unpinned = {name for name, entry in catalog.items() if entry.revision is None}
    assert unpinned == {"mask2former-large"}
    assert all(re.fullmatch("[0-9a-f]{40}", entry.revision) for entry in catalog.values() if entry.revision)
    assert all(entry.title and entry.use and entry.licence and entry.input_size for entry in catalog.values())
    assert "rtdetr-v2-small" in catalog, "the request form's example"
    assert all(ModelRequest(model_id=name) for name in catalog)


def test_an_empty_file_is_an_empty_catalog() -> None:
    assert parse_catalog("# nothing yet\n", origin="mine.yaml") == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "mine.yaml is not YAML"),
        ("- a\n- b", "mine.yaml is no list of names"),
        ("a: owner/name", "mine.yaml: a: entry: "),
        ("a:\n  source: owner/name", "mine.yaml: a: inference_type: Field required"),
        (f"a:\n  {GOOD}\n  colour: red", "mine.yaml: a: colour: "),
        (f"a b:\n  {GOOD}", "'a b' cannot be the name of a model"),
        (f"a/b:\n  {GOOD}", "'a/b' cannot be the name of a model"),
        ("a:\n  source: name\n  inference_type: classification", "neither a hub id such as owner/name nor a folder"),
        ("a:\n  source: owner/name\n  inference_type: dreaming", "take one of: object-detection"),
        (f"a:\n  {GOOD}\n  defaults: {{confidence: 2}}", "mine.yaml: a: defaults.confidence: "),
        (f"a:\n  {GOOD}\n  precision: double", "mine.yaml: a: precision: "),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_with_the_place(text: str, complaint: str) -> None:
    with pytest.raises(CatalogError) as raised:
        parse_catalog(text, origin="mine.yaml")
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_request_overrules_the_entry_only_in_what_it_names() -> None:
    text = f"a:\n  {GOOD}\n  defaults:\n    confidence: 0.6\n    top_k: 5"
    entry = parse_catalog(text, origin="mine.yaml")["a"]
    assert entry.params_for(InferenceParams()) == InferenceParams(confidence=0.6, top_k=5)
    assert entry.params_for(InferenceParams(top_k=3)) == InferenceParams(confidence=0.6, top_k=3)
    assert entry.params_for(InferenceParams(confidence=0.4)).confidence == 0.4, "the general default, but asked for"


def test_names_and_paths_cannot_be_confused() -> None:
    for path in ("./a", "../a", "/a", "~/a", ".", ".."):
        assert is_path(path)
        with pytest.raises(CatalogError):
            checked_name(path)
    assert not is_path("owner/name")
    assert not is_path("name")
