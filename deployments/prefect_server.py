"""One Prefect server as a child process: the settings it gets, where it listens, when it is ready.

Used by the served set-up on one machine and by the embedded one. Imports Prefect nowhere: the server is a process of
its own, and its environment must be complete before a client's Prefect is imported.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.child_processes import ChildProcesses
from deployments.empty_database import forget_database, keep_database, seed_database
from models.errors import PassingError, PermanentError

if TYPE_CHECKING:
    import httpx

SERVER = "server"
HOST = "127.0.0.1"


class ServerNotReadyError(PassingError):
    """The server did not come up."""


class PortTakenError(PermanentError):
    """Another program listens where the server should."""


@dataclass(frozen=True)
class Connection:
    """How a client reaches a server: the API's URL, and `user:password` or `None` where it asks for none."""

    api_url: str
    auth: str | None = None

    @property
    def ui_url(self) -> str:
        """The address of the pages for people."""
        return self.api_url.removesuffix("/api")

    def client_settings(self) -> dict[str, str]:
        """Environment variables that point Prefect's client and workers at the server."""
        return {"PREFECT_API_URL": self.api_url} | ({"PREFECT_API_AUTH_STRING": self.auth} if self.auth else {})


def new_auth() -> str:
    """A user and a random password."""
    return f"reelmill:{secrets.token_urlsafe(24)}"


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def require_free(port: int) -> None:
    """Raise `PortTakenError` when something listens on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTakenError(
                f"port {port} of {HOST} cannot be had ({error.strerror}); give another one with --port."
            ) from error


def plain_environment() -> dict[str, str]:
    """Our environment without any setting of Prefect: profiles and URLs of its user must not leak in."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


def quiet_settings(prefect_home: Path) -> dict[str, str]:
    """Settings of every Prefect process of ours: a home of its own, no word to anybody outside."""
    return {
        "PREFECT_HOME": str(prefect_home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # The first UI: the second one makes the browser call an analytics host all the same.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        # Leases in memory leak their slot for ever when the server restarts.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }


def start_server(
    children: ChildProcesses,
    prefect_home: Path,
    connection: Connection,
    *,
    port: int,
    database_url: str | None = None,
    ui: bool = True,
    more_settings: Mapping[str, str] | None = None,
) -> None:
    """Start the server on 127.0.0.1:`port` with SQLite in `prefect_home`, or on `database_url`. Does not wait."""
    prefect_home.mkdir(parents=True, exist_ok=True)
    if not database_url:
        seed_database(prefect_home, cache_dir())
    settings = {
        **quiet_settings(prefect_home),
        **(more_settings or {}),
        "PREFECT_SERVER_UI_ENABLED": str(ui).lower(),
        # Relative: the pages then ask whoever served them, on any port and through any tunnel.
        "PREFECT_SERVER_UI_API_URL": "/api",
    }
    if connection.auth:
        settings["PREFECT_SERVER_API_AUTH_STRING"] = connection.auth
    if database_url:
        settings["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database_url
    command = [sys.executable, "-m", "prefect", "--no-prompt", "server", "start", "--host", HOST, "--port", str(port)]
    children.start(SERVER, command, env=plain_environment() | settings, cwd=prefect_home)


def wait_until_ready(
    children: ChildProcesses, prefect_home: Path, connection: Connection, *, timeout_s: float = 90.0
) -> None:
    """Return when the server answers; `ServerNotReadyError` when it ends before that, or after `timeout_s`."""
    import httpx

    deadline = time.monotonic() + timeout_s
    with httpx.Client(trust_env=False, timeout=5) as client:
        while not _answers(client, connection):
            if SERVER in children.ended() or time.monotonic() > deadline:
                forget_database(cache_dir())
                raise ServerNotReadyError(
                    f"the Prefect server did not come up ({last_line(children.log_path(SERVER))}); try again, "
                    "or see whether memory and disk are short."
                )
            time.sleep(0.1)
    if (prefect_home / "prefect.db").exists():
        keep_database(prefect_home, cache_dir())


def _answers(client: httpx.Client, connection: Connection) -> bool:
    import httpx

    try:
        return client.get(f"{connection.api_url}/health").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def last_line(log: Path) -> str:
    """The last line of a log that says anything."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def cache_dir() -> Path:
    """Where what can be made again is kept."""
    from tasks.settings import StoreSettings

    return StoreSettings().cache_dir.expanduser()
