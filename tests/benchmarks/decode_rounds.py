"""One file at one rate: every reader measured in turn, round after round, each time in a fresh process.

Every mode is tried on the first quarter; each reader's best one then runs on the whole. Rounds go over all readers
before the next one starts, so that whatever else the machine does falls on all alike. The first round samples memory.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.decode_sampling import judged
from tests.benchmarks.process_memory import PeakMemory

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "REELMILL_DECODE_WORKERS": "1",
}
_TRIED = 4
"""Modes are tried on so small a part of the file."""
_PATIENCE = 4.0
_LEAST_PATIENCE_S = 15.0
"""A run is given up after so long, or so many times the fastest right run of its cell, whichever is more."""
_START_S = 120.0
"""No library takes so long to be imported."""


@dataclass(frozen=True)
class Cell:
    """A file at a rate."""

    file: str
    rate: str
    """Frames a second wanted, as asked for: a number or `all`."""
    path: Path
    fps: int
    stop: int
    """Frames from the first to before this one are of interest."""
    width: int
    height: int
    step: int
    """Every so many of them one is wanted."""

    @property
    def numbers(self) -> range:
        """The frames wanted."""
        return range(0, self.stop, self.step)


@dataclass(frozen=True)
class Run:
    """What one measurement gave."""

    file: str
    rate: str
    reader: str
    mode: str
    frames: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_bytes: int | None = None
    """Of all its processes together; only the first round looks."""
    right: bool = False
    identical: float = 0.0
    """The share of frames (0…1) that are the very frames of sequential decoding, as far as was looked at."""
    why: str = ""
    """What was wrong."""


def run_once(
    cell: Cell,
    reader: str,
    mode: str,
    *,
    core: int | None = 0,
    reference: NDArray[np.uint8] | None = None,
    watch_memory: bool = False,
    limit_s: float = 3600.0,
    environment: dict[str, str] | None = None,
    keep_signatures: Path | None = None,
) -> Run:
    """Measure in a fresh process on one core (None: on any). A crash or a wrong frame is a `Run` that says so.

    `reference` is `(frames, bytes)`, the signatures of all frames; without it nothing is called right or wrong. After
    `limit_s` on its clock a run is given up.
    """
    with tempfile.TemporaryDirectory(prefix="bench-decode-") as folder:
        signatures = Path(folder) / "signatures.npy"
        video = {"path": str(cell.path), "fps": cell.fps, "stop": cell.stop, "step": cell.step}
        video |= {"width": cell.width, "height": cell.height}
        order = {"reader": reader, "mode": mode, "core": core, "limit_s": limit_s, "signatures": str(signatures)}
        figures, peak_bytes, why = _child(order | video, watch_memory, environment or {})
        if keep_signatures and signatures.exists():
            shutil.move(signatures, keep_signatures)
        if not why and signatures.exists() and reference is not None:
            verdict = judged(np.load(signatures), cell.numbers, reference)
            figures |= {"right": verdict.right, "identical": verdict.identical}
            why = verdict.why
    return Run(cell.file, cell.rate, reader, mode, peak_bytes=peak_bytes, why=why, **figures)


def _child(
    order: dict[str, Any], watch_memory: bool, environment: dict[str, str]
) -> tuple[dict[str, Any], int | None, str]:
    """Figures, peak memory and what went wrong."""
    command = [sys.executable, "-m", "tests.benchmarks.decode_once", json.dumps(order)]
    timeout_s = order["limit_s"] + _START_S
    with subprocess.Popen(
        command,
        env={**os.environ, **ONE_THREAD, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        memory = PeakMemory(child.pid)
        try:
            if watch_memory:
                with memory:
                    said, complaint = child.communicate(timeout=timeout_s)
            else:
                said, complaint = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            return {}, None, f"given up after {timeout_s:.0f} s with its start"
    if child.returncode == -signal.SIGALRM:
        return {}, None, f"given up after {order['limit_s']:.0f} s"
    if child.returncode:
        last_words = (complaint.strip().splitlines() or [""])[-1]
        return {}, None, f"ended with status {child.returncode}: {last_words[:200]}"
    return json.loads(said.splitlines()[-1]), memory.bytes or None, ""


def measure_cell(
    cell: Cell,
    modes: dict[str, list[str]],
    reference: NDArray[np.uint8],
    *,
    repeats: int,
    core: int,
    tell: Callable[[Run], None],
) -> tuple[list[Run], list[Run]]:
    """The runs of a cell in the order they were made, and the trials before them.

    `modes` by reader, plain ones first: what takes far longer than those before it is given up.
    """

    def told(runs: list[Run], tried: Cell, reader: str, mode: str, *, watch_memory: bool) -> None:
        fastest_s = min((run.wall_s for run in runs if run.right), default=3600.0)
        limit_s = max(_LEAST_PATIENCE_S, _PATIENCE * fastest_s)
        runs.append(
            run_once(
                tried,
                reader,
                mode,
                core=core,
                reference=reference,
                watch_memory=watch_memory,
                limit_s=limit_s,
            )
        )
        tell(runs[-1])

    trials: list[Run] = []
    part = replace(cell, stop=max(cell.step, cell.stop // _TRIED))
    for place in range(max(map(len, modes.values()))):
        for reader, names in modes.items():
            if place < len(names) > 1:
                told(trials, part, reader, names[place], watch_memory=False)
    runs: list[Run] = []
    for number in range(repeats):
        for reader, names in modes.items():
            told(runs, cell, reader, _best_mode(trials, reader) or names[0], watch_memory=number == 0)
    return runs, trials


def _best_mode(trials: list[Run], reader: str) -> str | None:
    right = [run for run in trials if run.reader == reader and run.right]
    return min(right, key=lambda run: run.cpu_s).mode if right else None
