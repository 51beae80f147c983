"""From the words of `infer` and `submit` to an inference request. Puts folders of weights into the store on the way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from deployments.model_argument import ModelArgument, parse_models
from models.errors import PermanentError
from models.request import InferenceRequest, ModelRequest, parse_fps

if TYPE_CHECKING:
    from tasks.store import Store

SourceKind = Literal["file", "url", "id"]
_VIDEO_ID = re.compile(r"[0-9a-f]{32}")


class NoSuchVideoError(PermanentError):
    """VIDEO is neither a file, nor a URL, nor the id of a registered video."""


def check_arguments(video: str, *, models: Sequence[str], params: Sequence[str], fps: str) -> None:
    """Raise at once what can be told from the words alone, before anything is started or stored."""
    for argument in parse_models(models, params):
        argument.request()
    rate(fps)
    kind_of_source(video)


def make_request(
    store: Store,
    *,
    models: Sequence[str],
    params: Sequence[str],
    fps: str,
    start_s: float | None,
    end_s: float | None,
    **more: Any,
) -> InferenceRequest:
    """The request for `more`: `video_id` or `input_url`, and what else it is to say where that isn't empty.

    Raises `BadModelArgumentError`, `BadRequestError`, pydantic's `ValidationError`, and what importing a folder raises.
    """
    return InferenceRequest(
        models=[model_request(store, argument) for argument in parse_models(models, params)],
        infer_fps=rate(fps),
        start_s=start_s,
        end_s=end_s,
        **{name: value for name, value in more.items() if value},
    )


def model_request(store: Store, argument: ModelArgument) -> ModelRequest:
    """The request for one model; a folder goes into the store by hash first, and is asked for by that."""
    request = argument.request()
    if argument.folder is None:
        return request
    from tasks.model_sources import import_folder

    stored = import_folder(store, argument.folder, argument.name)
    return argument.request(model_id=stored.model_id, model_version=stored.model_version)


def rate(fps: str) -> float | str:
    """`--fps` as the request has it: a number, a fraction, or `all`. Raises `BadRequestError`."""
    exact = parse_fps(fps)
    text = fps.strip()
    return text if exact is None or "/" in text else float(text)


def kind_of_source(video: str) -> SourceKind:
    """Which of the three VIDEO is; a file goes before an id that it happens to be called. Raises `NoSuchVideoError`."""
    if video.startswith(("https://", "http://")):
        return "url"
    if Path(video).expanduser().is_file():
        return "file"
    if _VIDEO_ID.fullmatch(video):
        return "id"
    raise NoSuchVideoError(
        f"there is no file {video}; give a video file, an https URL, or the id of a registered video."
    )


def source_of(store: Store, video: str) -> dict[str, Any]:
    """The request's field for VIDEO. A file is registered; a URL is registered by the job itself."""
    kind = kind_of_source(video)
    if kind != "file":
        return {"input_url": video} if kind == "url" else {"video_id": video}
    from tasks.videos import register_file

    return {"video_id": register_file(store, Path(video).expanduser()).video_id}


def name_of(video: str) -> str:
    """What VIDEO is called, without folders, extension, and whatever a URL says beside its path."""
    from urllib.parse import unquote, urlsplit

    path = unquote(urlsplit(video).path) if kind_of_source(video) == "url" else video
    return Path(path).stem or "video"
