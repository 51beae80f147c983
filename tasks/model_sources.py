"""What the models of a request are: names and revisions → commits, hashes and types.

Reads configurations only and imports neither torch nor transformers.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from models.architectures import needs_prompts
from models.catalog import HUB_ID, IN_STORE, CatalogEntry, checked_name, is_path, parse_catalog, shipped_catalog
from models.errors import PermanentError
from models.keypoint_detection import KeyPointDetection
from models.prompts import asked_prompts, refuse_prompts
from models.request import BadRequestError, InferenceParams, ModelRequest
from models.result_keys import default_key, model_keys
from models.vision_model import Precision
from tasks.hub_models import HubModel, look_up
from tasks.model_folders import card_type
from tasks.model_types import UnknownTypeError, WrongTypeError, settle_type
from tasks.resolved_models import HubSource, ResolvedDetector, ResolvedModel, StoreSource, model_folder
from tasks.settings import InferenceSettings
from tasks.store_interface import Store
from tasks.stored_models import (
    ModelFilesLostError,
    StoredModel,
    check_weights,
    find_stored,
    import_folder,
    read_entry,
    stored_entries,
    write_entry,
)

__all__ = [
    "HubSource",
    "ResolvedModel",
    "StoreSource",
    "UnknownTypeError",
    "WrongTypeError",
    "add_model",
    "import_folder",
    "known_models",
    "model_folder",
    "resolve_models",
]

CATALOG_FILE = "reelmill-models.yaml"
PERSON_DETECTOR = "rtdetr-v2-small"
"""What finds people for key points, where neither the request nor the catalog names a detector."""


class UnknownModelError(PermanentError):
    """Nothing is called so."""


class KnownModel(BaseModel):
    """A name that a request may use, and which catalog says so."""

    model_config = ConfigDict(frozen=True)

    entry: CatalogEntry
    origin: str


@dataclass(frozen=True)
class _Found:
    """Where a model's files are, and what its configuration and its entry say of it."""

    name: str
    source: HubSource | StoreSource
    version: str
    architectures: tuple[str, ...]
    entry: CatalogEntry | None = None
    card_type: str | None = None
    """What its card says it is for, where it has one."""

    @property
    def shipped(self) -> bool:
        """Whether it is one of the catalog that comes with reelmill."""
        return self.entry is not None and self.entry is shipped_catalog().get(self.name)


def resolve_models(
    store: Store,
    requests: Sequence[ModelRequest],
    *,
    settings: InferenceSettings | None = None,
    working_folder: Path | None = None,
) -> list[ResolvedModel]:
    """Settle each requested model; a folder named by its path goes into the store first.

    A name means, in this order: a folder (`/…`, `./…`, `~/…`), what was added to the store, an entry of
    reelmill-models.yaml in `working_folder` (the current one), a name of the shipped catalog, a folder imported into
    the store, a hub id. With a version that is the hash of an imported folder, that folder comes first.

    Raises `UnknownModelError`, `WrongTypeError`, `UnknownTypeError`, what `models.prompts` raises, `BadRequestError`
    where two share a key, and what `tasks.hub_models` and `tasks.stored_models` raise.
    """
    settings = settings or InferenceSettings()
    found = [_find(store, request, working_folder or Path.cwd()) for request in requests]
    types = [_type(one, request.inference_type) for one, request in zip(found, requests, strict=True)]
    keys = model_keys(
        requests,
        [one.name for one in found],
        [default_key(runs_as, shipped=one.shipped) for runs_as, one in zip(types, found, strict=True)],
    )
    models = [
        _resolved(key, request, one, runs_as, settings.precision)
        for key, request, one, runs_as in zip(keys, requests, found, types, strict=True)
    ]
    return [
        model.model_copy(update={"detector": _detector(store, model.params, settings, working_folder)})
        if model.inference_type == KeyPointDetection.inference_type
        else model
        for model in models
    ]


def add_model(
    store: Store,
    name: str,
    source: str,
    *,
    revision: str | None = None,
    inference_type: str | None = None,
) -> CatalogEntry:
    """Give a folder, or a hub id at a commit, a name in the store that every request may use from then on.

    A folder's files go into the store; a hub id is pinned to the commit that `revision` means now. Raises as
    `resolve_models` does, and `CatalogError` where nothing may be called `name`.
    """
    checked_name(name)
    if is_path(source) or Path(source).expanduser().is_dir():
        stored = import_folder(store, Path(source), name)
        found = _from_store(name, stored)
        at: dict[str, Any] = {"source": IN_STORE, "revision": stored.model_version}
    elif HUB_ID.fullmatch(source):
        found = _from_hub(name, source, revision)
        at = {"source": source, "revision": found.version}
    else:
        raise UnknownModelError(
            f"{source!r} is neither a folder nor a hub id such as owner/name; give one of them to call {name!r}."
        )
    entry = CatalogEntry(**at, inference_type=_type(found, inference_type))
    write_entry(store, name, entry)
    return entry


def known_models(store: Store, *, working_folder: Path | None = None) -> dict[str, KnownModel]:
    """Every name that a request may use, with the entry that counts; sorted by name."""
    catalogs: list[tuple[str, Mapping[str, CatalogEntry]]] = [
        ("catalog", shipped_catalog()),
        (CATALOG_FILE, _working_catalog(working_folder or Path.cwd())),
        ("store", stored_entries(store)),
    ]
    known = {
        name: KnownModel(entry=entry, origin=origin) for origin, entries in catalogs for name, entry in entries.items()
    }
    return dict(sorted(known.items()))


