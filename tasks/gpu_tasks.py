"""A GPU run as Prefect sees it: a task for the extraction, one for each model, and how the run ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from models.errors import PermanentError
from tasks.gpu_run import GpuRun, infer_stream, stream_frames


class ModelsFailedError(PermanentError):
    """Parts of a GPU run failed; what the others gave is written."""


def finish_run(run: GpuRun, states: Mapping[str, State[Any]]) -> None:
    """End the run by what its parts ended with; raises `ModelsFailedError` naming each failed part and why."""
    failed = {name: state for name, state in states.items() if not state.is_completed()}
    run.end(failed=bool(failed))
    if failed:
        told = "; ".join(f"{name}: {state.message}" for name, state in failed.items())
        raise ModelsFailedError(f"{len(failed)} of {len(states)} parts of this run failed: {told}")


@task(name="extract-frames", task_run_name="extract-frames", cache_policy=NO_CACHE, persist_result=False, retries=0)
def extract_frames(run: GpuRun) -> int:
    """Decode the run's segments once, for all of its models."""
    return stream_frames(run)


@task(name="infer-model", cache_policy=NO_CACHE, persist_result=False, retries=0)
def infer_model(run: GpuRun, name: str) -> None:
    """Run one model over the stream."""
    infer_stream(run, name)
