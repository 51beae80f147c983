"""The parent's side of GPU runs: one for each group, in this process or on pools, started again while that may help."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.flows import Flow
from prefect.states import Cancelled, Cancelling

from tasks.gpu_watch import Part, RunWatch, is_hopeful, look_at, start_again, start_run
from tasks.job_spec import JobSpec, living_attempt, write_attempt
from tasks.plans import plan_from_bytes
from tasks.progress import repeating
from tasks.run_endings import wait_for_an_ending
from tasks.settings import JobSettings, StoreSettings
from tasks.store import Store
from tasks.store_patience import patiently


def run_groups(
    spec: JobSpec, store: Store, settings: JobSettings, *, look: Callable[[], None], inline: Flow[..., Any]
) -> None:
    """Run every group of the job to its end, on GPU pools or `inline` in this process; `look` is called meanwhile.

    Returns when nothing more can be had; what is missing then shows in the result.
    """
    plan = plan_from_bytes(store.read(spec.plan_key))
    parts = [Part(spec, group, plan) for group in spec.groups]
    if settings.dispatch == "inline":
        with repeating(look, every_s=settings.poll_s):
            for part in parts:
                run_inline(inline, store, part, settings)
    else:
        run_on_pools(parts, store, settings, look)


def run_inline(inline: Flow[..., Any], store: Store, part: Part, settings: JobSettings) -> None:
    """Run one group in this process, again while that may give more."""
    job_id, group = part.spec.job_id, part.group.number
    for _ in range(settings.max_attempts):
        attempt = living_attempt(store, job_id, group) + 1
        write_attempt(store, job_id, group, attempt)
        state = cast("State[Any]", inline(job_id, group, attempt, return_state=True))
        if state.is_completed() or not is_hopeful(store, part):
            return


def run_on_pools(parts: Sequence[Part], store: Store, settings: JobSettings, look: Callable[[], None]) -> None:
    """Run every group on its pool to its end, starting again what dies; calls `look` at every round.

    GPU runs from before this parent was started again are ended first. Returns when nothing more can be had; what is
    missing then shows in the result.
    """
    if any(living_attempt(store, part.spec.job_id, part.group.number) for part in parts):
        with get_client(sync_client=True) as client:
            cancel_children(client, UUID(parts[0].spec.job_id))
    patience_s = StoreSettings().store_patience_s
    tries_left = settings.max_attempts - 1
    watches = [
        patiently(partial(start_run, store, [part], tries_left=tries_left), patience_s=patience_s) for part in parts
    ]
    while watches:
        youngest_s = time.monotonic() - max(watch.started_at_s for watch in watches)
        wait_for_an_ending([watch.flow_run_id for watch in watches], most_s=settings.poll_s, age_s=youngest_s)
        watches = list(_followed(watches, store, settings))
        patiently(look, patience_s=patience_s)


def _followed(watches: Sequence[RunWatch], store: Store, settings: JobSettings) -> Iterator[RunWatch]:
    """The runs that go on; while the store is away nobody can be told from a silent one."""
    patience_s = StoreSettings().store_patience_s
    for watch in watches:
        began_s = time.monotonic()
        verdict = patiently(partial(look_at, watch, store, settings), patience_s=patience_s)
        watch.quiet_since_s += max(0.0, time.monotonic() - began_s - settings.poll_s)
        if verdict == "again":
            yield patiently(partial(start_again, watch, store), patience_s=patience_s)
        elif verdict == "wait":
            yield watch


def cancel_children(client: SyncPrefectClient, parent_id: UUID) -> int:
    """Cancel the unfinished GPU runs of a job; returns how many there were."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterParentFlowRunId,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )

    living = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]
    children = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent_id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=living)),
        )
    )
    for child in children:
        state: State[Any] = Cancelled() if child.state and child.state.type is StateType.SCHEDULED else Cancelling()
        client.set_flow_run_state(child.id, state, force=True)
    return len(children)
