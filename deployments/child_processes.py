"""Start commands and end exactly them: everything started carries one mark in its environment, and goes by that mark.

Knows nothing of Prefect. A run may be put into a session of its own, so a process group is not enough to find what was
started; the environment is inherited by whatever is started below.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from deployments import ends_with_parent

MARK = "REELMILL_STARTED_BY"
"""Environment variable that says which set of children a process belongs to."""


@dataclass
class ChildProcesses:
    """Commands that run until `stop` or `stop_all` ends them.

    Each child is a session of its own (a terminal's Ctrl-C reaches only the parent, which then ends them in order),
    and gets SIGTERM when the parent dies without that.
    """

    log_dir: Path
    mark: str = field(default_factory=lambda: secrets.token_hex(16))
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        """Start `command` with exactly `env` and the mark; its output replaces `log_path(name)`."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        guarded = [sys.executable, "-I", ends_with_parent.__file__, str(os.getpid()), *command]
        with self.log_path(name).open("wb") as log:
            self._children[name] = subprocess.Popen(
                guarded,
                env={**env, MARK: self.mark},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log_path(self, name: str) -> Path:
        """Where the child's output is."""
        return self.log_dir / f"{name}.log"

    def pid(self, name: str) -> int:
        """The child's process id."""
        return self._children[name].pid

    def ended(self) -> list[str]:
        """Names of the children that run no longer."""
        return [name for name, child in self._children.items() if child.poll() is not None]

    def stop(self, names: Iterable[str], *, grace_s: float = 10.0) -> None:
        """SIGTERM to these children's groups at once, SIGKILL after `grace_s`; a name that was not started is none."""
        children = [self._children.pop(name) for name in names if name in self._children]
        for child in children:
            _signal_group(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        for child in children:
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal_group(child.pid, signal.SIGKILL)
                child.wait()

    def kill(self, names: Iterable[str]) -> None:
        """SIGKILL to these children's groups: none has the time to tell anybody anything."""
        children = [self._children.pop(name) for name in names if name in self._children]
        for child in children:
            _signal_group(child.pid, signal.SIGKILL)
        for child in children:
            child.wait()

    def stop_all(self) -> None:
        """End all children and whatever they left behind. Safe to call twice."""
        self.stop(list(self._children))
        end_marked(self.mark)

    def stop_strays(self, *, hard: bool = False) -> None:
        """End whatever carries the mark and is no child still running; by SIGKILL alone where `hard`."""
        end_marked(self.mark, spare={child.pid for child in self._children.values()}, hard=hard)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def marked_processes(mark: str) -> set[int]:
    """Ids of the other living processes whose environment carries `mark`; none where there is no /proc."""
    needle = f"{MARK}={mark}".encode()
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # gone meanwhile, or another user's
            continue
        if needle in environment.split(b"\0") and int(entry.name) != os.getpid():
            found.add(int(entry.name))
    return found


def end_marked(mark: str, *, spare: Set[int] = frozenset(), grace_s: float = 5.0, hard: bool = False) -> None:
    """SIGTERM, and after `grace_s` SIGKILL, to every other process that carries `mark`, less those in `spare`.

    With `hard`, SIGKILL alone.
    """
    for number in (signal.SIGKILL,) if hard else (signal.SIGTERM, signal.SIGKILL):
        for pid in marked_processes(mark) - spare:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + grace_s
        while marked_processes(mark) - spare and time.monotonic() < deadline:
            time.sleep(0.05)
