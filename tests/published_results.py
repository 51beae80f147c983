"""Shards and results in a store, for tests: a plan of n samples, outcomes for each model, one call that publishes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.outcomes import Outcome
from tasks.results import ResultModel, ResultSummary, publish_results
from tasks.shards import write_shard
from tasks.store import Store

DETECTOR = ResultModel("detector", "object-detection", "d0" * 16)
CLASSIFIER = ResultModel("hub/classifier", "classification", "c0" * 16)
PREFIX = "results/0123"


@dataclass
class SampledPlan:
    """Every fifth frame of a video at 25 frames a second."""

    samples: int
    segment: int

    @property
    def frame_offset(self) -> np.ndarray:
        return np.arange(self.samples, dtype=np.int64) * 5

    @property
    def time_offset(self) -> np.ndarray:
        return np.round(np.arange(self.samples) * 0.2, 4)

    @property
    def segments(self) -> list[tuple[int, int]]:
        return [(start, min(start + self.segment, self.samples)) for start in range(0, self.samples, self.segment)]

    def outcome(self, sample: int, said: dict[str, Any] | str, *, passing: bool = False) -> Outcome:
        """An element, or the reason why there is none."""
        element, reason = (None, said) if isinstance(said, str) else (said, None)
        return Outcome(
            int(self.frame_offset[sample]), float(self.time_offset[sample]), element, reason, passing=passing
        )


def write_shards(
    store: Store, plan: SampledPlan, model: ResultModel, say: Callable[[int], dict[str, Any] | str]
) -> None:
    """Write all of a model's shards; `say` gives the element of each sample, or the reason of a failure."""
    for start, stop in plan.segments:
        outcomes = [plan.outcome(sample, say(sample)) for sample in range(start, stop)]
        write_shard(store, model.fingerprint, start, stop, model.inference_type, outcomes)


def publish(
    store: Store,
    plan: SampledPlan,
    models: Sequence[ResultModel],
    scratch_dir: Path,
    job: dict[str, Any] | None = None,
    prefix: str = PREFIX,
) -> ResultSummary:
    return publish_results(
        store, prefix=prefix, plan=plan, models=models, job=lambda: job or {}, scratch_dir=scratch_dir
    )