def _find(store: Store, request: ModelRequest, working_folder: Path) -> _Found:
    name, version = request.model_id, request.model_version
    if is_path(name):
        stored = import_folder(store, Path(name))
        return _from_store(stored.model_id, stored)
    in_store = "/" not in name
    added = read_entry(store, name) if in_store else None
    if in_store and version is not None and (chosen := find_stored(store, name, version)):
        return _from_store(name, chosen, added)
    entry = added or _working_catalog(working_folder).get(name) or shipped_catalog().get(name)
    if entry is not None:
        return _from_entry(store, name, version, entry, working_folder)
    if in_store and version is None and (newest := find_stored(store, name, None)):
        return _from_store(name, newest)
    if HUB_ID.fullmatch(name):
        return _from_hub(name, name, version)
    raise _unknown(store, request, working_folder)


def _from_entry(store: Store, name: str, version: str | None, entry: CatalogEntry, working_folder: Path) -> _Found:
    if entry.source == IN_STORE:
        stored = find_stored(store, name, version or entry.revision)
        if stored is None:
            raise ModelFilesLostError(
                f"the store holds no files of {name} with the hash {version or entry.revision}; add the model again."
            )
        return _from_store(name, stored, entry)
    if is_path(entry.source):
        return _from_store(name, import_folder(store, working_folder / Path(entry.source).expanduser(), name), entry)
    return _from_hub(name, entry.source, version or entry.revision, entry)


def _from_store(name: str, stored: StoredModel, entry: CatalogEntry | None = None) -> _Found:
    source = StoreSource(prefix=stored.prefix, folder_hash=stored.model_version)
    return _Found(name, source, stored.model_version, stored.architectures, entry, stored.inference_type)


def _from_hub(name: str, repo: str, revision: str | None, entry: CatalogEntry | None = None) -> _Found:
    model: HubModel = look_up(repo, revision)
    source = HubSource(repo=repo, commit=model.commit)
    if model.card is not None:
        return _Found(name, source, model.commit, (), entry, card_type(repo, model.card, list(model.files)))
    if "config.json" not in model.files:
        raise UnknownTypeError(f"{repo} has no config.json, so it is none of transformers' models; take another one.")
    check_weights(repo, list(model.files))
    architectures = tuple(str(one) for one in model.config.get("architectures") or ())
    return _Found(name, source, model.commit, architectures, entry)


def _detector(
    store: Store, params: InferenceParams, settings: InferenceSettings, working_folder: Path | None
) -> ResolvedDetector:
    """What finds the boxes for a model that works on boxes, settled like every model."""
    request = ModelRequest(
        model_id=params.detector or PERSON_DETECTOR,
        inference_type="object-detection",
        inference_params=params.model_copy(update={"detector": None}),
    )
    (found,) = resolve_models(store, [request], settings=settings, working_folder=working_folder)
    return ResolvedDetector(
        model_id=found.model_id,
        model_version=found.model_version,
        source=found.source,
        weights_hash=found.weights_hash,
    )


def _resolved(
    key: str, request: ModelRequest, found: _Found, inference_type: str, precision: Precision
) -> ResolvedModel:
    entry = found.entry
    params = entry.params_for(request.inference_params) if entry else request.inference_params
    if inference_type == "clip-compare" or needs_prompts(found.architectures):
        asked_prompts(params, inference_type)
    elif inference_type == "object-detection" and (found.architectures or found.card_type):
        refuse_prompts(params)
    if params.detector and inference_type != KeyPointDetection.inference_type:
        raise BadRequestError(
            f"{found.name} is run as {inference_type}, which works on whole frames; leave out detector, which is for "
            f"{KeyPointDetection.inference_type}."
        )
    weights = (
        found.source.folder_hash if isinstance(found.source, StoreSource) else f"{found.source.repo}@{found.version}"
    )
    return ResolvedModel(
        key=key,
        model_id=found.name,
        model_version=found.version,
        inference_type=inference_type,
        source=found.source,
        weights_hash=weights,
        params=params,
        precision=(entry.precision if entry else None) or precision,
        pool=request.pool or (entry.pool if entry else None),
    )


def _type(found: _Found, asked: str | None) -> str:
    """What the model is run as, by its files, the request and its entry."""
    wanted = asked or (found.entry.inference_type if found.entry else None)
    return settle_type(found.name, architectures=found.architectures, card_type=found.card_type, wanted=wanted)


def _working_catalog(folder: Path) -> dict[str, CatalogEntry]:
    path = folder / CATALOG_FILE
    return parse_catalog(path.read_text("utf-8"), origin=str(path)) if path.is_file() else {}


def _unknown(store: Store, request: ModelRequest, working_folder: Path) -> UnknownModelError:
    names = list(known_models(store, working_folder=working_folder))
    near = difflib.get_close_matches(request.model_id, names, n=3, cutoff=0.5)
    asked = request.model_id + (f" with version {request.model_version}" if request.model_version else "")
    hint = f"did you mean {' or '.join(near)}?" if near else f"the catalog has {', '.join(names)}."
    return UnknownModelError(
        f"there is no model {asked}: give a name of the catalog, a hub id such as owner/name, or a folder such as "
        f"./weights; {hint}"
    )
