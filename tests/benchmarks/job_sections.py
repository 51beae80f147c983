"""What is measured of our own jobs: their ceilings, whole jobs in the same rounds, and short clips."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.job_files import CLIP_S, clips, clips_as_one, long_job_video
from tests.benchmarks.job_models import BenchModel
from tests.benchmarks.job_rounds import Order, Tell, best_of, rounds

_TRIED_SHARE = 4
_TRIED_FRAMES = 96
_BATCHES = (4, 8, 16)
_MOST_WORKERS = 16
CEILINGS = ("detector", "yolox_nano", "efficientnet")
"""Models that have a ceiling and a job of their own, and one job together."""


@dataclass(frozen=True)
class Bench:
    """What the sections share: options, models, folders, and where progress is told."""

    asked: argparse.Namespace
    models: dict[str, BenchModel]
    files: Path
    """Where videos are kept."""
    scratch: Path
    """Where stores and peers' results go."""
    tell: Tell

    @property
    def video(self) -> Path:
        """The long video."""
        return long_job_video(self.files, self.asked.minutes * 60).resolve()

    @property
    def names(self) -> list[str]:
        """Those of `CEILINGS` that can be had."""
        return [name for name in CEILINGS if name in self.models]

    def part(self, fps: int, samples: int) -> Order:
        """The long video at a rate, as much of it as gives so many samples at most."""
        end_s = min(self.asked.minutes * 60, samples / fps)
        return {"path": str(self.video), "fps": fps, "end_s": end_s, "device": self.asked.device}

    def job(self, requests: list[list[str]], *, videos: Iterable[Path] | None = None, **more: Any) -> Order:
        """A whole job: names of models by request, on the long video unless others are named."""
        return {
            "work": "job",
            "videos": [str(path.resolve()) for path in videos or [self.video]],
            "requests": [[self.models[name].order for name in names] for names in requests],
            "device": self.asked.device,
            "folder": str(self.scratch / "job"),
            "rehearse": True,
            **more,
        }


def powers(most: int) -> list[int]:
    """1, 2, 4 … up to `most`, and `most` itself."""
    return sorted({most, *(1 << power for power in range(most.bit_length()) if 1 << power <= most)})


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def decode_ceiling(bench: Bench, part: Order) -> tuple[Order, dict[str, Any]]:
    """Decoding at its best number of workers, tried on a quarter, and the trials."""
    tried = {**part, "end_s": part["end_s"] / _TRIED_SHARE}
    trials = {
        f"decode at {part['fps']}, {workers} workers": {**tried, "work": "decode", "workers": workers}
        for workers in powers(min(cores(), _MOST_WORKERS))
    }
    best, seen = best_of(trials, bench.tell)
    return {**best, "end_s": part["end_s"]}, seen


def forward_ceiling(bench: Bench, name: str, part: Order) -> tuple[Order, dict[str, Any]]:
    """A model at its best number of callers, threads and frames a batch, and the trials."""
    trials = {}
    for lanes in powers(min(cores(), _MOST_WORKERS)):
        for batch in _BATCHES:
            shape = {"lanes": lanes, "threads": max(1, cores() // lanes), "batch": batch}
            order = {**part, "work": "forward", "model": bench.models[name].order, **shape, "frames": _TRIED_FRAMES}
            trials[f"{name}, lanes {lanes}, batch {batch}"] = order
    best, seen = best_of(trials, bench.tell)
    return {**best, "frames": round(part["end_s"] * part["fps"])}, seen


def ceilings(bench: Bench, *, with_jobs: bool) -> dict[str, Any]:
    """Ceilings at each rate and, in the same rounds, the jobs that are held against them."""
    found: dict[str, Any] = {"models": bench.names, "rates": {}}
    forwards: dict[str, Order] = {}
    seconds_above = bench.asked.seconds_above
    for fps in bench.asked.rates:
        part = bench.part(fps, bench.asked.samples if fps == 1 else min(bench.asked.samples, seconds_above * fps))
        contestants: dict[str, Order] = {}
        trials: dict[str, Any] = {}
        contestants["decode"], trials["decode"] = decode_ceiling(bench, part)
        for name in bench.names:
            if name not in forwards:
                forwards[name], trials[name] = forward_ceiling(bench, name, part)
            frames = round(part["end_s"] * fps)
            contestants[f"forward {name}"] = {**forwards[name], **part, "frames": frames}
        if with_jobs:
            contestants |= _jobs(bench, fps, part)
        measured = rounds(contestants, bench.asked.repeats, bench.tell)
        found["rates"][str(fps)] = {
            "seconds": part["end_s"],
            "trials": trials,
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "medians": {name: one.medians() for name, one in measured.items()},
            "measured": {name: one.as_json() for name, one in measured.items()},
        }
    return found


def _jobs(bench: Bench, fps: int, part: Order) -> dict[str, Order]:
    """The first two models, each by itself; both together at the lowest rate, which is enough; all."""
    wanted = [[name] for name in bench.names[:2]]
    if fps == min(bench.asked.rates):
        wanted.append(bench.names[:2])
    wanted.append(bench.names)
    asked = {f"job {' + '.join(names)}": names for names in wanted}
    return {name: bench.job([models], fps=fps, end_s=part["end_s"]) for name, models in asked.items()}


def short_clips(bench: Bench) -> dict[str, Any]:
    """Clips of five seconds as one GPU run, a job for each, against the same frames as one video."""
    count, name = bench.asked.clips, bench.names[0]
    bench.tell(f"{count} clips of {CLIP_S} s, made now unless they are kept from before")
    contestants = {
        "one video": bench.job([[name]], videos=[clips_as_one(bench.files, count)], fps=1),
        "clips": bench.job([[name]], videos=clips(bench.files, count), fps=1),
    }
    measured = rounds(contestants, bench.asked.peer_repeats, bench.tell)
    return {
        "clips": count,
        "clip_s": CLIP_S,
        "model": name,
        "medians": {name: one.medians() for name, one in measured.items()},
        "measured": {name: one.as_json() for name, one in measured.items()},
    }
