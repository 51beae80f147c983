"""One GPU run at a time on a GPU, whatever the server believes.

A pool's limit counts runs by their state. An orphan, whose worker was killed, goes on after its state has been moved,
and the next run would share the GPU's memory with it. So each run holds a file's lock while it lasts; the kernel lets
go of it with the process. A holder that nobody wants any more is ended, any other is waited for. Knows nothing of
Prefect.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_TO_END_S = 5.0
"""A holder that is ended by SIGTERM has so long before it is killed."""


@dataclass(frozen=True)
class Process:
    """A process that cannot be taken for a later one of the same number."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process of that number now; None where there is none, or where the system doesn't tell."""
        try:
            told = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        # The name may hold anything; what follows its bracket is fixed (proc(5): state, …, starttime as field 22).
        state, *fields = told.rpartition(")")[2].split()
        return None if state in "ZX" else cls(pid, fields[18])

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        return Process.of(self.pid) == self


@dataclass(frozen=True)
class Holder:
    """Who holds a GPU, as the lock's file says it."""

    process: Process | None
    parent: Process | None
    """The worker that started it; without that it is an orphan."""
    parts: list[dict[str, Any]] = field(default_factory=list)
    """`job_id`, `group` and `attempt` of each job's share."""

    @classmethod
    def this_one(cls, parts: list[dict[str, Any]]) -> Holder:
        """The calling process."""
        return cls(Process.of(os.getpid()), Process.of(os.getppid()), parts)

    @property
    def is_orphan(self) -> bool:
        """Whether its worker is gone."""
        return self.parent is None or not self.parent.lives


@contextmanager
def gpu_held(
    path: Path,
    me: Holder,
    *,
    is_unwanted: Callable[[Holder], bool],
    waiting: Callable[[], None],
    look_every_s: float = _LOOK_EVERY_S,
) -> Iterator[None]:
    """Hold the lock at `path` while the block runs.

    Where another process holds it: it is ended if it is an orphan or `is_unwanted`, else waited for without end, and
    `waiting` is called at every look.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        while not _locked(file):
            holder = _holder(file)
            if holder is not None and (holder.is_orphan or is_unwanted(holder)):
                _end(holder)
                continue
            waiting()
            time.sleep(look_every_s)
        file.seek(0)
        file.truncate()
        file.write(json.dumps(asdict(me)))
        file.flush()
        yield


def lock_path(folder: Path, name: str) -> Path:
    """Where the lock of a GPU of this machine lies; `folder` may be one that machines share."""
    return folder / "locks" / f"{socket.gethostname()}-{re.sub(r'[^A-Za-z0-9._-]', '-', name)}.lock"


def gpu_name(device: str) -> str | None:
    """What tells the GPU of a torch device from others of the machine; None for a CPU, which may be shared."""
    if not device.startswith("cuda"):
        return None
    import torch

    index = torch.device(device).index or 0
    properties = torch.cuda.get_device_properties(index)
    # CUDA_VISIBLE_DEVICES renumbers devices; their UUID stays.
    return f"cuda-{getattr(properties, 'uuid', index)}"


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _holder(file: IO[str]) -> Holder | None:
    """Who holds it; None while that one is still writing its name."""
    file.seek(0)
    try:
        told = json.loads(file.read())
        process, parent = (Process(**told[key]) if told[key] else None for key in ("process", "parent"))
    except (ValueError, TypeError, KeyError):
        return None
    return Holder(process, parent, told["parts"]) if process is not None else None


def _end(holder: Holder) -> None:
    process = holder.process
    if process is None or not process.lives:
        return
    _log.warning("process %d holds the GPU and nobody waits for it; it is ended", process.pid)
    for blow in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, blow)
        given_up_s = time.monotonic() + _TO_END_S
        while process.lives and time.monotonic() < given_up_s:
            time.sleep(0.05)
        if not process.lives:
            return
