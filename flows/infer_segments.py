"""Frames once, every model on them, shards out. Runs on a GPU pool, or inside the parent's process when embedded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, cast

from prefect import flow
from prefect.futures import PrefectFuture, wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from tasks.arrow_alone import load_arrow
from tasks.gpu_run import GpuRun
from tasks.gpu_tasks import extract_frames, finish_run, infer_model
from tasks.run_guard import guarded
from tasks.run_logs import log_to_run
from tasks.run_shares import GroupAttempt
from tasks.settings import JobSettings

MAX_TASKS = 65
"""One thread for extraction and one for each of at most 64 models of a request."""

_RUNNER = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=MAX_TASKS))


@flow(
    name="infer-segments",
    flow_run_name="group-{group}-attempt-{attempt}",
    task_runner=_RUNNER,
    retries=0,
    persist_result=False,
)
def infer_segments(job_id: str, group: int, attempt: int = 1, others: Sequence[GroupAttempt] = ()) -> None:
    """Run one group of a job's segments: extraction and every model side by side over one stream.

    Started by `infer-video`; started again, it does only the segments whose shards are missing. Groups of other jobs
    may share the run: a model that they have in common is loaded once, and its batches hold frames of all of them.

    Args:
        job_id: The job, which is the id of its infer-video run; its spec stands in the store.
        group: Which of the spec's groups of segments to run.
        attempt: How often this group has been started; an older attempt ends when it sees a newer one.
        others: Groups of other jobs that share this run.

    """
    log_to_run()
    load_arrow()
    run = GpuRun.open(GroupAttempt(job_id=job_id, group=group, attempt=attempt), *others)
    if run.nothing_missing():
        return
    if 1 + len(run.models) > MAX_TASKS:
        raise AssertionError(f"{len(run.models)} models need {1 + len(run.models)} threads and there are {MAX_TASKS}")
    with nullcontext() if JobSettings().dispatch == "inline" else guarded(run):
        extraction = extract_frames.submit(run)
        inferences = [
            infer_model.with_options(name=f"infer-{model.name}", task_run_name=f"infer-{model.name}").submit(
                run, model.name
            )
            for model in run.models
        ]
        parts: list[PrefectFuture[Any]] = [extraction, *inferences]
        wait(parts)
    finish_run(run, {name: future.state for name, future in zip(run.part_names(), parts, strict=True)})
