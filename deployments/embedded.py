"""Prefect for one command: a temporary server and home that end with it, whatever Prefect its user has set up.

Nothing here may import Prefect: its settings come from the environment as it is when Prefect is first imported.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deployments.child_processes import ChildProcesses
from deployments.prefect_server import (
    HOST,
    Connection,
    free_port,
    new_auth,
    plain_environment,
    quiet_settings,
    start_server,
    wait_until_ready,
)

_UNNEEDED_SERVICES = (
    "CANCELLATION_CLEANUP",
    "DB_VACUUM",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TRIGGERS",
)
"""What Prefect's server does beside answering, and one job that runs in the client's process never needs."""


@dataclass(frozen=True)
class EmbeddedServer:
    """A server that is coming up."""

    connection: Connection
    children: ChildProcesses
    prefect_home: Path

    def wait_until_ready(self) -> None:
        """Return when it answers. Raises `ServerNotReadyError`."""
        wait_until_ready(self.children, self.prefect_home, self.connection)

    def remove(self) -> None:
        """End the server and remove its home."""
        self.children.stop_all()
        shutil.rmtree(self.prefect_home.parent, ignore_errors=True)


@contextmanager
def embedded_prefect(*, verbose: bool = False) -> Iterator[EmbeddedServer]:
    """Start a server of our own and point Prefect's settings at it while the block runs; yields before it is ready.

    The environment is set at once, so Prefect may be imported in the block and must not have been before.
    """
    if "prefect" in sys.modules:
        raise RuntimeError("Prefect was imported before its settings were set")
    before = dict(os.environ)
    port = free_port()
    connection = Connection(f"http://{HOST}:{port}/api", new_auth())
    with TemporaryDirectory(prefix="reelmill-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        children = ChildProcesses(home / "logs")
        try:
            _set_environment(home, connection, verbose=verbose)
            services = {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _UNNEEDED_SERVICES}
            start_server(children, home / "prefect", connection, port=port, ui=False, more_settings=services)
            yield EmbeddedServer(connection, children, home / "prefect")
        finally:
            children.stop_all()
            os.environ.clear()
            os.environ.update(before)


def _set_environment(home: Path, connection: Connection, *, verbose: bool) -> None:
    settings = {
        **quiet_settings(home / "prefect"),
        **connection.client_settings(),
        # The server goes with its logs; and what fails is told once, by the command.
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "INFO" if verbose else "CRITICAL",
        "REELMILL_JOB_DISPATCH": "inline",
    }
    for name in set(os.environ) - set(plain_environment()):
        del os.environ[name]
    os.environ.update(settings)
