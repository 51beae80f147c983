"""`python -m tests.benchmarks.decode_memory`: what one frame a second of ever longer videos takes in memory and time.

All processes together, with one worker, from one minute to ten hours, in mp4 and mkv; beside it what libav alone takes
to open the file: its mp4 demuxer holds a table of all samples that nobody outside it can shrink.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.decode_rounds import ONE_THREAD
from tests.benchmarks.long_videos import FPS, long_video
from tests.benchmarks.process_memory import PeakMemory

LENGTHS_S = (60, 600, 3600, 36000)
BYTES_A_PACKET = 16
SLACK = 0.10
_COLUMNS = (
    "length",
    "packets",
    "samples",
    "peak MB",
    "B/packet over base",
    "allowed MB",
    "of it libav's table MB",
    "index s",
    "s",
)

_EXTRACT = """
import json, sys, time
from fractions import Fraction
from pathlib import Path
from tasks.decode_workers import DecodeWorkers
from tasks.decoding import ExtractedFrame, extract
from tasks.plans import make_plan
from tasks.probing import probe
path, frames, start_s = Path(sys.argv[1]), 0, time.monotonic()
with DecodeWorkers() as workers:
    facts, index = probe(path, workers=workers)
    probe_s = time.monotonic() - start_s
    plan = make_plan(index, infer_fps=Fraction(1))
    packets = len(index.pts)
    del index
    for item in extract(path, plan, range(len(plan.segments)), workers=workers):
        frames += isinstance(item, ExtractedFrame) and item.pixels is not None
all_s = time.monotonic() - start_s
print(json.dumps({"packets": packets, "frames": frames, "probe_s": probe_s, "all_s": all_s}))
"""
_OPEN = """
import av, sys
container = av.open(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
"""


@dataclass(frozen=True)
class LongRun:
    """One video gone through at one frame a second."""

    container: str
    seconds: int
    packets: int
    frames: int
    """Samples that came with pixels."""
    peak_bytes: int
    """The most that parent and workers held together."""
    open_bytes: int
    """The most that a process takes that has PyAV open the file, and no more."""
    probe_s: float
    all_s: float


def long_run(folder: Path, container: str, seconds: int) -> LongRun:
    """Probe, plan and extract, in fresh processes. Raises `CalledProcessError`."""
    path = long_video(folder, container, seconds)
    environment = {**os.environ, **ONE_THREAD}
    command = [sys.executable, "-c", _EXTRACT, str(path)]
    with (
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child,
        PeakMemory(child.pid) as memory,
    ):
        said, _ = child.communicate()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return LongRun(
        container, seconds, peak_bytes=memory.bytes, open_bytes=_opened_bytes(path, environment), **json.loads(said)
    )


def _opened_bytes(path: Path, environment: dict[str, str]) -> int:
    command = [sys.executable, "-c", _OPEN, str(path)]
    with (
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child,
        PeakMemory(child.pid) as memory,
    ):
        assert child.stdout is not None
        child.stdout.readline()
        child.communicate("")
    return memory.bytes


def libav_bytes(run: LongRun, shortest: LongRun) -> int:
    """What libav takes more to open this file than the shortest, in each process that opens it; it keeps half of it."""
    return max(0, run.open_bytes - shortest.open_bytes)


def allowed_bytes(run: LongRun, shortest: LongRun) -> int:
    """What a run of one worker may take: the shortest's peak, so much a packet, a tenth, and libav's own table."""
    return int((shortest.peak_bytes + BYTES_A_PACKET * run.packets) * (1 + SLACK)) + libav_bytes(run, shortest)


def table_of(runs: Sequence[LongRun], shortest: LongRun) -> Table:
    """The runs of one container beside what is allowed; `shortest` gives the base."""
    table = Table(title=f"{shortest.container}: memory of all processes, one frame a second of {FPS}")
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for run in runs:
        more, packets = run.peak_bytes - shortest.peak_bytes, run.packets - shortest.packets
        table.add_row(
            f"{run.seconds // 60} min",
            str(run.packets),
            str(run.frames),
            f"{run.peak_bytes / 1e6:.1f}",
            f"{more / packets:.1f}" if packets else "",
            f"{allowed_bytes(run, shortest) / 1e6:.1f}",
            f"{libav_bytes(run, shortest) / 1e6:.1f}",
            f"{run.probe_s:.1f}",
            f"{run.all_s:.1f}",
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.decode_memory", description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS_S), help="seconds, whole minutes")
    parser.add_argument("--containers", nargs="+", default=["mkv", "mp4"])
    parser.add_argument("--cache", type=Path, default=Path("bench-out/files"), help="where the videos are kept")
    asked = parser.parse_args()
    for container in asked.containers:
        runs = [long_run(asked.cache, container, seconds) for seconds in sorted(asked.lengths)]
        Console(width=None if sys.stdout.isatty() else 140).print(table_of(runs, runs[0]))


if __name__ == "__main__":
    main()
