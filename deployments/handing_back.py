"""What becomes of runs whose workers end: jobs are handed back to go on later, everything else gets a final state.

A worker that is ended leaves its runs RUNNING for ever, and each holds a slot of its pool's limit. A job's parent,
started again under its own id, goes on from what stands in the store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State, StateType

RESUMABLE_FLOWS = ("infer-video", "backfill-videos")
"""Parents: started again under the same id, they do what is missing."""
GPU_FLOW = "infer-segments"
"""Children: their parent starts another attempt."""

_PAGE = 200
_STOPPED = "its worker was stopped; it goes on when there are workers again."
_STOPPED_CHILD = "its worker was stopped; its job starts another attempt when it goes on."
_STOPPED_FOR_GOOD = "its worker was stopped; run it again."


def state_after_stop(flow_name: str | None, state_type: StateType | None) -> State[Any]:
    """The state of a run whose worker is gone, by its flow and the state that it was in; pure.

    A run that somebody was cancelling is cancelled, a parent waits for the next worker, a GPU run is cancelled, and
    what cannot go on has crashed.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.states import AwaitingRetry, Cancelled, Crashed

    if state_type is StateType.CANCELLING:
        return Cancelled(message="cancelled, and its worker was stopped")
    if flow_name in RESUMABLE_FLOWS:
        return AwaitingRetry(message=_STOPPED, scheduled_time=datetime.now(UTC))
    if flow_name == GPU_FLOW:
        return Cancelled(message=_STOPPED_CHILD)
    return Crashed(message=_STOPPED_FOR_GOOD)


def unfinished_runs(client: SyncPrefectClient) -> list[FlowRun]:
    """All runs that the server takes for running: RUNNING, PENDING and CANCELLING."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    unfinished = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=unfinished))
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=FlowRunFilter(state=state), limit=_PAGE, offset=len(found)):
        found += page
    return found


def flow_names(client: SyncPrefectClient) -> dict[UUID, str]:
    """The names of the flows that matter here, by id."""
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    names = FlowFilterName(any_=[*RESUMABLE_FLOWS, GPU_FLOW])
    return {flow.id: flow.name for flow in client.read_flows(flow_filter=FlowFilter(name=names))}


def unfinished_parents(client: SyncPrefectClient) -> list[UUID]:
    """Ids of the parents that run and that nobody is cancelling: those that `hand_back` is to make go on."""
    from prefect.client.schemas.objects import StateType

    names = flow_names(client)
    return [
        run.id
        for run in unfinished_runs(client)
        if names.get(run.flow_id) in RESUMABLE_FLOWS and run.state_type is not StateType.CANCELLING
    ]


def hand_back(client: SyncPrefectClient, *, noted: Collection[UUID] = ()) -> None:
    """Give every run that the server takes for running the state that it has without a worker; call when none runs.

    `noted` parents are handed back too where they crashed meanwhile: the signal that ends a worker may reach its runs.
    """
    from prefect.client.schemas.objects import StateType

    names = flow_names(client)
    ended = unfinished_runs(client)
    ended += [run for run in _by_id(client, noted) if run.state_type is StateType.CRASHED]
    _settle(client, ended, names)


def _settle(client: SyncPrefectClient, runs: Sequence[FlowRun], names: Mapping[UUID, str]) -> None:
    """Children first: one that still waits would start without its parent when there are workers again."""
    from tasks.gpu_dispatch import cancel_children

    for run in runs:
        cancel_children(client, run.id)
    for run in runs:
        state = state_after_stop(names.get(run.flow_id), run.state_type)
        client.set_flow_run_state(run.id, state, force=True)


def _by_id(client: SyncPrefectClient, ids: Collection[UUID]) -> list[FlowRun]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    if not ids:
        return []
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(ids))), limit=_PAGE)
