"""What `--model` and `--param` mean: text of a command line → the model requests it stands for.

Looks at the file system only to tell a folder from a name. Knows nothing of stores, catalogs or Prefect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from models.errors import PermanentError
from models.inference_types import TYPES
from models.request import InferenceParams, ModelRequest

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
_OF_THE_REQUEST = ("alias", "pool")
"""Fields of the model request that `--param` sets too, beside the inference parameters."""


class BadModelArgumentError(PermanentError):
    """A `--model` or `--param` that cannot be meant as it stands."""


@dataclass(frozen=True)
class ModelArgument:
    """One `--model`, taken apart. Either `folder` is a directory that exists, or `name` is a catalog name or hub id."""

    text: str
    name: str
    revision: str | None = None
    inference_type: str | None = None
    folder: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def answers_to(self, key: str) -> bool:
        """Whether `--param KEY.…` means this model: by the text as typed, its name, or its alias."""
        return key in {self.text, self.name, self.settings.get("alias")}

    def request(self, *, model_id: str | None = None, model_version: str | None = None) -> ModelRequest:
        """The model request; a folder that was put into a store gives its `model_id` and `model_version` there."""
        params = {name: value for name, value in self.settings.items() if name not in _OF_THE_REQUEST}
        return ModelRequest(
            model_id=model_id or self.name,
            model_version=model_version or self.revision,
            inference_type=self.inference_type,
            inference_params=InferenceParams(**params),
            **{name: self.settings[name] for name in _OF_THE_REQUEST if name in self.settings},
        )


def parse_models(models: Sequence[str], params: Sequence[str] = ()) -> list[ModelArgument]:
    """All `--model MODEL[@REVISION][:TYPE]` with their `--param MODEL.NAME=VALUE`.

    Raises `BadModelArgumentError`; values are checked by `ModelArgument.request`.
    """
    if not models:
        raise BadModelArgumentError("no model was named; give one with --model, such as --model rtdetr-v2-small.")
    arguments = [parse_model(text) for text in models]
    # Aliases first: a parameter may name its model by the alias.
    for param in sorted(params, key=lambda text: ".alias=" not in text):
        arguments = _with_param(arguments, param)
    return arguments


def parse_model(text: str) -> ModelArgument:
    """One MODEL[@REVISION][:TYPE]. A folder that exists is one whatever its name holds, and has no revision."""
    if folder := _folder(text):
        return ModelArgument(text, folder.name, folder=folder)
    rest, inference_type = _split_type(text)
    if folder := _folder(rest):
        return ModelArgument(text, folder.name, inference_type=inference_type, folder=folder)
    if _looks_like_a_path(rest):
        _refuse_path(rest)
    name, at, revision = rest.partition("@")
    if not _NAME.fullmatch(name) or (at and not revision):
        raise BadModelArgumentError(
            f"cannot read --model {text!r}; write NAME, NAME@REVISION, NAME:TYPE or NAME@REVISION:TYPE, where NAME is "
            "a catalog name, a hub id such as PekingU/rtdetr_v2_r18vd, or a folder."
        )
    return ModelArgument(text, name, revision=revision or None, inference_type=inference_type)


def _folder(text: str) -> Path | None:
    path = Path(text).expanduser()
    return path.resolve() if text and path.is_dir() else None


def _split_type(text: str) -> tuple[str, str | None]:
    rest, colon, suffix = text.rpartition(":")
    if not colon or "/" in suffix:
        return text, None
    if suffix in TYPES:
        return rest, suffix
    raise BadModelArgumentError(
        f"{suffix!r} in --model {text!r} is no inference type; take one of: {', '.join(TYPES)}."
    )


def _looks_like_a_path(text: str) -> bool:
    return text.startswith(("/", "./", "../", "~")) or (text.count("/") > 1 and "@" not in text)


def _refuse_path(text: str) -> NoReturn:
    path, at, _ = text.rpartition("@")
    if at and _folder(path):
        raise BadModelArgumentError(f"{path} is a folder, and a folder has no revision; leave out what follows '@'.")
    raise BadModelArgumentError(f"there is no folder {text}; give a model's folder, a catalog name or a hub id.")


def _with_param(arguments: Sequence[ModelArgument], param: str) -> list[ModelArgument]:
    target, equals, value = param.rpartition("=")
    key, dot, name = target.rpartition(".")
    if not equals or not dot or not key or not name:
        raise BadModelArgumentError(
            f"cannot read --param {param!r}; write MODEL.NAME=VALUE, such as detector.confidence=0.25."
        )
    known = [*InferenceParams.model_fields, *_OF_THE_REQUEST]
    if name not in known:
        raise BadModelArgumentError(f"no parameter is called {name!r}; take one of: {', '.join(known)}.")
    meant = [argument for argument in arguments if argument.answers_to(key)]
    if len(meant) != 1:
        told = "names no --model" if not meant else f"could mean {len(meant)} of the models"
        raise BadModelArgumentError(
            f"{key!r} in --param {param!r} {told}; write it as after --model: "
            f"{', '.join(argument.text for argument in arguments)}."
        )
    setting = {name: value if name in _OF_THE_REQUEST else _value(value)}
    return [
        replace(argument, settings=argument.settings | setting) if argument is meant[0] else argument
        for argument in arguments
    ]


def _value(text: str) -> Any:
    """A JSON value where the text is one (0.25, true, null, a list), else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
