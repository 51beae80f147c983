"""One measurement in a process of its own: `python -m tests.benchmarks.decode_once '{…}'` prints its figures as JSON.

The order names reader, mode, video and frames, the core to stay on (none: any), seconds after which SIGALRM ends it,
and a file for the frames' signatures. Every reader has loaded its libraries before the clocks start, those of
reelmill's workers in the process that they are forked from.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tasks.decode_forking import FORKER
from tests.benchmarks.decode_readers import READERS
from tests.benchmarks.decode_sampling import Sampling, signature
from tests.benchmarks.process_memory import process_tree

_PR_SET_CHILD_SUBREAPER = 36


def cpu_s() -> float:
    """CPU seconds of this process and its ended children, of what decode workers are forked from and of ended workers.

    Raises `RuntimeError` where others still run or ended unseen: their time is not known.
    """
    FORKER.cpu_s()  # It has answered everything that came before, and reaped who has ended.
    uncounted = set(process_tree(os.getpid())[1:]) - {FORKER.pid}
    if uncounted:
        raise RuntimeError(f"CPU seconds of {len(uncounted)} processes would go uncounted: {sorted(uncounted)}")
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) + FORKER.cpu_s()


def adopt_orphans() -> None:
    """Become the parent of every process below whose own parent ends, so that none is out of sight."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1):
        raise OSError(ctypes.get_errno(), "orphans cannot be adopted")


def measured(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out one order; the clocks run from before the file is opened until its reader is done."""
    if order["core"] is not None:
        os.sched_setaffinity(0, {order["core"]})
    adopt_orphans()
    mode = READERS[order["reader"]]()[order["mode"]]
    wanted = Sampling(
        Path(order["path"]), order["fps"], range(0, order["stop"], order["step"]), order["width"], order["height"]
    )
    signatures = []
    signal.setitimer(signal.ITIMER_REAL, order["limit_s"])
    cpu, wall = cpu_s(), time.perf_counter()
    for frame in mode(wanted):
        signatures.append(signature(frame))
    taken_s = time.perf_counter() - wall
    figures = {"wall_s": taken_s, "cpu_s": cpu_s() - cpu, "frames": len(signatures)}
    signal.setitimer(signal.ITIMER_REAL, 0)
    if len({len(each) for each in signatures}) == 1:
        np.save(order["signatures"], np.stack(signatures))
    return figures


def available() -> dict[str, list[str]]:
    """The modes of the reader named; raises `ImportError` where it is not installed."""
    return {"modes": list(READERS[sys.argv[2]]())}


if __name__ == "__main__":
    print(json.dumps(available() if sys.argv[1] == "--modes" else measured(json.loads(sys.argv[1]))), flush=True)
