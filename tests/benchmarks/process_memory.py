"""How much memory a process and all its children hold together, as Linux counts it."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from types import TracebackType

SAMPLE_EVERY_S = 0.015


def process_tree(pid: int) -> list[int]:
    """The process and its descendants, as far as they live."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found.extend(int(child) for child in (task / "children").read_text().split())
    return found


def tree_bytes(pid: int) -> int:
    """Proportional set sizes summed: pages that several of the processes share count once."""
    total = 0
    for each in process_tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


class PeakMemory:
    """Samples the memory of a process and its children from a thread of its own; `bytes` is the most seen."""

    def __init__(self, pid: int, every_s: float = SAMPLE_EVERY_S) -> None:
        self.bytes = 0
        self._pid, self._every_s = pid, every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._over.is_set():
            self.bytes = max(self.bytes, tree_bytes(self._pid))
            self._over.wait(self._every_s)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
