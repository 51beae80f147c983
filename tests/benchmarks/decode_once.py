"""One measurement in a process of its own: `python -m tests.benchmarks.decode_once '{…}'` prints its figures as JSON.

The order names reader, mode, video and frames, the core to stay on (none: any), seconds after which SIGALRM ends it,
and a file for the frames' signatures.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.decode_readers import READERS
from tests.benchmarks.decode_sampling import Sampling, signature


def cpu_s() -> float:
    """CPU seconds of this process and of its ended children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measured(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out one order; the clocks run from before the file is opened until its reader is done."""
    if order["core"] is not None:
        os.sched_setaffinity(0, {order["core"]})
    mode = READERS[order["reader"]]()[order["mode"]]
    wanted = Sampling(
        Path(order["path"]), order["fps"], range(0, order["stop"], order["step"]), order["width"], order["height"]
    )
    signatures = []
    signal.setitimer(signal.ITIMER_REAL, order["limit_s"])
    wall, cpu = time.perf_counter(), cpu_s()
    for frame in mode(wanted):
        signatures.append(signature(frame))
    figures = {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_s() - cpu, "frames": len(signatures)}
    signal.setitimer(signal.ITIMER_REAL, 0)
    if len({len(each) for each in signatures}) == 1:
        np.save(order["signatures"], np.stack(signatures))
    return figures


def available() -> dict[str, list[str]]:
    """The modes of the reader named; raises `ImportError` where it is not installed."""
    return {"modes": list(READERS[sys.argv[2]]())}


if __name__ == "__main__":
    print(json.dumps(available() if sys.argv[1] == "--modes" else measured(json.loads(sys.argv[1]))), flush=True)
