"""What else is said of our own decoding: two files on two cores, two workers on one file, the index's cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.decode_rounds import ONE_THREAD, Cell, run_once
from tests.benchmarks.long_videos import long_video

OURS = ("reelmill", "sparse")
REPEATS = 3


def extras(cells: list[Cell], folder: Path) -> dict[str, Any]:
    """All of it, on the first of `cells`, by what it is called in the tables; `folder` keeps the long videos."""
    cell = cells[0]
    found: dict[str, Any] = {"index": index_cost(folder)}
    if len(os.sched_getaffinity(0)) > 1:
        found = {"two files on two cores": two_files(cell), "two workers on one file": two_workers(cell), **found}
    return found


def two_files(cell: Cell) -> dict[str, Any]:
    """Wall seconds of one process on one core, and of two at the same time on two, each with a file to itself."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    one, two = [], []
    for _ in range(REPEATS):
        one.append(run_once(cell, *OURS, core=cores[0]).wall_s)
        with ThreadPoolExecutor(2) as both:
            two.append(max(run.wall_s for run in both.map(lambda core: run_once(cell, *OURS, core=core), cores)))
    return {
        "file": f"{cell.file} at {cell.rate}",
        "one_s": round(median(one), 3),
        "two_s": round(median(two), 3),
        "two / one": round(median(two) / median(one), 3),
    }


def two_workers(cell: Cell) -> dict[str, Any]:
    """Wall seconds of one file with one worker and with two, on any core."""
    taken: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(REPEATS):
        for workers, walls in taken.items():
            environment = {"REELMILL_DECODE_WORKERS": str(workers)}
            walls.append(run_once(cell, *OURS, core=None, environment=environment).wall_s)
    one_s, two_s = median(taken[1]), median(taken[2])
    return {
        "file": f"{cell.file} at {cell.rate}",
        "one_s": round(one_s, 3),
        "two_s": round(two_s, 3),
        "one / two": round(one_s / two_s, 3),
    }


_PROBE = """
import json, sys
from pathlib import Path
from tasks.decode_forking import FORKER, can_fork
from tasks.probing import probe
from tests.benchmarks.decode_once import cpu_s
if can_fork():
    FORKER.prepare()
before = cpu_s()
facts, _ = probe(Path(sys.argv[1]))
print(json.dumps({"cpu_s": cpu_s() - before, "frames": facts.frame_count}))
"""


def index_cost(folder: Path) -> dict[str, Any]:
    """CPU microseconds a packet of the index: the slope between a short and a long file, without the start."""
    found = {}
    for container in ("mp4", "mkv"):
        short, long = long_video(folder, container, 60), long_video(folder, container, 3600)
        figures: dict[Path, list[dict[str, float]]] = {short: [], long: []}
        for _ in range(REPEATS):
            for path, runs in figures.items():
                command = [sys.executable, "-c", _PROBE, str(path)]
                child = subprocess.run(
                    command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=True
                )
                runs.append(json.loads(child.stdout))
        seconds = {path: median(run["cpu_s"] for run in runs) for path, runs in figures.items()}
        packets = {path: runs[0]["frames"] for path, runs in figures.items()}
        found[f"µs a packet, {container}"] = round(
            1e6 * (seconds[long] - seconds[short]) / (packets[long] - packets[short]), 2
        )
    return found
