"""Whole jobs without Prefect: register, plan, decode once, every model, shards, result. For tests of many videos."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq

from models.request import InferenceRequest
from tasks.gpu_run import GpuRun, infer_stream, stream_frames
from tasks.job_spec import JobSpec
from tasks.job_steps import prepare, publish
from tasks.results import ResultSummary
from tasks.run_shares import GroupAttempt, RunShare
from tasks.settings import JobSettings
from tasks.store import Store, open_store
from tasks.videos import Video, register_file

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
    spec = prepared(store, register_file(store, video), models, infer_fps)
    for group in spec.groups:
        run_group(GroupAttempt(job_id=spec.job_id, group=group.number))
    return published(store, spec)


def run_jobs(
    store_dir: Path, videos: Sequence[Path], models: Sequence[dict[str, Any]], infer_fps: float | str = "all"
) -> list[JobResult]:
    """Run a job for each video, all in one GPU run. The models name no pool."""
    store = open_store(str(store_dir))
    specs = [prepared(store, register_file(store, video), models, infer_fps) for video in videos]
    run_group(*(GroupAttempt(job_id=spec.job_id, group=0) for spec in specs))
    return [published(store, spec) for spec in specs]


def prepared(
    store: Store, video: Video, models: Sequence[dict[str, Any]], infer_fps: float | str, **more: Any
) -> JobSpec:
    """Freeze the spec of a job on a registered video; `more` goes into the request."""
    request = InferenceRequest.model_validate(
        {"video_id": video.video_id, "infer_fps": infer_fps, "models": list(models), **more}
    )
    return prepare(store, str(uuid4()), request, _SETTINGS, submitted_at=video.registered_at)


def run_group(*parts: GroupAttempt, on_whole: Callable[[RunShare], object] | None = None) -> GpuRun:
    """Run groups of one or more jobs as one run of `infer-segments`; raises what the extraction raised."""
    run = GpuRun.open(*parts)
    run.on_whole = on_whole or run.on_whole
    if not run.nothing_missing():
        run_parts(run)
    return run


def run_parts(run: GpuRun) -> None:
    """Run what a GPU run holds, with threads for the tasks of `infer-segments`."""
    with ThreadPoolExecutor(1 + len(run.models)) as threads:
        extraction = threads.submit(stream_frames, run)
        inferences = [threads.submit(infer_stream, run, model.name) for model in run.models]
    run.end(failed=any(future.exception() for future in [extraction, *inferences]))
    extraction.result()


def published(store: Store, spec: JobSpec) -> JobResult:
    """Publish a job's result and read it."""
    summary = publish(store, spec, _SETTINGS)
    folder = Path(store.uri) / spec.result_prefix
    return JobResult(
        json.loads((folder / "predictions.json").read_bytes()),
        json.loads((folder / "job.json").read_bytes()),
        summary,
        folder / "predictions.parquet",
    )
