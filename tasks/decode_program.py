"""Programs of ours that run apart from this process: how one is started, and a decode worker that is one itself."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Protocol

_PASSED_ON = ("LD_LIBRARY_PATH", "TMPDIR")
_LOOK_EVERY_S = 0.005


class WorkerProcess(Protocol):
    """The process of a decode worker, however it was started."""

    cpu_s: float | None
    """User and system time that it took; None until it is known to have ended."""

    @property
    def pid(self) -> int:
        """Its process id. Raises `ProcessLookupError` where it was never started."""

    def wait(self, timeout_s: float) -> str | None:
        """How it ended, as in "by signal 9"; None where it has not within `timeout_s`."""

    def end(self) -> None:
        """Kill it and wait until it is gone; what has ended stays as it is."""


class ProgramWorker:
    """A decode worker that is a program of its own, a child of this process."""

    def __init__(self, program: Path, channel_fd: int, memory_limit_bytes: int) -> None:
        self._process = start_program(program, channel_fd, str(memory_limit_bytes))
        self._ended: str | None = None
        self.cpu_s: float | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait(self, timeout_s: float) -> str | None:
        """How it ended; None where it has not within `timeout_s`."""
        give_up_s = time.monotonic() + timeout_s
        while not self._has_ended() and time.monotonic() < give_up_s:
            time.sleep(_LOOK_EVERY_S)
        return self._ended

    def end(self) -> None:
        """Kill it and wait until it is gone."""
        while self._ended is None:
            self._process.kill()
            self.wait(1.0)

    def _has_ended(self) -> bool:
        if self._ended is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                # `subprocess` can't tell what it took, and has to know that it is gone.
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self._ended = how_it_ended(self._process.returncode)
                self.cpu_s = usage.ru_utime + usage.ru_stime
        return self._ended is not None


def how_it_ended(status: int) -> str:
    """An exit status in words; negative ones are signals, as `subprocess` has them."""
    return f"by signal {-status}" if status < 0 else f"with status {status}"


def start_program(program: Path, fd: int, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a Python file in a session of its own: isolated, without credentials, handed the descriptor `fd`.

    Its arguments are the descriptor, `arguments`, and the folders to import libraries from. Raises `OSError`.
    """
    environment = {"LC_ALL": "C.UTF-8", "PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1"}
    environment.update({name: os.environ[name] for name in _PASSED_ON if name in os.environ})
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(program), str(fd), *arguments, *_import_paths()],
        env=environment,
        pass_fds=[fd],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


@cache
def _import_paths() -> list[str]:
    """Folders that workers import their libraries from; finding them imports nothing."""
    specs = [importlib.util.find_spec(name) for name in ("av", "numpy")]
    origins = [spec.origin for spec in specs if spec is not None and spec.origin is not None]
    return list(dict.fromkeys(str(Path(origin).parent.parent) for origin in origins))
