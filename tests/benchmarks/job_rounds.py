"""Contestants measured in turn, round after round, each time in a fresh process.

Rounds go over all contestants before the next one starts, so that whatever else the machine does falls on all alike.
The first round samples memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tests.benchmarks.process_memory import PeakMemory

Order = dict[str, Any]
Tell = Callable[[str], None]
_GIVEN_UP_S = 1800.0
_MEMORY_EVERY_S = 0.1
"""A look at all processes takes milliseconds of a core that the job would have had."""


@dataclass
class Measured:
    """One contestant's runs."""

    order: Order
    runs: list[dict[str, Any]] = field(default_factory=list)
    why: str = ""
    """What was wrong with a run; it is none of `runs`."""

    def median(self, figure: str) -> float | None:
        """The median of a figure; None where no run has it."""
        seen = [run[figure] for run in self.runs if run.get(figure) is not None]
        return median(seen) if seen else None

    def medians(self) -> dict[str, Any]:
        """Every number's median, with the most memory that was seen, and the setting it was taken at."""
        numbers = {name for run in self.runs for name, value in run.items() if isinstance(value, int | float)}
        found: dict[str, Any] = {name: self.median(name) for name in sorted(numbers)}
        return found | {"why": self.why, "times": len(self.runs), "setting": setting(self.order)}

    def as_json(self) -> dict[str, Any]:
        """Everything but what was found."""
        runs = [{name: value for name, value in run.items() if name != "found"} for run in self.runs]
        return {"order": self.order, "runs": runs, "why": self.why}


def setting(order: Order) -> str:
    """What was chosen for a contestant, in words."""
    names = ("workers", "lanes", "threads", "batch", "actors", "way")
    return ", ".join(f"{name} {order[name]}" for name in names if name in order)


def run_once(order: Order, *, watch_memory: bool = False, memory_every_s: float = _MEMORY_EVERY_S) -> dict[str, Any]:
    """Measure in a fresh process. A crash is a dict with nothing but `why`."""
    told = {**order, "asked_at_s": time.time()}
    command = [sys.executable, "-m", "tests.benchmarks.job_once", json.dumps(told)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        memory = PeakMemory(child.pid, every_s=memory_every_s)
        try:
            if watch_memory:
                with memory:
                    said, complaint = child.communicate(timeout=_GIVEN_UP_S)
            else:
                said, complaint = child.communicate(timeout=_GIVEN_UP_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            return {"why": f"given up after {_GIVEN_UP_S:.0f} s"}
    if child.returncode:
        last_words = (complaint.strip().splitlines() or ["?"])[-1]
        return {"why": f"ended with status {child.returncode}: {last_words[:300]}"}
    figures: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return figures | ({"peak_bytes": memory.bytes} if watch_memory else {})


def rounds(
    contestants: Mapping[str, Order], repeats: int, tell: Tell, *, memory_every_s: float = _MEMORY_EVERY_S
) -> dict[str, Measured]:
    """Every contestant's runs, by name."""
    measured = {name: Measured(order) for name, order in contestants.items()}
    for number in range(repeats):
        for name, one in measured.items():
            figures = run_once(one.order, watch_memory=number == 0, memory_every_s=memory_every_s)
            if "why" in figures:
                one.why = figures["why"]
                tell(f"round {number + 1} of {repeats}, {name}: {one.why}")
                continue
            one.runs.append(figures)
            tell(f"round {number + 1} of {repeats}, {name}: {figures['wall_s']:.2f} s, {figures['cpu_s']:.2f} CPU s")
    return measured


def best_of(trials: Mapping[str, Order], tell: Tell) -> tuple[Order, dict[str, Any]]:
    """The order with the shortest wall, each tried once, and what all the trials gave.

    Raises `RuntimeError` where none came to an end.
    """
    seen: dict[str, Any] = {}
    for name, order in trials.items():
        seen[name] = run_once(order)
        tell(f"trial, {name}: {seen[name].get('why') or format(seen[name]['wall_s'], '.2f') + ' s'}")
    walls = {
        name: figures["wall_s"] - figures.get("setup_s", 0.0) for name, figures in seen.items() if "wall_s" in figures
    }
    if not walls:
        raise RuntimeError(f"none of these ran: {seen}")
    return trials[min(walls, key=lambda name: walls[name])], seen
