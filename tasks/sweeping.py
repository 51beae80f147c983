"""Parents without a sign of life: started again, or ended; and the GPU runs that nobody waits for.

A parent's state alone tells nothing: after SIGTERM to its worker it stays RUNNING for ever, and its callers poll that.
What counts is its lease. Started again under its own id, it goes on from what stands in the store.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.states import AwaitingRetry, Cancelled, Crashed

from tasks.gpu_dispatch import cancel_children
from tasks.leases import is_living
from tasks.notification import tell_webhook
from tasks.run_tags import PARENT_FLOWS
from tasks.settings import JobSettings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from tasks.store import Store

_log = logging.getLogger(__name__)

CHILDREN = ("infer-segments",)
MAX_STARTS = 3
"""A parent that died so often is not started again."""
_LOOK_AGAIN_S = 20.0
_PAGE = 200
_UNFINISHED = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)

Fate = Literal["leave", "start again", "crashed", "cancelled"]


@dataclass(frozen=True)
class Swept:
    """A run that was moved, and what became of it."""

    flow_run_id: str
    name: str
    fate: Fate


def fate_of(state_type: StateType, for_s: float, *, living: bool, starts: int, lease_s: float, is_parent: bool) -> Fate:
    """Decide about an unfinished run that has been in its state for `for_s` seconds; pure.

    `living` says that its parent (or it, being one) has a lease that has not run out; `starts` how often it has run.
    """
    if living and state_type is not StateType.CANCELLING:
        return "leave"
    # A run that has just begun has written no lease yet; one that is being cancelled may still be ended in order.
    if for_s < lease_s:
        return "leave"
    if state_type is StateType.CANCELLING:
        return "cancelled"
    return "start again" if is_parent and starts < MAX_STARTS else "crashed"


def sweep(client: SyncPrefectClient, store: Store, settings: JobSettings) -> list[Swept]:
    """Look at every unfinished parent and GPU run, and move those that are dead.

    Who seems so is looked at twice: after a store was away, its lease has run out and is renewed in a moment.
    """
    if not any(_seemingly_dead(client, store, settings, flows) for flows in (PARENT_FLOWS, CHILDREN)):
        return []
    time.sleep(min(_LOOK_AGAIN_S, settings.lease_s / 3))
    moved = [*_moved(client, store, settings, PARENT_FLOWS), *_moved(client, store, settings, CHILDREN)]
    for swept in moved:
        _log.warning("%s (%s): %s", swept.name, swept.flow_run_id, swept.fate)
    for swept in moved:
        if swept.fate in ("crashed", "cancelled"):
            state = _state_for(swept.fate)
            tell_webhook(store, swept.flow_run_id, state.type.value, state.message)
    return moved


def _moved(client: SyncPrefectClient, store: Store, settings: JobSettings, flows: Iterable[str]) -> Iterator[Swept]:
    for run, fate in _seemingly_dead(client, store, settings, flows):
        client.set_flow_run_state(run.id, _state_for(fate), force=True)
        if flows is PARENT_FLOWS:
            cancel_children(client, run.id)
        yield Swept(str(run.id), run.name, fate)


def _seemingly_dead(
    client: SyncPrefectClient, store: Store, settings: JobSettings, flows: Iterable[str]
) -> list[tuple[FlowRun, Fate]]:
    now = datetime.now(UTC)
    found: list[tuple[FlowRun, Fate]] = []
    for run in _unfinished(client, flows):
        if run.state is None:
            continue
        is_parent = flows is PARENT_FLOWS
        jobs = [str(run.id)] if is_parent else _jobs_of(run.parameters)
        fate = fate_of(
            run.state.type,
            (now - run.state.timestamp) / timedelta(seconds=1),
            living=any(is_living(store, job, now=now) for job in jobs),
            starts=run.run_count,
            lease_s=settings.lease_s,
            is_parent=is_parent,
        )
        if fate != "leave":
            found.append((run, fate))
    return found


def _unfinished(client: SyncPrefectClient, flows: Iterable[str]) -> list[FlowRun]:
    of_flows = FlowFilter(name=FlowFilterName(any_=list(flows)))
    unfinished = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_UNFINISHED))))
    runs: list[FlowRun] = []
    while page := client.read_flow_runs(
        flow_filter=of_flows, flow_run_filter=unfinished, limit=_PAGE, offset=len(runs)
    ):
        runs.extend(page)
    return runs


def _jobs_of(parameters: dict[str, Any]) -> list[str]:
    """Ids of the jobs that share a GPU run, by its parameters."""
    others = [other.get("job_id") for other in parameters.get("others") or () if isinstance(other, dict)]
    return [job for job in (parameters.get("job_id"), *others) if isinstance(job, str)]


def _state_for(fate: Fate) -> State[Any]:
    if fate == "start again":
        return AwaitingRetry(message="its process is gone without a word; it goes on from what stands in the store")
    if fate == "cancelled":
        return Cancelled(message="it was cancelled, and no process is left to say so")
    return Crashed(message="its process is gone without a word; submit the request again to do what is missing")
