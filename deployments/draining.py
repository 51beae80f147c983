"""Let running work come to its end before the workers go: nothing new starts, and what runs gets some seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from deployments.handing_back import flow_names, unfinished_runs
from tasks.run_tags import PARENT_FLOWS

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import StateType

_LOOK_EVERY_S = 0.5


def pause_pools(client: SyncPrefectClient, pools: Iterable[str]) -> None:
    """Have the server hand out no run of these pools; runs that workers have taken go on."""
    from prefect.client.schemas.actions import WorkPoolUpdate

    for pool in pools:
        client.update_work_pool(pool, WorkPoolUpdate(is_paused=True))


def resume_pools(client: SyncPrefectClient, pools: Iterable[str]) -> None:
    """Have the server hand out runs of these pools again."""
    from prefect.client.schemas.actions import WorkPoolUpdate

    for pool in pools:
        client.update_work_pool(pool, WorkPoolUpdate(is_paused=False))


def drain(
    client: SyncPrefectClient,
    pools: Sequence[str],
    owner: str,
    *,
    within_s: float,
    hurry: threading.Event,
    say: Callable[[str], None],
) -> bool:
    """Pause the pools and wait until nothing of `owner`'s moves any more; `within_s` at most, or until `hurry`.

    Returns whether all that ran has come to its end. Parents that wait for GPU runs which will not start are at rest:
    there is nothing to wait for.
    """
    pause_pools(client, pools)
    deadline_s = time.monotonic() + within_s
    told = False
    while moving := runs_that_move(client, owner):
        if hurry.is_set() or time.monotonic() >= deadline_s:
            return False
        if not told:
            runs = "one run" if len(moving) == 1 else f"{len(moving)} runs"
            say(f"Nothing new starts; {runs} may take {within_s:.0f} s to end (Ctrl-C again hands back at once) …")
            told = True
        hurry.wait(_LOOK_EVERY_S)
    return not unfinished_runs(client, owner)


def runs_that_move(client: SyncPrefectClient, owner: str) -> list[UUID]:
    """Ids of the runs of `owner`'s workers that may still come to an end while the pools are paused."""
    names = flow_names(client)
    return [
        run.id
        for run in unfinished_runs(client, owner)
        if names.get(run.flow_id) not in PARENT_FLOWS or not at_rest(_child_states(client, run.id))
    ]


def at_rest(children: Sequence[StateType | None]) -> bool:
    """Whether a parent can do nothing but wait, by the states of its unfinished children; pure.

    It is while one of them waits for a worker and none runs. Without unfinished children it prepares or publishes.
    """
    from prefect.client.schemas.objects import StateType

    return bool(children) and all(state is StateType.SCHEDULED for state in children)


def _child_states(client: SyncPrefectClient, parent_id: UUID) -> list[StateType | None]:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterParentFlowRunId,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import TERMINAL_STATES

    unfinished = FlowRunFilterState(type=FlowRunFilterStateType(not_any_=list(TERMINAL_STATES)))
    parent = FlowRunFilterParentFlowRunId(any_=[parent_id])
    children = client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id=parent, state=unfinished))
    return [child.state_type for child in children]
