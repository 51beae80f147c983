"""CPU seconds of a process and all below it, of whichever program: what Linux writes down of each."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tests.benchmarks.process_memory import process_tree

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_FIRST_TIME = 11
"""Of the fields behind the program's name: user, system, and the same of children that ended and were waited for."""


def tree_cpu_s(pid: int) -> float:
    """User and system time of the process, its descendants, and those of them that ended and were waited for.

    Good to a hundredth of a second for each process. Nobody is missed whose parent waits for its children, as long as
    this process adopts orphans.
    """
    total = 0
    for each in process_tree(pid):
        with contextlib.suppress(OSError):
            # The name stands in brackets and may hold anything, brackets too.
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[_FIRST_TIME : _FIRST_TIME + 4]))
    return total * _TICK_S
