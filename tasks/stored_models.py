"""Users' own models in the store: folders of weights by the hash of their files, and entries by name.

models/{name}/{hash}/…, reelmill-model.json     a folder's files; the manifest last
models/{name}/entry.yaml                        what `reelmill models add` says of the name: a catalog's entry
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from models.catalog import CatalogEntry, checked_name, parse_entry
from models.errors import PassingError, PermanentError
from tasks.store_interface import KeyNotFoundError, Store

MODELS_PREFIX = "models"
MANIFEST = "reelmill-model.json"
ENTRY = "entry.yaml"
LATEST = "latest"
_TAKEN_SUFFIXES = {".json", ".safetensors", ".txt", ".model", ".onnx"}
_TAKEN_NAMES = {"reelmill.yaml"}
_WEIGHTS_SUFFIXES = {".safetensors", ".onnx"}
_PICKLED_SUFFIXES = {".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".pkl"}
_HASH_DIGITS = 32


class ModelFolderError(PermanentError):
    """The folder does not hold a model that can be run."""


class ModelFilesLostError(PermanentError):
    """The store no longer holds a model's files as they were put there."""


class ModelFolderChangedError(PassingError):
    """The folder was written to while it was read."""


class ModelFile(BaseModel):
    """One file of a model."""

    model_config = ConfigDict(frozen=True)

    name: str
    size_bytes: int
    sha256: str


class ModelManifest(BaseModel):
    """What a model's folder holds; in the store, its existence means that all of it is there."""

    model_config = ConfigDict(frozen=True)

    folder_name: str
    architectures: tuple[str, ...]
    files: tuple[ModelFile, ...]

    @property
    def folder_hash(self) -> str:
        """sha256 over the names and hashes of the files, in the order of the names."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.name}\0{file.sha256}\n".encode())
        return digest.hexdigest()


class StoredModel(BaseModel):
    """A folder in the store. `model_id` and `model_version` in a request name it."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_id: str
    model_version: str
    prefix: str
    architectures: tuple[str, ...]


def import_folder(store: Store, folder: Path, name: str | None = None) -> StoredModel:
    """Put a model's folder into the store by hash, unless it is there; called `name`, else as the folder is.

    Takes the configuration, safetensors or ONNX weights and vocabularies that lie in the folder itself: no pickles, no
    code, no checkpoints in folders below. Raises `ModelFolderError`, `ModelFolderChangedError` and the store's errors.
    """
    folder = folder.expanduser().resolve()
    called = name or folder.name
    stamps = _stamps(folder)
    manifest = describe_folder(folder)
    stored = _stored(called, manifest)
    if store.stat(f"{stored.prefix}/{MANIFEST}") is None:
        for file in manifest.files:
            store.write_file(f"{stored.prefix}/{file.name}", folder / file.name)
        if _stamps(folder) != stamps:
            raise ModelFolderChangedError(f"{folder} was written to while it was read; try again when that has ended.")
        store.write(f"{stored.prefix}/{MANIFEST}", manifest.model_dump_json(indent=1).encode())
    if _latest(store, called) != stored.model_version:
        store.write(_latest_key(called), stored.model_version.encode())
    return stored


def describe_folder(folder: Path) -> ModelManifest:
    """Read and hash what `import_folder` would take. Raises `ModelFolderError`."""
    if not folder.is_dir():
        raise ModelFolderError(f"there is no folder {folder}; give one that holds config.json and model.safetensors.")
    config = folder / "config.json"
    if not config.is_file():
        raise ModelFolderError(f"{folder} holds no config.json; give the folder that save_pretrained wrote.")
    check_weights(folder.name, [path.name for path in _files(folder)])
    return ModelManifest(
        folder_name=folder.name,
        architectures=read_architectures(config.read_bytes(), str(config)),
        files=tuple(
            ModelFile(name=path.name, size_bytes=path.stat().st_size, sha256=_sha256(path))
            for path in _files(folder)
            if _is_taken(path)
        ),
    )


def check_weights(name: str, file_names: list[str]) -> None:
    """Refuse a model without weights, or with pickled ones only. Raises `ModelFolderError`."""
    suffixes = {Path(file_name).suffix for file_name in file_names if "/" not in file_name}
    if suffixes & _WEIGHTS_SUFFIXES:
        return
    if suffixes & _PICKLED_SUFFIXES:
        raise ModelFolderError(
            f"{name} has its weights only in a format that can run code when it is read; load it with transformers "
            "where you trust it and call save_pretrained, which writes model.safetensors."
        )
    raise ModelFolderError(f"{name} holds no weights; give a model with model.safetensors.")


def read_architectures(config: bytes, origin: str) -> tuple[str, ...]:
    """`architectures` of a config.json. Raises `ModelFolderError` where it is no JSON object."""
    try:
        content = json.loads(config)
        return tuple(str(name) for name in content.get("architectures") or ())
    except (ValueError, AttributeError):
        raise ModelFolderError(f"{origin} is not the JSON of a model's configuration; save the model again.") from None


