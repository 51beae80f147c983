"""How Prefect runs a step: nothing cached or kept, and tried again with back-off when its error may pass."""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from models.errors import PassingError


def _may_pass(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    return isinstance(state.result(raise_on_failure=False), PassingError)


STEP: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 3,
    "retry_delay_seconds": [2, 10, 30],
    "retry_condition_fn": _may_pass,
}
"""Arguments of `@task` for a step of a parent flow."""
