"""One measurement of a job or of a part of it, in a process of its own, printed as JSON.

`python -m tests.benchmarks.job_once '{…}'`. A work is made ready first (libraries imported, models loaded once, the
process of the decode workers started): that is its start-up, told apart from what is measured. Then the clocks run.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack
from importlib import import_module
from typing import Any

from tests.benchmarks.decode_once import adopt_orphans
from tests.benchmarks.gpu_share import GpuShare
from tests.benchmarks.job_work import Work
from tests.benchmarks.process_time import tree_cpu_s

WORKS = {
    "decode": "tests.benchmarks.job_parts:decode",
    "forward": "tests.benchmarks.job_parts:forward",
    "job": "tests.benchmarks.job_whole:jobs",
    "pipeline": "tests.benchmarks.job_peers:pipeline_loop",
    "onnxruntime": "tests.benchmarks.job_peers:onnx_loop",
    "ray": "tests.benchmarks.job_ray:ray_data",
}
"""Name → function that is given the order, makes ready, and returns what is to be measured."""


def made_ready(order: dict[str, Any]) -> Work:
    """The work that the order names."""
    module_name, name = WORKS[order["work"]].split(":")
    work: Work = getattr(import_module(module_name), name)(order)
    return work


def measured(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out one order: seconds of start-up since `asked_at_s`, wall and CPU seconds of the work, what it tells."""
    adopt_orphans()
    work = made_ready(order)
    startup_s = time.time() - order["asked_at_s"]
    with ExitStack() as watching:
        share = watching.enter_context(GpuShare()) if order.get("device", "cpu") != "cpu" else None
        cpu_before_s, began_s = tree_cpu_s(os.getpid()), time.perf_counter()
        told = work()
        wall_s = time.perf_counter() - began_s
        cpu_s = tree_cpu_s(os.getpid()) - cpu_before_s
    told |= told.pop("after", dict)()
    if share is not None:
        told["gpu_busy"] = share.mean()
    return {"startup_s": startup_s, "wall_s": wall_s, "cpu_s": cpu_s, **told}


if __name__ == "__main__":
    print("\n" + json.dumps(measured(json.loads(sys.argv[1]))), flush=True)
