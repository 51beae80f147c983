"""Whole jobs without Prefect: register, plan, decode once, every model, shards, result. For tests of many videos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq

from models.request import InferenceRequest
from tasks.gpu_run import GpuRun, infer_stream, stream_frames
from tasks.job_steps import prepare, publish
from tasks.results import ResultSummary
from tasks.settings import JobSettings
from tasks.store import open_store
from tasks.videos import register_file

_SETTINGS = JobSettings(dispatch="inline")


@dataclass(frozen=True)
class JobResult:
    """What a job published."""

    predictions: dict[str, list[Any]]
    job: dict[str, Any]
    summary: ResultSummary
    parquet: Path

    def rows(self) -> list[dict[str, Any]]:
        """The rows of predictions.parquet."""
        return pq.read_table(self.parquet).to_pylist()


def run_job(
    store_dir: Path, video: Path, models: Sequence[dict[str, Any]], infer_fps: float | str = "all"
) -> JobResult:
    """Run the job as `infer-video` and `infer-segments` do, with threads for their tasks.

    A model that fails as a whole leaves the others' results, as in a flow run.
    """
    store = open_store(str(store_dir))
    registered = register_file(store, video)
    request = InferenceRequest.model_validate(
        {"video_id": registered.video_id, "infer_fps": infer_fps, "models": list(models)}
    )
    spec = prepare(store, str(uuid4()), request, _SETTINGS, submitted_at=registered.registered_at)
    for group in spec.groups:
        run = GpuRun.open(spec.job_id, group.number, 1)
        with ThreadPoolExecutor(1 + len(run.models)) as threads:
            extraction = threads.submit(stream_frames, run)
            inferences = [threads.submit(infer_stream, run, model.key) for model in run.models]
        failed = [future.exception() for future in inferences]
        run.heartbeat.phase("failed" if any(failed) else "done")
        extraction.result()
    summary = publish(store, spec, _SETTINGS)
    folder = store_dir / spec.result_prefix
    return JobResult(
        json.loads((folder / "predictions.json").read_bytes()),
        json.loads((folder / "job.json").read_bytes()),
        summary,
        folder / "predictions.parquet",
    )
