"""Which Prefect server a command on this machine talks to: the one that is set, else the one that `reelmill up` runs.

A running `reelmill up` holds a lock on its home and leaves its address and password in a file that only its owner
reads.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic_settings import BaseSettings, SettingsConfigDict

from deployments.prefect_server import Connection
from models.errors import PermanentError

_LOCK = "lock"
_CONNECTION = "connection.json"
_PASSWORD = "auth"  # noqa: S105 - a file's name


class NoServerError(PermanentError):
    """No Prefect server is set, and none runs on this machine."""


class AlreadyUpError(PermanentError):
    """`reelmill up` runs already with that home."""


class ServerSettings(BaseSettings):
    """The Prefect server that `reelmill up` runs."""

    model_config = SettingsConfigDict(env_prefix="REELMILL_SERVER_")

    home: Path = Path("~/.reelmill/server")
    """Its database, password and logs."""


def server_home(home: Path | None = None) -> Path:
    """`home`, else the one of the settings, absolute."""
    return (home or ServerSettings().home).expanduser().absolute()


@dataclass(frozen=True)
class RunningSetup:
    """What a running `reelmill up` left for other commands."""

    api_url: str
    auth: str | None
    store_uri: str


def running_setup(home: Path | None = None) -> RunningSetup | None:
    """The set-up that `reelmill up` runs now with that home, else `None`."""
    folder = server_home(home)
    if not _is_locked(folder) or not (folder / _CONNECTION).exists():
        return None
    return RunningSetup(**orjson.loads((folder / _CONNECTION).read_bytes()))


def find_connection(home: Path | None = None) -> Connection:
    """The server of `PREFECT_API_URL`, else the one that `reelmill up` runs here, else that of Prefect's own profile.

    Raises `NoServerError` where none of them is.
    """
    if url := os.environ.get("PREFECT_API_URL"):
        return Connection(url.rstrip("/"), os.environ.get("PREFECT_API_AUTH_STRING"))
    if running := running_setup(home):
        return Connection(running.api_url, running.auth)
    if profile := _profile_connection():
        return profile
    raise NoServerError("no Prefect server is known here; start one with `reelmill up`, or set PREFECT_API_URL.")


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the home's lock; `AlreadyUpError` when another process has it."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyUpError(
                f"`reelmill up` runs already with home {home}; end it, or give another --home."
            ) from error
        yield


@contextmanager
def announced(home: Path, setup: RunningSetup) -> Iterator[None]:
    """Let `running_setup` find the server while the block runs."""
    path = home / _CONNECTION
    _write_private(path, orjson.dumps(setup))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def kept_auth(home: Path) -> str:
    """User and password of this home, made once and readable by the owner only."""
    path = home / _PASSWORD
    if not path.exists():
        _write_private(path, f"reelmill:{secrets.token_urlsafe(24)}".encode())
    return path.read_text().strip()


def _profile_connection() -> Connection | None:
    """What `prefect config set PREFECT_API_URL=…` was told."""
    from prefect.settings import get_current_settings

    api = get_current_settings().api
    if not api.url:
        return None
    return Connection(api.url.rstrip("/"), api.auth_string.get_secret_value() if api.auth_string else None)


def _is_locked(home: Path) -> bool:
    try:
        with (home / _LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _write_private(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    temporary.replace(path)