def find_stored(store: Store, name: str, version: str | None) -> StoredModel | None:
    """The folder called `name` whose hash begins with `version`, or the one that was put in last; None if none."""
    wanted = version or _latest(store, name)
    if wanted is None:
        return None
    beginning = f"{MODELS_PREFIX}/{store_name(name)}/{wanted[:_HASH_DIGITS]}"
    for info in store.list(beginning):
        if info.key.endswith(f"/{MANIFEST}"):
            stored = _stored(name, _read_manifest(store, info.key.removesuffix(f"/{MANIFEST}")))
            if stored.model_version.startswith(wanted):
                return stored
    return None


def write_entry(store: Store, name: str, entry: CatalogEntry) -> None:
    """Put an entry into the store. Raises `CatalogError` where nothing may be called `name`."""
    fields = entry.model_dump(mode="json", exclude_unset=True)
    store.write(f"{MODELS_PREFIX}/{checked_name(name)}/{ENTRY}", yaml.safe_dump(fields, sort_keys=False).encode())


def read_entry(store: Store, name: str) -> CatalogEntry | None:
    """The entry that was put into the store under `name`. Raises `CatalogError` where somebody spoiled it."""
    key = f"{MODELS_PREFIX}/{store_name(name)}/{ENTRY}"
    try:
        text = store.read(key)
    except KeyNotFoundError:
        return None
    fields: Any = yaml.safe_load(text)
    return parse_entry(fields, origin=f"{store.uri}/{key}")


def stored_entries(store: Store) -> dict[str, CatalogEntry]:
    """Every entry in the store, by name."""
    names = [info.key.split("/")[1] for info in store.list(f"{MODELS_PREFIX}/") if info.key.endswith(f"/{ENTRY}")]
    entries = {name: read_entry(store, name) for name in names}
    return {name: entry for name, entry in entries.items() if entry is not None}


def stored_folder(store: Store, prefix: str, folder_hash: str, cache_dir: Path) -> Path:
    """The model's files on this machine: in place where the store is a directory, else a checked copy by hash.

    Raises `ModelFilesLostError` and the store's errors.
    """
    manifest = _read_manifest(store, prefix)
    if manifest.folder_hash != folder_hash:
        raise ModelFilesLostError(f"the files of {prefix} are others than the job names; put the model in again.")
    in_place = store.local_path(f"{prefix}/{MANIFEST}")
    if in_place is not None:
        for file in manifest.files:
            path = in_place.parent / file.name
            if not path.is_file() or path.stat().st_size != file.size_bytes:
                raise _lost(prefix, file.name)
        return in_place.parent
    kept = cache_dir.expanduser() / MODELS_PREFIX / folder_hash[:_HASH_DIGITS]
    if not (kept / MANIFEST).is_file():
        _fetch(store, prefix, manifest, kept)
    return kept


def store_name(name: str) -> str:
    """`name` as a part of a key: the name of a folder may hold what a key may not."""
    return re.sub(r"[^\w.-]", "-", name, flags=re.ASCII)[:100].strip(".") or "-"


def _fetch(store: Store, prefix: str, manifest: ModelManifest, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".partial-", dir=kept.parent, ignore_cleanup_errors=True) as partial:
        for file in manifest.files:
            try:
                store.fetch(f"{prefix}/{file.name}", Path(partial, file.name))
            except KeyNotFoundError:
                raise _lost(prefix, file.name) from None
            if _sha256(Path(partial, file.name)) != file.sha256:
                raise _lost(prefix, file.name)
        Path(partial, MANIFEST).write_text(manifest.model_dump_json(indent=1))
        if kept.exists() and not (kept / MANIFEST).is_file():
            shutil.rmtree(kept)
        # Another process of this machine may have been faster, with the same files.
        with suppress(OSError):
            Path(partial).rename(kept)
    if not (kept / MANIFEST).is_file():
        raise ModelFolderChangedError(f"{kept} could not be put in place; check its permissions and try again.")


def _latest_key(name: str) -> str:
    return f"{MODELS_PREFIX}/{store_name(name)}/{LATEST}"


def _latest(store: Store, name: str) -> str | None:
    try:
        return store.read(_latest_key(name)).decode()
    except KeyNotFoundError:
        return None


def _read_manifest(store: Store, prefix: str) -> ModelManifest:
    try:
        return ModelManifest.model_validate_json(store.read(f"{prefix}/{MANIFEST}"))
    except (KeyNotFoundError, ValidationError):
        raise _lost(prefix, MANIFEST) from None


def _lost(prefix: str, file_name: str) -> ModelFilesLostError:
    return ModelFilesLostError(
        f"the store no longer holds {prefix}/{file_name} as it was put there; put the model's folder in again."
    )


def _stored(name: str, manifest: ModelManifest) -> StoredModel:
    return StoredModel(
        model_id=name,
        model_version=manifest.folder_hash,
        prefix=f"{MODELS_PREFIX}/{store_name(name)}/{manifest.folder_hash[:_HASH_DIGITS]}",
        architectures=manifest.architectures,
    )


def _files(folder: Path) -> list[Path]:
    """The files that lie in the folder, links followed (the hub's cache holds nothing else), sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _is_taken(path: Path) -> bool:
    return (path.suffix in _TAKEN_SUFFIXES or path.name in _TAKEN_NAMES) and path.name != MANIFEST


def _stamps(folder: Path) -> list[tuple[str, int, int]]:
    if not folder.is_dir():
        return []
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in _files(folder) if _is_taken(path)]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
