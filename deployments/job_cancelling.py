"""A job cancelled as any caller of Prefect's API may do it, and its end waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

_POLL_S = 0.5


def cancel_job(client: SyncPrefectClient, job_id: str) -> None:
    """Cancel a job and its GPU runs; those that no worker has taken end at once, the others when theirs ends them."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled, Cancelling

    from tasks.gpu_dispatch import cancel_children

    run = client.read_flow_run(UUID(job_id))
    waiting = run.state is not None and run.state.type is StateType.SCHEDULED
    client.set_flow_run_state(run.id, Cancelled() if waiting else Cancelling())
    # The server tells the children itself, some time later: the GPU is wanted now.
    cancel_children(client, run.id)


def wait_until_ended(client: SyncPrefectClient, job_id: str, *, within_s: float) -> bool:
    """Whether the job and its GPU runs have reached a final state in time."""
    give_up_s = time.monotonic() + within_s
    while True:
        if all(run.state is not None and run.state.is_final() for run in _job_and_children(client, job_id)):
            return True
        if time.monotonic() > give_up_s:
            return False
        time.sleep(_POLL_S)


def _job_and_children(client: SyncPrefectClient, job_id: str) -> list[FlowRun]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId

    children = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[UUID(job_id)]))
    return [client.read_flow_run(UUID(job_id)), *client.read_flow_runs(flow_run_filter=children)]
