"""`make bench-decode`: ours against the other readers, each at its best mode, on files made here, in one run.

One thread each, pinned to one core, every measurement in a fresh process. Figures are printed, drawn and written as
JSON, never asserted. `--help` names the options.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from tests.benchmarks.decode_extras import extras
from tests.benchmarks.decode_files import FILES, FPS, HEIGHT, WIDTH, made
from tests.benchmarks.decode_machine import machine, versions
from tests.benchmarks.decode_report import chart, summarised, tables
from tests.benchmarks.decode_rounds import ONE_THREAD, Cell, Run, measure_cell, run_once

READER_NAMES = ("reelmill", "pyav", "opencv", "torchcodec", "decord2", "ffmpeg")
ALL_SHARE = 3
"""Where all frames are wanted, only those of the first third of the file are: it is long enough."""
SCREEN = Console(width=None if sys.stdout.isatty() else 150)


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.decode_bench", description=__doc__)
    parser.add_argument("--files", nargs="+", choices=FILES, default=list(FILES), help="kinds of video")
    parser.add_argument("--rates", nargs="+", default=["1", "5", "all"], help=f"divisors of {FPS}, or all")
    parser.add_argument("--readers", nargs="+", choices=READER_NAMES, default=list(READER_NAMES))
    parser.add_argument("--repeats", type=int, default=3, help="rounds; figures are their medians")
    parser.add_argument("--seconds", type=int, default=60, help="length of each video")
    parser.add_argument("--first", type=int, help="measure on so many seconds of each video; all of it unless given")
    parser.add_argument("--lanes", type=int, default=2, help="cores that measure at once, each its own cell")
    parser.add_argument("--out", type=Path, default=Path("bench-out"), help="where table, chart and JSON go")
    parser.add_argument("--cache", type=Path, help="where the videos are kept; OUT/files unless given")
    parser.add_argument("--no-extras", action="store_true", help="leave out workers side by side and the index")
    return parser.parse_args(arguments)


def step_of(rate: str) -> int:
    """Every so many frames one is wanted. Raises `ValueError` for a rate that doesn't divide the files'."""
    step = Fraction(1) if rate == "all" else FPS / Fraction(rate)
    if step.denominator != 1:
        raise ValueError(f"{rate} does not divide {FPS} frames a second")
    return int(step)


def installed_modes(readers: Sequence[str]) -> dict[str, list[str]]:
    """The modes of each reader that can be imported; says which cannot."""
    found = {}
    for reader in readers:
        command = [sys.executable, "-m", "tests.benchmarks.decode_once", "--modes", reader]
        child = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=False)
        if child.returncode:
            SCREEN.print(f"{reader} is left out: {(child.stderr.strip().splitlines() or ['?'])[-1]}")
        else:
            found[reader] = json.loads(child.stdout.splitlines()[-1])["modes"]
    return found


def reference_of(cell: Cell, frames: int) -> NDArray[np.uint8]:
    """Signatures of all frames, `(frames, bytes)`, by PyAV straight through; kept beside the video."""
    kept = cell.path.with_suffix(".signatures.npy")
    if not kept.exists():
        run = run_once(replace(cell, stop=frames, step=1), "pyav", "straight through", keep_signatures=kept)
        if run.why:
            raise RuntimeError(f"PyAV does not read {cell.path}: {run.why}")
    return np.asarray(np.load(kept))


def measured(
    cells: list[Cell], modes: dict[str, list[str]], references: dict[str, Any], asked: Any
) -> tuple[list[Run], list[Run]]:
    """All runs of all cells, and the trials before them, measured on as many cores at once as there are lanes."""
    waiting: queue.SimpleQueue[Cell] = queue.SimpleQueue()
    for cell in cells:
        waiting.put(cell)
    cores = sorted(os.sched_getaffinity(0))[: asked.lanes]
    started = time.monotonic()
    runs: list[Run] = []
    trials: list[Run] = []

    def tell(run: Run) -> None:
        figures = run.why or f"{run.cpu_s:.2f} CPU s, {run.wall_s:.2f} s"
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        SCREEN.print(f"{minutes:3d}:{seconds:02d}  {run.file} at {run.rate}: {run.reader} ({run.mode}): {figures}")

    def lane(core: int) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                cell = waiting.get_nowait()
                reference = references[cell.file]
                done, tried = measure_cell(cell, modes, reference, repeats=asked.repeats, core=core, tell=tell)
                runs.extend(done)
                trials.extend(tried)

    with ThreadPoolExecutor(len(cores)) as lanes:
        for _ in lanes.map(lane, cores):
            pass
    return runs, trials


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the files, measure, report."""
    asked = options(arguments)
    out = asked.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    before = machine()
    cells = []
    kept = asked.cache or out / "files"
    for name in asked.files:
        SCREEN.print(f"{FILES[name].label}: {asked.seconds} s of video, made now unless it is kept from before")
        path = made(FILES[name], kept, asked.seconds)
        for rate in asked.rates:
            frames = (asked.first or asked.seconds) * FPS // (ALL_SHARE if rate == "all" else 1)
            cells.append(Cell(name, rate, path, FPS, frames, WIDTH, HEIGHT, step_of(rate)))
    references = {cell.file: reference_of(cell, asked.seconds * FPS) for cell in cells}
    runs, trials = measured(cells, installed_modes(asked.readers), references, asked)
    more = {} if asked.no_extras else extras([cell for cell in cells if cell.rate == asked.rates[0]], kept)

    rows = summarised(runs)
    (out / "decode.json").write_text(
        json.dumps(
            {
                "options": {name: str(value) for name, value in vars(asked).items()},
                "machine": {"before": before, "after": machine()},
                "versions": versions(),
                "summary": [asdict(row) for row in rows],
                "extras": more,
                "trials": [asdict(run) for run in trials],
                "runs": [asdict(run) for run in runs],
            },
            indent=1,
        )
    )
    with (out / "decode.txt").open("w") as file:
        for screen in (SCREEN, Console(file=file, width=150)):
            tables(rows, more, screen)
    chart(rows, out / "decode.png")
    SCREEN.print(f"{out}/decode.json, decode.txt and decode.png are written.")


if __name__ == "__main__":
    main()
