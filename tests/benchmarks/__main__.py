"""`make bench`: what whole jobs cost against their parts and against others who do the same work, side by side.

The engine runs without Prefect. Every measurement is a fresh process, figures are medians of rounds in which all take
turns. Figures are printed, drawn and written as JSON, never asserted. Parts that were measured before with the same
folder stay in its JSON, each with its date and machine. `BENCH_ARGS=--help` names the options.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks.decode_machine import machine, versions
from tests.benchmarks.job_chart import chart
from tests.benchmarks.job_growth import growth, memory
from tests.benchmarks.job_models import bench_models
from tests.benchmarks.job_peer_sections import peers
from tests.benchmarks.job_report import tables
from tests.benchmarks.job_sections import Bench, ceilings, short_clips

PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "ceilings": lambda bench: ceilings(bench, with_jobs=False),
    "job": lambda bench: ceilings(bench, with_jobs=True),
    "clips": short_clips,
    "peers": peers,
    "growth": growth,
    "memory": memory,
}
"""`job` measures the ceilings in the same rounds, and stands in the place of `ceilings`."""
SCREEN = Console(width=None if sys.stdout.isatty() else 190)


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=["job", "clips", "peers", "growth", "memory"],
        help="what to measure",
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds of jobs; figures are their medians")
    parser.add_argument("--peer-repeats", type=int, default=3, help="rounds of clips, peers and growth")
    parser.add_argument("--rates", type=int, nargs="+", default=[1, 5], help="frames a second, divisors of 30")
    parser.add_argument("--minutes", type=int, default=10, help="length of the long video")
    parser.add_argument("--samples", type=int, default=600, help="most samples of it that are looked at")
    parser.add_argument("--seconds-above", type=int, default=60, help="how much of it at rates above one a second")
    parser.add_argument("--clips", type=int, default=200, help="short clips of five seconds")
    parser.add_argument("--peer-seconds", type=int, default=60, help="how much of the long video peers are given")
    parser.add_argument("--growth-samples", type=int, default=320, help="samples of the largest of growing jobs")
    parser.add_argument("--device", default="cpu", help="of torch: cpu, or cuda on a machine that has one")
    parser.add_argument("--out", type=Path, default=Path("bench-out/jobs"), help="where table, chart and JSON go")
    parser.add_argument("--cache", type=Path, default=Path("bench-out/files"), help="where videos are kept")
    parser.add_argument("--report-only", action="store_true", help="measure nothing: draw again what was measured")
    asked = parser.parse_args(arguments)
    if any(30 % fps for fps in asked.rates):
        parser.error("rates must divide 30, or peers would be given other frames")
    return asked


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts asked for, one after another; each is written as soon as it is there."""
    asked = options(arguments)
    out = asked.out.absolute()
    (out / "scratch").mkdir(parents=True, exist_ok=True)
    kept = out / "jobs.json"
    parts: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    began_s = time.monotonic()

    def tell(text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - began_s), 60)
        SCREEN.print(f"{minutes:3d}:{seconds:02d}  {text}", markup=False, highlight=False)

    models = bench_models(asked.cache)
    bench = Bench(asked, models, asked.cache, out / "scratch", tell)
    for name in [] if asked.report_only else asked.parts:
        before = machine()
        found = PARTS[name](bench)
        section = "ceilings" if name == "job" else name
        if section == "ceilings":  # rates may be measured one at a time
            found["rates"] = parts.get(section, {}).get("rates", {}) | found["rates"]
        parts[section] = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "options": {option: str(value) for option, value in vars(asked).items()},
            "machine": {"before": before, "after": machine()},
            "versions": versions(),
            **found,
        }
        kept.write_text(json.dumps(parts, indent=1))
    with (out / "jobs.txt").open("w") as file:
        for screen in (SCREEN, Console(file=file, width=190)):
            tables(parts, screen)
    chart(parts, out / "jobs.png")
    SCREEN.print(f"{out}/jobs.json, jobs.txt and jobs.png are written.")


if __name__ == "__main__":
    main()
