"""What each model's list is called in the result. Pure: a request's models in, their keys out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from models.request import KEY_PATTERN, BadRequestError, ModelRequest

_BY_TYPE = {"clip-compare": "clip-compare", "gaze-detection": "gaze"}
_OF_THE_CATALOG = {"clip-embed-image": "clip"}
_RESERVED = {"frame_offset", "time_offset"}


def default_key(inference_type: str, *, shipped: bool) -> str | None:
    """What such a model is called without being asked: the hosted API's word for it, where it has one.

    `shipped` says whether it is one of the catalog that comes with reelmill. None means: by its own name.
    """
    return _BY_TYPE.get(inference_type) or (_OF_THE_CATALOG.get(inference_type) if shipped else None)


def model_keys(requests: Sequence[ModelRequest], names: Sequence[str], default_keys: Sequence[str | None]) -> list[str]:
    """The result's key of each model, in order: its alias, else its default key, else its name.

    `names` are what the models are called without their version (the hub id, the folder's name, the catalog name). A
    default key that several entries would have goes to none of them; a name that repeats becomes name/version.

    Raises `BadRequestError` where two entries would still share a key.
    """
    asked = [request.alias or default for request, default in zip(requests, default_keys, strict=True)]
    own_names = [
        name
        for request, name, key in zip(requests, names, asked, strict=True)
        if request.alias or key is None or asked.count(key) > 1
    ]
    keys = []
    for request, name, key in zip(requests, names, asked, strict=True):
        if key is not None and (request.alias or asked.count(key) == 1):
            keys.append(key)
        elif own_names.count(name) > 1 and request.model_version:
            keys.append(f"{name}/{request.model_version}")
        else:
            keys.append(name)
    for key in keys:
        if keys.count(key) > 1:
            raise BadRequestError(f"two models would both be called {key!r} in the result; give one of them an alias.")
        if key in _RESERVED or not re.match(KEY_PATTERN, key):
            raise BadRequestError(f"a model cannot be called {key!r} in the result; give it another alias.")
    return keys
