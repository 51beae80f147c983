"""A model with everything settled that decides its numbers, as a job's spec holds it; and its folder on a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.keypoint_detection import DETECTOR_FOLDER
from models.request import InferenceParams
from models.vision_model import Precision
from tasks.hub_models import hub_folder
from tasks.joined_folders import joined_folder
from tasks.store_interface import Store
from tasks.stored_models import stored_folder

NUMBERS_VERSION = 3
"""Raised by hand whenever the same weights would give other numbers than before: it makes old shards stale."""


class HubSource(BaseModel):
    """Files at one commit of a repository of the hub."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["hub"] = "hub"
    repo: str
    commit: str


class StoreSource(BaseModel):
    """Files in the store, under the hash of all of them."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["store"] = "store"
    prefix: str
    folder_hash: str


ModelSource = Annotated[HubSource | StoreSource, Field(discriminator="kind")]


class ResolvedDetector(BaseModel):
    """The model that finds boxes for another one, with whose parameters and precision it runs."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_id: str
    model_version: str
    source: ModelSource
    weights_hash: str


class ResolvedModel(BaseModel):
    """A model of a request with everything settled that decides its numbers."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    key: str
    """Its list in the result."""
    model_id: str
    model_version: str
    """The commit, or the hash of the folder's files."""
    inference_type: str
    source: ModelSource
    weights_hash: str
    params: InferenceParams
    precision: Precision
    pool: str | None = None
    detector: ResolvedDetector | None = None

    def fingerprint_parts(self) -> dict[str, Any]:
        """Everything that decides the model's numbers; not its name, key or pool, nor where its files lie."""
        return {
            "weights": self.weights_hash,
            "inference_type": self.inference_type,
            "params": self.params.model_dump(mode="json", exclude={"detector"}),
            "precision": self.precision,
            "numbers_version": NUMBERS_VERSION,
            **({"detector": self.detector.weights_hash} if self.detector else {}),
        }


def model_folder(store: Store, model: ResolvedModel, cache_dir: Path) -> Path:
    """The model's folder on this machine, ready for `setup`: the store's own, a copy of it, or the hub's cache.

    Raises what `tasks.hub_models` and `tasks.stored_models` raise.
    """
    folder = _folder(store, model.source, cache_dir)
    if model.detector is None:
        return folder
    detector = _folder(store, model.detector.source, cache_dir)
    return joined_folder(folder, {DETECTOR_FOLDER: detector}, cache_dir.expanduser() / "joined-models")


def _folder(store: Store, source: HubSource | StoreSource, cache_dir: Path) -> Path:
    if isinstance(source, HubSource):
        return hub_folder(source.repo, source.commit)
    return stored_folder(store, source.prefix, source.folder_hash, cache_dir)
