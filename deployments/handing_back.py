"""What becomes of runs whose workers end: jobs are handed back to go on later, everything else gets a final state.

A worker that is ended leaves its runs RUNNING for ever, and each holds a slot of its pool's limit. A job's parent,
started again under its own id, goes on from what stands in the store. Runs of other machines' workers are left alone:
a run carries its worker's name as a label.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tasks.run_tags import PARENT_FLOWS

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State, StateType

WORKER_LABEL = "prefect.worker.name"
"""Prefect's worker gives it to a run before it takes it."""

_PAGE = 200
_STOPPED = "its worker was stopped; it goes on when there are workers again."
_STOPPED_FOR_GOOD = "its worker was stopped; a job does what is missing by another run, everything else is run again."


def state_after_stop(flow_name: str | None, state_type: StateType | None) -> State[Any]:
    """The state of a run whose worker is gone, by its flow and the state that it was in; pure.

    A run that somebody was cancelling is cancelled, a parent waits for the next worker, anything else has crashed.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.states import AwaitingRetry, Cancelled, Crashed

    if state_type is StateType.CANCELLING:
        return Cancelled(message="cancelled, and its worker was stopped")
    if flow_name in PARENT_FLOWS:
        return AwaitingRetry(message=_STOPPED, scheduled_time=datetime.now(UTC))
    return Crashed(message=_STOPPED_FOR_GOOD)


def unfinished_runs(client: SyncPrefectClient, owner: str) -> list[FlowRun]:
    """The runs of `owner`'s workers that the server takes for running: RUNNING, PENDING and CANCELLING."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    unfinished = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=unfinished))
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=FlowRunFilter(state=state), limit=_PAGE, offset=len(found)):
        found += page
    return [run for run in found if is_owned(run.labels, owner)]


def is_owned(labels: Mapping[str, object], owner: str) -> bool:
    """Whether a run with these labels was taken by one of `owner`'s workers; pure."""
    return str(labels.get(WORKER_LABEL, "")).startswith(f"{owner}-")


def flow_names(client: SyncPrefectClient) -> dict[UUID, str]:
    """The names of the flows that can go on, by id."""
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    names = FlowFilterName(any_=list(PARENT_FLOWS))
    return {flow.id: flow.name for flow in client.read_flows(flow_filter=FlowFilter(name=names))}


def unfinished_parents(client: SyncPrefectClient, owner: str) -> list[UUID]:
    """Ids of `owner`'s parents that run and that nobody is cancelling: those that `hand_back` is to make go on."""
    from prefect.client.schemas.objects import StateType

    names = flow_names(client)
    return [
        run.id
        for run in unfinished_runs(client, owner)
        if names.get(run.flow_id) in PARENT_FLOWS and run.state_type is not StateType.CANCELLING
    ]


def hand_back(client: SyncPrefectClient, owner: str, *, noted: Collection[UUID] = ()) -> None:
    """Give every run that `owner`'s workers had the state that it has without them; call when none of them runs.

    `noted` parents are handed back too where they crashed meanwhile: the signal that ends a worker may reach its runs.
    """
    from prefect.client.schemas.objects import StateType

    names = flow_names(client)
    ended = unfinished_runs(client, owner)
    ended += [run for run in _by_id(client, noted) if run.state_type is StateType.CRASHED]
    _settle(client, ended, names)


def _settle(client: SyncPrefectClient, runs: Sequence[FlowRun], names: Mapping[UUID, str]) -> None:
    """Children are cancelled first: one that still waits would start without its parent when there are workers again.

    A GPU run whose parent goes on elsewhere crashes: the parent then starts another attempt.
    """
    from tasks.gpu_dispatch import cancel_children

    for run in runs:
        cancel_children(client, run.id)
    for run in runs:
        now = client.read_flow_run(run.id)
        client.set_flow_run_state(run.id, state_after_stop(names.get(run.flow_id), now.state_type), force=True)


def _by_id(client: SyncPrefectClient, ids: Collection[UUID]) -> list[FlowRun]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    if not ids:
        return []
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(ids))), limit=_PAGE)
