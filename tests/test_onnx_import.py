"""From a folder or a hub repository with a card to the network on a worker; what is refused before a job starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.inference_types import vision_model_class
from models.onnx_card import OnnxCardError
from models.request import ModelRequest
from tasks.local_store import LocalStore
from tasks.model_sources import ResolvedModel, WrongTypeError, add_model, model_folder, resolve_models
from tasks.stored_models import MANIFEST, ModelFolderError
from tests.hub_server import COMMIT, Hub, running_hub
from tests.onnx_networks import save_tiny_gaze, save_with_weights_in, save_yolo, write_card
from tests.pictures import pictures

CARD = "{inference_type: object-detection, output: yolo, classes: names.txt}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_card(tmp_path / "shelf detector", CARD)
    (folder / "names.txt").write_text("box\nbottle\ncan\n")
    save_yolo(folder / "best.onnx", 3, objectness=False)
    return folder


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path):
    return LocalStore(tmp_path / "store") if request.param == "local" else request.getfixturevalue("s3_store")


@pytest.fixture
def local_store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    with running_hub() as hub:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


def resolved(store, **request: object) -> ResolvedModel:
    (model,) = resolve_models(store, [ModelRequest(**request)])
    return model


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_with_a_card_goes_into_the_store_and_runs_on_a_worker(store, folder: Path, tmp_path: Path) -> None:
    (folder / "best.pt").write_bytes(b"pickled")
    (folder / "operators.so").write_bytes(b"code")
    model = resolved(store, model_id=str(folder))
    assert (model.key, model.inference_type) == ("shelf detector", "object-detection")
    there = model_folder(store, model, tmp_path / "cache")
    assert names(there) == {"reelmill.yaml", "best.onnx", "names.txt", MANIFEST}
    runs = vision_model_class(model.inference_type)(there, model.params)
    runs.setup("cpu")
    (element,) = runs.predict(pictures(1))
    assert {one["class"] for one in element["predictions"]} <= {"box", "bottle", "can"}
    assert element["predictions"]


def test_card_classes_and_weights_are_the_version(local_store: LocalStore, folder: Path) -> None:
    versions = {resolved(local_store, model_id=str(folder)).model_version}
    (folder / "names.txt").write_text("box\nbottle\ntin\n")
    versions.add(resolved(local_store, model_id=str(folder)).model_version)
    write_card(folder, CARD.replace("names.txt", "[box, bottle, tin]"))
    versions.add(resolved(local_store, model_id=str(folder)).model_version)
    assert len(versions) == 3


def test_weights_beside_the_network_come_along(local_store: LocalStore, tmp_path: Path) -> None:
    folder = write_card(tmp_path / "big", "{inference_type: classification, output: logits}")
    save_with_weights_in(folder / "big.onnx", "big.onnx.data")
    model = resolved(local_store, model_id=str(folder))
    there = model_folder(local_store, model, tmp_path / "cache")
    assert names(there) == {"reelmill.yaml", "big.onnx", "big.onnx.data", MANIFEST}
    runs = vision_model_class("classification")(there, model.params)
    runs.setup("cpu")
    assert len(runs.predict(pictures(1))[0]["predictions"]) == 5


def test_gaze_brings_all_its_networks(local_store: LocalStore, tmp_path: Path) -> None:
    model = resolved(local_store, model_id=str(save_tiny_gaze(tmp_path / "looks")))
    assert model.inference_type == "gaze-detection"
    there = model_folder(local_store, model, tmp_path / "cache")
    assert names(there) == {"reelmill.yaml", "faces.onnx", "l2cs.onnx", MANIFEST}


def test_another_type_than_the_cards_is_refused(local_store: LocalStore, folder: Path) -> None:
    with pytest.raises(WrongTypeError, match=r"card of shelf detector says object-detection, .* classification"):
        resolved(local_store, model_id=str(folder), inference_type="classification")
    assert resolved(local_store, model_id=str(folder), inference_type="object-detection").key == "shelf detector"


def test_a_model_of_transformers_does_no_gaze(local_store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "detector"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["RTDetrV2ForObjectDetection"]}')
    (folder / "model.safetensors").write_bytes(b"1")
    with pytest.raises(WrongTypeError, match=r"does not do gaze-detection; ask for object-detection"):
        resolved(local_store, model_id=str(folder), inference_type="gaze-detection")


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (lambda folder: (folder / "reelmill.yaml").unlink(), ModelFolderError, r"ONNX weights but no reelmill\.yaml"),
        (lambda folder: (folder / "best.onnx").unlink(), OnnxCardError, r"the folder holds none"),
        (lambda folder: (folder / "names.txt").unlink(), OnnxCardError, r"there is no \.txt file names\.txt"),
        (lambda folder: write_card(folder, "inference_type: tracking"), OnnxCardError, r"inference_type is 'tracking'"),
        (lambda folder: write_card(folder, "output: yolo"), OnnxCardError, r"inference_type is None"),
        (lambda folder: (folder / "reelmill.yaml").write_bytes(b"\xff\xfe"), OnnxCardError, r"is not UTF-8"),
    ],
)
def test_a_folder_that_cannot_run_is_refused_when_it_is_named(local_store, folder: Path, spoil, error, told) -> None:
    spoil(folder)
    with pytest.raises(error, match=told):
        resolved(local_store, model_id=str(folder))
    assert list(local_store.list("")) == []


def test_a_hub_repository_with_a_card_is_pinned_and_fetched(
    local_store: LocalStore, folder: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    (folder / "best.pt").write_bytes(b"pickled")
    hub.folders["owner/shelf"] = folder
    model = resolved(local_store, model_id="owner/shelf")
    assert (model.inference_type, model.model_version) == ("object-detection", COMMIT)
    there = model_folder(local_store, model, tmp_path)
    assert names(there) == {"reelmill.yaml", "best.onnx", "names.txt"}
    assert not [path for path in hub.asked if path.endswith(".pt")]
    vision_model_class(model.inference_type)(there, model.params).setup("cpu")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert resolved(local_store, model_id="owner/shelf", model_version=COMMIT) == model
    assert model_folder(local_store, model, tmp_path) == there


def test_a_hub_repository_of_both_kinds_gives_transformers_files_without_a_card(
    local_store: LocalStore, folder: Path, hub: Hub, tmp_path: Path
) -> None:
    (folder / "reelmill.yaml").unlink()
    hub.folders["owner/shelf"] = folder
    (folder / "config.json").write_text('{"architectures": ["RTDetrV2ForObjectDetection"]}')
    with pytest.raises(ModelFolderError, match=r"owner/shelf has ONNX weights but no reelmill\.yaml"):
        resolved(local_store, model_id="owner/shelf")
    (folder / "model.safetensors").write_bytes(b"1")
    model = resolved(local_store, model_id="owner/shelf")
    assert names(model_folder(local_store, model, tmp_path)) == {"config.json", "names.txt", "model.safetensors"}


def test_a_hub_repository_with_a_bad_card_is_refused(local_store: LocalStore, folder: Path, hub: Hub) -> None:
    hub.folders["owner/shelf"] = write_card(folder, "{inference_type: object-detection, output: yolo, file: a.onnx}")
    with pytest.raises(OnnxCardError, match=r"names a\.onnx, which owner/shelf does not hold"):
        resolved(local_store, model_id="owner/shelf")


def test_a_card_serves_a_name_that_is_added(local_store: LocalStore, folder: Path) -> None:
    entry = add_model(local_store, "shelf", str(folder))
    assert entry.inference_type == "object-detection"
    assert resolved(local_store, model_id="shelf").inference_type == "object-detection"
