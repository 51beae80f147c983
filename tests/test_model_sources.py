"""From what a request calls a model to its files on a worker: local and S3 stores, catalogs, and a hub."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models.catalog import CatalogError
from models.request import BadRequestError, InferenceParams, ModelRequest
from tasks.hub_models import HubAccessError, HubModelNotFoundError, HubRevisionError, HubUnreachableError
from tasks.local_store import LocalStore
from tasks.model_sources import (
    HubSource,
    ResolvedModel,
    StoreSource,
    UnknownModelError,
    UnknownTypeError,
    WrongTypeError,
    add_model,
    import_folder,
    known_models,
    model_folder,
    resolve_models,
)
from tasks.settings import InferenceSettings
from tasks.stored_models import MANIFEST, ModelFilesLostError, ModelFolderError
from tests.hub_server import COMMIT, Hub, running_hub
from tests.tiny_models import set_in_json

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fake_folder(tmp_path / "models" / "my detector")


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path):
    return LocalStore(tmp_path / "store") if request.param == "local" else request.getfixturevalue("s3_store")


@pytest.fixture
def local_store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place to work in, and a hub library that knows no hub unless a test gives it one."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):
    """A hub that answers, found as HF_ENDPOINT would have it found."""
    from huggingface_hub import constants

    with running_hub() as hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield hub


def fake_folder(folder: Path, architecture: str | None = "RTDetrV2ForObjectDetection", weights: bytes = b"1") -> Path:
    """A folder with the names of a model's files; nothing here looks into its weights."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture] if architecture else None}))
    (folder / "preprocessor_config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def resolved(store, **request: object) -> ResolvedModel:
    (model,) = resolve_models(store, [ModelRequest(**request)])
    return model


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_goes_into_the_store_by_hash_and_comes_out_on_a_worker(store, folder: Path, tmp_path: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "modeling.py").write_text("raise SystemExit")
    (folder / ".hidden.json").write_text("{}")
    (folder / "checkpoint-1").mkdir()
    fake_folder(folder / "checkpoint-1" / "inner")
    model = resolved(store, model_id=str(folder))
    assert (model.key, model.inference_type) == ("my detector", "object-detection")
    assert isinstance(model.source, StoreSource)
    assert model.source.prefix == f"models/my-detector/{model.model_version[:32]}"
    there = model_folder(store, model, tmp_path / "cache")
    assert names(there) == {"config.json", "preprocessor_config.json", "model.safetensors", MANIFEST}
    assert (there / "model.safetensors").read_bytes() == b"1"
    assert (there.parent == tmp_path / "cache" / "models") == store.uri.startswith("s3://")
    assert model_folder(store, model, tmp_path / "cache") == there


def test_the_same_folder_twice_is_put_in_once_and_other_weights_are_another_version(store, folder: Path) -> None:
    first = import_folder(store, folder)
    written = {info.key: info.modified_at for info in store.list("")}
    assert import_folder(store, folder) == first
    assert {info.key: info.modified_at for info in store.list("")} == written
    (folder / "model.safetensors").write_bytes(b"2")
    second = import_folder(store, folder)
    assert second.model_version != first.model_version
    for version in (first, second):
        by_hash = resolved(store, model_id="my detector", model_version=version.model_version)
        assert by_hash.model_version == version.model_version
    assert resolved(store, model_id="my detector").model_version == second.model_version, "the one put in last"


def test_an_import_that_broke_off_is_done_again(store, folder: Path, tmp_path: Path) -> None:
    stored = import_folder(store, folder)
    store.delete([f"{stored.prefix}/{MANIFEST}", f"{stored.prefix}/model.safetensors"])
    with pytest.raises(UnknownModelError):
        resolved(store, model_id="my detector")
    assert import_folder(store, folder) == stored
    assert model_folder(store, resolved(store, model_id="my detector"), tmp_path / "cache")


def test_links_that_leave_the_folder_are_followed(local_store: LocalStore, folder: Path, tmp_path: Path) -> None:
    """A snapshot in the hub's cache is nothing but links to ../../blobs."""
    snapshot = tmp_path / "models--a--b" / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        (snapshot / path.name).symlink_to(path)
    assert import_folder(local_store, snapshot).model_version == import_folder(local_store, folder).model_version


def test_a_worker_of_an_s3_store_takes_no_damaged_file(s3_store, folder: Path, tmp_path: Path) -> None:
    model = resolved(s3_store, model_id=str(folder))
    s3_store.write(f"{model.source.prefix}/model.safetensors", b"3")
    with pytest.raises(ModelFilesLostError, match=r"model\.safetensors as it was put there"):
        model_folder(s3_store, model, tmp_path / "cache")
    assert not list((tmp_path / "cache" / "models").iterdir())


def test_files_that_are_gone_from_the_store_are_named(store, folder: Path, tmp_path: Path) -> None:
    model = resolved(store, model_id=str(folder))
    store.delete([f"{model.source.prefix}/model.safetensors"])
    with pytest.raises(ModelFilesLostError, match=r"no longer holds .*model\.safetensors"):
        model_folder(store, model, tmp_path / "cache")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: shutil.rmtree(folder), "there is no folder"),
        (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "not the JSON of a model's configuration"),
        (lambda folder: (folder / "config.json").write_text("[]"), "not the JSON of a model's configuration"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "can run code"),
    ],
)
def test_a_folder_that_is_no_model_is_refused_when_it_is_named(local_store, folder: Path, spoil, complaint) -> None:
    spoil(folder)
    with pytest.raises(ModelFolderError, match=complaint):
        resolved(local_store, model_id=str(folder))
    assert list(local_store.list("")) == []


