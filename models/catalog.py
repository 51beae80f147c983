"""Names of models → where they come from and how they are run. Pure: text in, entries out.

Three catalogs are merged: the one that ships (catalog.yaml beside this file), a user's `reelmill-models.yaml`, and what
`reelmill models add` put into the store. Reading the latter two is `tasks.model_sources`'s concern.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from models.errors import PermanentError
from models.inference_types import TYPES
from models.request import InferenceParams
from models.vision_model import Precision

IN_STORE = "store"
"""`source` of an entry whose files lie in the store; its `revision` is their hash."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
"""`owner/name` on the Hugging Face hub."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
_PATH_BEGINNINGS = ("/", "./", "../", "~")


class CatalogError(PermanentError):
    """A catalog, or one of its entries, cannot be meant as it stands."""


class CatalogEntry(BaseModel):
    """One model under a name of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    """A hub id (`owner/name`), a folder (`./…`, `~/…`, `/…`), or `store`."""
    revision: str | None = None
    """Commit of the hub repository, or hash of the stored files. Empty takes the newest."""
    inference_type: str
    title: str = ""
    use: str = ""
    """What it is good for, in a few words."""
    licence: str = ""
    input_size: str = ""
    """Pixels of what the network sees, for people; the model's own processor decides."""
    defaults: InferenceParams = Field(default_factory=InferenceParams)
    """Parameters that a request need not name."""
    precision: Precision | None = None
    pool: str | None = None
    """GPU pool that runs it, where the request names none."""

    @field_validator("inference_type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        if value not in TYPES:
            raise ValueError(f"unknown inference_type {value!r}; take one of: {', '.join(TYPES)}")
        return value

    @field_validator("source")
    @classmethod
    def _known_source(cls, value: str) -> str:
        if value != IN_STORE and not is_path(value) and not HUB_ID.fullmatch(value):
            raise ValueError(f"{value!r} is neither a hub id such as owner/name nor a folder such as ./weights")
        return value

    def params_for(self, asked: InferenceParams) -> InferenceParams:
        """The entry's parameters, overruled by those that the request names itself."""
        return InferenceParams(**self.defaults.model_dump(exclude_unset=True) | asked.model_dump(exclude_unset=True))


def is_path(text: str) -> bool:
    """Whether `text` can only be a folder: a hub id or a catalog name begins otherwise."""
    return text.startswith(_PATH_BEGINNINGS) or text in (".", "..")


def checked_name(name: str) -> str:
    """Return `name` where a model may be called so; raises `CatalogError`."""
    if not _NAME.fullmatch(name):
        raise CatalogError(
            f"{name!r} cannot be the name of a model; take letters, digits, dots, dashes and underscores, without '/'."
        )
    return name


def parse_catalog(text: str, *, origin: str) -> dict[str, CatalogEntry]:
    """Read the YAML text of a catalog; `origin` (a file's name) stands in the messages.

    Raises `CatalogError` that names the entry and the field.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CatalogError(f"{origin} is not YAML: {' '.join(str(error).split())}.") from None
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise CatalogError(f"{origin} is no list of names; each model is a name with its fields below it.")
    return {
        checked_name(str(name)): parse_entry(fields, origin=f"{origin}: {name}") for name, fields in content.items()
    }


def parse_entry(fields: Any, *, origin: str) -> CatalogEntry:
    """Read the fields of one entry. Raises `CatalogError`."""
    try:
        return CatalogEntry.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "entry"
        raise CatalogError(f"{origin}: {place}: {first['msg'].removeprefix('Value error, ')}.") from None


@lru_cache(maxsize=1)
def shipped_catalog() -> Mapping[str, CatalogEntry]:
    """The catalog that ships with reelmill."""
    return parse_catalog(files("models").joinpath("catalog.yaml").read_text("utf-8"), origin="catalog.yaml")
