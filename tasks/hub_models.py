"""Models on the Hugging Face hub: what a name and a revision mean now, and their files on this machine.

Only safetensors and text are fetched, never pickles or code; ONNX files where a card says what they are for. The
library reads `HF_TOKEN`, `HF_HUB_CACHE` and `HF_HUB_OFFLINE` itself. Where the hub is out of reach, what its cache
holds serves.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from models.errors import PassingError, PermanentError
from models.onnx_card import CARD_FILE
from tasks.store_interface import DiskFullError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_CONFIG = "config.json"
_FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model", CARD_FILE]
_FETCHED_WITH_CARD = ["*.json", "*.txt", "*.onnx", "*.onnx_data", "*.data", CARD_FILE]
_NOT_FETCHED = ["*/*"]
"""Folders of a repository hold exports to other runtimes."""


class HubModelNotFoundError(PermanentError):
    """The hub has no such model, or shows it to others only."""


class HubRevisionError(PermanentError):
    """The model has no such revision."""


class HubAccessError(PermanentError):
    """The model is gated, or the token is refused."""


class HubUnreachableError(PassingError):
    """The hub does not answer, and its cache does not hold the model."""


@dataclass(frozen=True)
class HubModel:
    """A model at one commit: its configuration, the names of its files, and the text of its card where it has one."""

    repo: str
    commit: str
    config: dict[str, Any]
    files: tuple[str, ...]
    card: str | None = None


def look_up(repo: str, revision: str | None) -> HubModel:
    """Resolve `revision` (a branch, a tag, a commit; None is the main branch) to a commit; read what describes it.

    Raises `HubModelNotFoundError`, `HubRevisionError`, `HubAccessError`, `HubUnreachableError`.
    """
    wanted = revision or "main"
    cached = _cached(repo, wanted)
    if (
        cached
        and _COMMIT.fullmatch(wanted)
        and any(Path(name).suffix == _weights(cached.card) for name in cached.files)
    ):
        return cached
    try:
        return _asked(repo, wanted)
    except HubUnreachableError:
        if cached is None:
            raise
        return cached


def hub_folder(repo: str, commit: str) -> Path:
    """The model's files in the hub's cache on this machine, fetched where they are missing.

    Raises as `look_up` does.
    """
    from huggingface_hub import snapshot_download

    def fetched(patterns: list[str]) -> Path:
        return Path(snapshot_download(repo, revision=commit, allow_patterns=patterns, ignore_patterns=_NOT_FETCHED))

    with _told(repo, commit):
        folder = fetched(_FETCHED)
        card = _card_in(folder)
        if card is not None:
            folder = fetched(_FETCHED_WITH_CARD)
    if not any(folder.glob(f"*{_weights(card)}")):
        raise HubUnreachableError(
            f"the cache of the hub holds {repo} without its weights, and the hub cannot be reached to fetch them; try "
            "again with a network and without HF_HUB_OFFLINE."
        )
    return folder


def _asked(repo: str, revision: str) -> HubModel:
    from huggingface_hub import HfApi, hf_hub_download

    with _told(repo, revision):
        info = HfApi().model_info(repo, revision=revision)
        commit = str(info.sha)
        files = tuple(sibling.rfilename for sibling in info.siblings or [])
        found = {
            name: Path(hf_hub_download(repo, name, revision=commit)) for name in (_CONFIG, CARD_FILE) if name in files
        }
    config: dict[str, Any] = json.loads(found[_CONFIG].read_bytes()) if _CONFIG in found else {}
    return HubModel(repo, commit, config, files, _card_in(found[CARD_FILE].parent) if CARD_FILE in found else None)


def _cached(repo: str, revision: str) -> HubModel | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        names = [_CONFIG, CARD_FILE]
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True, allow_patterns=names))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    card, described = _card_in(folder), (folder / _CONFIG).is_file()
    if card is None and not described:
        return None
    config = json.loads((folder / _CONFIG).read_bytes()) if described else {}
    files = tuple(sorted(path.name for path in folder.iterdir() if path.is_file()))
    return HubModel(repo, folder.name, config, files, card)


def _card_in(folder: Path) -> str | None:
    """The text of the folder's card."""
    path = folder / CARD_FILE
    return path.read_text("utf-8", errors="replace") if path.is_file() else None


def _weights(card: str | None) -> str:
    """The suffix of the files that hold the model's weights."""
    return ".safetensors" if card is None else ".onnx"


@contextmanager
def _told(repo: str, revision: str) -> Iterator[None]:
    """Say the hub library's errors in reelmill's words."""
    from huggingface_hub import errors

    unreachable: tuple[type[Exception], ...] = (errors.LocalEntryNotFoundError, *_connection_errors())
    try:
        yield
    except errors.GatedRepoError:
        raise HubAccessError(
            f"{repo} is gated; accept its terms on its page at the hub, and set HF_TOKEN to a token of that account."
        ) from None
    except errors.RevisionNotFoundError:
        raise HubRevisionError(
            f"{repo} has no revision {revision!r}; give a branch, a tag or a commit that its page at the hub shows."
        ) from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise HubModelNotFoundError(
            f"the hub has no model {repo}; check the name, or set HF_TOKEN where it is a private one."
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise HubAccessError(
                f"the hub refuses {repo} to this token; set HF_TOKEN to one that may read it."
            ) from None
        raise HubUnreachableError(f"the hub answers for {repo} with status {status}; try again later.") from error
    except unreachable as error:
        raise HubUnreachableError(
            f"the hub cannot be reached for {repo} and its cache here does not hold revision {revision!r}; try again "
            "with a network, or give a folder of weights."
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"the disk is full while {repo} is fetched; make room in the hub's cache.") from error
        raise


def _connection_errors() -> tuple[type[Exception], ...]:
    """The errors of a connection, HF_HUB_OFFLINE's among them: versions of the library differ in their HTTP client."""
    found: list[type[Exception]] = [ConnectionError]
    for client in ("httpx", "httpx2"):
        with suppress(ModuleNotFoundError):
            found.append(import_module(client).TransportError)
    return tuple(found)
