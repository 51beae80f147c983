"""A PostgreSQL server of a test's own: real, on a free loopback port, in a temporary folder, ended with the test.

PostgreSQL refuses to run as root; there it runs as the user `nobody`, to whom the folder then belongs.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_USER = "reelmill"
_CONNECTIONS = 200
_DURABLE_ENOUGH = ["-c", "fsync=off", "-c", f"max_connections={_CONNECTIONS}", "-c", "unix_socket_directories="]


class PostgresServer:
    """Started when made; can be stopped hard or in order, and started again with the same data and port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._binaries = _binaries()
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._run("initdb", "-D", str(folder / "data"), "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    @property
    def url(self) -> str:
        """The database's URL."""
        return f"postgresql+asyncpg://{_USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        command = [str(self._binaries / "postgres"), "-D", str(self._folder / "data"), "-p", str(self.port)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-h", "127.0.0.1", *_DURABLE_ENOUGH], stdout=log, stderr=log, **self._identity()
            )
        deadline = time.monotonic() + 60
        while self._run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port), check=False):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text()[-2000:])
            time.sleep(0.1)

    def stop(self, *, hard: bool = False) -> None:
        """End it: at once with all connections, or as a crash would if `hard`."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT if hard else signal.SIGINT)
        self._process.wait(30)
        self._process = None

    def _run(self, name: str, *arguments: str, check: bool = True) -> int:
        command = [str(self._binaries / name), *arguments]
        return subprocess.run(command, check=check, capture_output=True, **self._identity()).returncode

    def _identity(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {"cwd": self._folder}
        nobody = pwd.getpwnam("nobody")
        return {"cwd": self._folder, "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server while the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="reelmill-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        server = PostgresServer(folder)
        try:
            yield server
        finally:
            with suppress(subprocess.TimeoutExpired):
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if versions:
        return versions[-1].parent
    found = shutil.which("postgres")
    assert found is not None
    return Path(found).resolve().parent