# --- names ------------------------------------------------------------------------------------------------------------


def test_what_was_added_goes_before_the_working_folder_s_file_and_that_before_the_catalog(
    local_store: LocalStore, folder: Path, working_folder: Path
) -> None:
    def type_of(name: str) -> str:
        return resolved(local_store, model_id=name).inference_type

    with pytest.raises(HubUnreachableError):
        type_of("vit-base")
    fake_folder(working_folder / "weights", "ResNetForImageClassification")
    (working_folder / "reelmill-models.yaml").write_text(
        "vit-base:\n  source: ./weights\n  inference_type: classification\n  defaults: {top_k: 5}\n"
        "  precision: float16\n  pool: small\n"
    )
    model = resolved(local_store, model_id="vit-base")
    assert (model.inference_type, model.params.top_k, model.precision, model.pool) == (
        "classification",
        5,
        "float16",
        "small",
    )
    assert resolved(local_store, model_id="vit-base", pool="large").pool == "large"
    add_model(local_store, "vit-base", str(folder))
    assert type_of("vit-base") == "object-detection"
    known = known_models(local_store)
    assert (known["vit-base"].origin, known["resnet-50"].origin) == ("store", "catalog")


def test_an_imported_folder_does_not_take_a_catalog_name_away(local_store: LocalStore, tmp_path: Path) -> None:
    stored = import_folder(local_store, fake_folder(tmp_path / "vit-base"))
    with pytest.raises(HubUnreachableError):
        resolved(local_store, model_id="vit-base")
    assert resolved(local_store, model_id="vit-base", model_version=stored.model_version).key == "vit-base"


def test_an_added_name_stays_with_its_files_until_it_is_added_again(store, folder: Path) -> None:
    entry = add_model(store, "mine", str(folder))
    assert (entry.source, entry.inference_type) == ("store", "object-detection")
    (folder / "model.safetensors").write_bytes(b"2")
    import_folder(store, folder, "mine")
    assert resolved(store, model_id="mine").model_version == entry.revision
    again = add_model(store, "mine", str(folder))
    assert resolved(store, model_id="mine").model_version == again.revision != entry.revision


@pytest.mark.parametrize("name", ["a/b", "../a", "", "a b"])
def test_nothing_can_be_added_under_a_name_that_means_something_else(local_store, folder: Path, name: str) -> None:
    with pytest.raises(CatalogError):
        add_model(local_store, name, str(folder))


def test_an_unknown_name_is_answered_with_names_near_to_it(local_store: LocalStore) -> None:
    with pytest.raises(UnknownModelError, match="did you mean rtdetr-v2-small"):
        resolved(local_store, model_id="rtdetr-v2-smal")
    with pytest.raises(UnknownModelError, match=r"hub id such as owner/name.*the catalog has .*resnet-50"):
        resolved(local_store, model_id="qqqqqq")
    with pytest.raises(UnknownModelError, match="qqqqqq with version 12"):
        resolved(local_store, model_id="qqqqqq", model_version="12")


# --- types, parameters, keys ------------------------------------------------------------------------------------------


def test_a_type_that_the_model_is_not_is_refused_naming_both(local_store: LocalStore, folder: Path) -> None:
    with pytest.raises(WrongTypeError, match=r"RTDetrV2ForObjectDetection.* does not do classification"):
        resolved(local_store, model_id=str(folder), inference_type="classification")
    set_in_json(folder / "config.json", architectures=["BertForMaskedLM"])
    with pytest.raises(WrongTypeError, match="BertForMaskedLM, which none of object-detection"):
        resolved(local_store, model_id=str(folder))


def test_a_configuration_that_says_nothing_needs_a_type_in_the_request(local_store: LocalStore, tmp_path: Path) -> None:
    silent = fake_folder(tmp_path / "silent", None)
    with pytest.raises(UnknownTypeError, match="add inference_type"):
        resolved(local_store, model_id=str(silent))
    model = resolved(local_store, model_id=str(silent), inference_type="classification")
    assert model.inference_type == "classification"


