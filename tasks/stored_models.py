"""Users' own models in the store: folders of weights by the hash of their files, and entries by name.

models/{name}/{hash}/…, reelmill-model.json     a folder's files; the manifest last
models/{name}/entry.yaml                        what `reelmill models add` says of the name: a catalog's entry
"""

from __future__ import annotations

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
from tasks.model_folders import (
    MANIFEST,
    ModelFolderError,
    ModelManifest,
    check_weights,
    describe_folder,
    file_stamps,
    sha256_of,
)
from tasks.store_interface import KeyNotFoundError, Store

__all__ = [
    "MANIFEST",
    "ModelFilesLostError",
    "ModelFolderChangedError",
    "ModelFolderError",
    "StoredModel",
    "check_weights",
    "find_stored",
    "import_folder",
    "read_entry",
    "store_name",
    "stored_entries",
    "stored_folder",
    "write_entry",
]

MODELS_PREFIX = "models"
ENTRY = "entry.yaml"
LATEST = "latest"
_HASH_DIGITS = 32


class ModelFilesLostError(PermanentError):
    """The store no longer holds a model's files as they were put there."""


class ModelFolderChangedError(PassingError):
    """The folder was written to while it was read."""


class StoredModel(BaseModel):
    """A folder in the store. `model_id` and `model_version` in a request name it."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_id: str
    model_version: str
    prefix: str
    architectures: tuple[str, ...]
    inference_type: str | None = None


def import_folder(store: Store, folder: Path, name: str | None = None) -> StoredModel:
    """Put a model's folder into the store by hash, unless it is there; called `name`, else as the folder is.

    Takes the configuration, safetensors or ONNX weights and vocabularies that lie in the folder itself: no pickles, no
    code, no checkpoints in folders below. Raises what `describe_folder` raises, `ModelFolderChangedError` and the
    store's errors.
    """
    folder = folder.expanduser().resolve()
    called = name or folder.name
    stamps = file_stamps(folder)
    manifest = describe_folder(folder)
    stored = _stored(called, manifest)
    if store.stat(f"{stored.prefix}/{MANIFEST}") is None:
        for file in manifest.files:
            store.write_file(f"{stored.prefix}/{file.name}", folder / file.name)
        if file_stamps(folder) != stamps:
            raise ModelFolderChangedError(f"{folder} was written to while it was read; try again when that has ended.")
        store.write(f"{stored.prefix}/{MANIFEST}", manifest.model_dump_json(indent=1).encode())
    if _latest(store, called) != stored.model_version:
        store.write(_latest_key(called), stored.model_version.encode())
    return stored


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
            if sha256_of(Path(partial, file.name)) != file.sha256:
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
        inference_type=manifest.inference_type,
    )