def test_the_fingerprint_holds_what_decides_the_numbers_and_nothing_else(local_store: LocalStore, folder: Path) -> None:
    def parts(**request: object) -> dict:
        return resolved(local_store, model_id=str(folder), **request).fingerprint_parts()

    assert parts() == parts(alias="other", pool="large", inference_params=InferenceParams(confidence=0.4))
    assert parts() != parts(inference_params=InferenceParams(confidence=0.5))
    half = resolve_models(
        local_store, [ModelRequest(model_id=str(folder))], settings=InferenceSettings(precision="float16")
    )
    assert half[0].fingerprint_parts() != parts()
    copy = shutil.copytree(folder, folder.parent / "copy")
    assert resolved(local_store, model_id=str(copy)).fingerprint_parts() == parts()
    (folder / "preprocessor_config.json").write_text('{"size": 1}')
    assert resolved(local_store, model_id=str(copy)).fingerprint_parts() != parts()


def test_two_of_one_name_need_an_alias(local_store: LocalStore, folder: Path) -> None:
    request = ModelRequest(model_id=str(folder))
    with pytest.raises(BadRequestError, match="alias"):
        resolve_models(local_store, [request, request])
    both = resolve_models(local_store, [request, request.model_copy(update={"alias": "again"})])
    assert [model.key for model in both] == ["my detector", "again"]


def test_a_resolved_model_survives_the_job_spec(local_store: LocalStore, folder: Path) -> None:
    model = resolved(local_store, model_id=str(folder))
    assert ResolvedModel.model_validate_json(model.model_dump_json()) == model


# --- the hub ----------------------------------------------------------------------------------------------------------


def test_a_hub_id_is_pinned_to_its_commit_and_only_safe_files_are_fetched(
    local_store: LocalStore, folder: Path, hub: Hub, tmp_path: Path
) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "modeling.py").write_text("raise SystemExit")
    hub.folders["owner/detector"] = folder
    model = resolved(local_store, model_id="owner/detector", model_version="main")
    assert (model.key, model.model_version) == ("owner/detector", COMMIT)
    assert model.source == HubSource(repo="owner/detector", commit=COMMIT)
    assert names(model_folder(local_store, model, tmp_path)) == {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
    }
    assert not [path for path in hub.asked if path.endswith((".bin", ".py"))]


def test_what_the_hub_s_cache_holds_serves_without_a_network(
    local_store: LocalStore, folder: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    hub.folders["owner/detector"] = folder
    online = resolved(local_store, model_id="owner/detector")
    model_folder(local_store, online, tmp_path)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert resolved(local_store, model_id="owner/detector", model_version=COMMIT) == online
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert resolved(local_store, model_id="owner/detector", model_version=COMMIT) == online
    assert names(model_folder(local_store, online, tmp_path)) >= {"config.json", "model.safetensors"}


def test_a_cache_without_the_weights_is_not_taken_for_the_model(
    local_store: LocalStore, folder: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    hub.folders["owner/detector"] = folder
    model = resolved(local_store, model_id="owner/detector")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnreachableError):
        model_folder(local_store, model, tmp_path)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((404, "RepoNotFound"), HubModelNotFoundError, "has no model owner/detector"),
        ((401, "RepoNotFound"), HubModelNotFoundError, "HF_TOKEN"),
        ((403, "GatedRepo"), HubAccessError, "accept its terms"),
        ((403, ""), HubAccessError, "HF_TOKEN"),
    ],
)
def test_the_hub_s_refusals_are_said_with_what_to_do(local_store, hub: Hub, answer, error, words: str) -> None:
    hub.refused["owner/detector"] = answer
    with pytest.raises(error, match=words):
        resolved(local_store, model_id="owner/detector")


def test_a_revision_that_is_none_is_refused(local_store: LocalStore, folder: Path, hub: Hub) -> None:
    hub.folders["owner/detector"] = folder
    with pytest.raises(HubRevisionError, match="no revision 'v9'"):
        resolved(local_store, model_id="owner/detector", model_version="v9")


def test_a_hub_that_is_down_is_a_passing_error(local_store, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubUnreachableError, match="cannot be reached"):
        resolved(local_store, model_id="owner/detector")


def test_a_hub_model_without_safetensors_is_refused_before_a_job_starts(local_store, folder: Path, hub: Hub) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    hub.folders["owner/detector"] = folder
    with pytest.raises(ModelFolderError, match="can run code"):
        resolved(local_store, model_id="owner/detector")


def test_a_hub_id_that_is_added_is_pinned(local_store: LocalStore, folder: Path, hub: Hub) -> None:
    hub.folders["owner/detector"] = folder
    entry = add_model(local_store, "mine", "owner/detector")
    assert (entry.source, entry.revision) == ("owner/detector", COMMIT)
    assert resolved(local_store, model_id="mine").source == HubSource(repo="owner/detector", commit=COMMIT)


# --- the parent -------------------------------------------------------------------------------------------------------


def test_the_parent_s_part_imports_neither_torch_nor_transformers(folder: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from models.request import ModelRequest;"
        "from tasks.local_store import LocalStore; from tasks.model_sources import known_models, resolve_models;"
        "store = LocalStore(Path(sys.argv[1])); known_models(store);"
        "resolve_models(store, [ModelRequest(model_id=sys.argv[2])]);"
        "print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "store", folder], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
