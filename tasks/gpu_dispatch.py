"""The parent's side of GPU runs: start one for each group, watch what they produce, start again what is missing.

A run's state alone is no proof of life: after SIGTERM to its worker it stays RUNNING for ever. What counts is the
heartbeat that the inferring process writes to the store.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.states import Cancelled, Cancelling

from models.errors import PassingError, PermanentError
from tasks.job_spec import JobSpec, SegmentGroup, write_attempt
from tasks.plans import Plan, plan_from_bytes
from tasks.progress import Heartbeat, read_heartbeats, repeating
from tasks.run_endings import wait_for_an_ending
from tasks.settings import JobSettings
from tasks.shards import finished_shards
from tasks.store import Store

_log = logging.getLogger(__name__)

Verdict = Literal["wait", "done", "again", "stalled"]
CANCEL_GRACE_S = 60.0
"""How long a worker may take to end a run that was given up, before its state is set without it."""


class NoDeploymentError(PermanentError):
    """No deployment of `infer-segments` serves the pool that a model asks for."""


class PrefectUnreachableError(PassingError):
    """A GPU run could not be started because Prefect's API did not answer."""


class GroupCancelledError(PermanentError):
    """Somebody cancelled a GPU run of the job."""


@dataclass
class Watch:
    """What the parent knows of the living attempt at a group. Times are of the monotonic clock."""

    group: SegmentGroup
    attempt: int
    flow_run_id: UUID
    last_beats: int = -1
    quiet_since_s: float = field(default_factory=time.monotonic)
    started_at_s: float = field(default_factory=time.monotonic)
    cancelled_at_s: float | None = None
    """When the parent gave it up and told its worker to end it."""

    def note(self, state_type: StateType | None, beat: Heartbeat | None, now_s: float) -> None:
        """Restart the clock while the run isn't RUNNING yet, and whenever its heartbeat went on."""
        beats = beat.beats if beat is not None and beat.attempt == self.attempt else 0
        if state_type is not StateType.RUNNING or beats != self.last_beats:
            self.quiet_since_s = now_s
        self.last_beats = beats


def judge(watch: Watch, state_type: StateType | None, now_s: float, settings: JobSettings, *, hopeful: bool) -> Verdict:
    """Decide about one group; pure. `hopeful` says that shards are missing which another attempt may give."""
    if state_type is StateType.COMPLETED:
        return "done"
    if state_type in (StateType.FAILED, StateType.CRASHED):
        return "again" if hopeful and watch.attempt < settings.max_attempts else "done"
    if state_type is StateType.RUNNING and now_s - watch.quiet_since_s > settings.stall_timeout_s:
        return "stalled"
    return "wait"


def hopeful(store: Store, spec: JobSpec, plan: Plan, group: SegmentGroup, beat: Heartbeat | None) -> bool:
    """Whether a model of the group misses shards and hasn't failed for good."""
    wanted = {plan.segments[segment] for segment in group.segments}
    for model in spec.models_of(group):
        told = beat.models.get(model.key) if beat is not None else None
        failed_for_good = told is not None and told.error is not None and not told.passing
        if not failed_for_good and wanted - finished_shards(store, model.fingerprint):
            return True
    return False


def start_group(spec: JobSpec, store: Store, group: SegmentGroup, attempt: int) -> Watch:
    """Start a GPU run on the group's pool as a child of the running flow; doesn't wait for it.

    Raises `NoDeploymentError` where the pool has none.
    """
    from prefect.deployments import run_deployment

    write_attempt(store, spec.job_id, group.number, attempt)
    try:
        run = run_deployment(
            f"infer-segments/{group.pool}",
            parameters={"job_id": spec.job_id, "group": group.number, "attempt": attempt},
            timeout=0,
            tags=[f"video:{spec.video.video_id}", f"job:{spec.job_id}"],
            idempotency_key=f"{spec.job_id}-{group.number}-{attempt}",
        )
    except httpx.HTTPError as error:
        raise PrefectUnreachableError(
            f"Prefect's API did not answer when a GPU run was to be started ({type(error).__name__}); submit again."
        ) from error
    except ObjectNotFound as error:
        raise NoDeploymentError(
            f"no deployment infer-segments/{group.pool} serves the GPU pool {group.pool!r}; "
            f"name another pool, or start one with `reelmill up --gpu-pool {group.pool}`."
        ) from error
    _log.info("started attempt %d at group %d on pool %s", attempt, group.number, group.pool)
    return Watch(group, attempt, cast("FlowRun", run).id)


def run_groups(
    spec: JobSpec, store: Store, settings: JobSettings, *, look: Callable[[], None], inline: Flow[..., Any]
) -> None:
    """Run every group of the job to its end, on GPU pools or `inline` in this process; `look` is called meanwhile.

    Returns when nothing more can be had; what is missing then shows in the result.
    """
    plan = plan_from_bytes(store.read(spec.plan_key))
    if settings.dispatch == "inline":
        with repeating(look, every_s=settings.poll_s):
            for group in spec.groups:
                run_inline(inline, spec, store, plan, group, settings)
    else:
        run_on_pools(spec, store, plan, settings, look)


def run_inline(
    inline: Flow[..., Any], spec: JobSpec, store: Store, plan: Plan, group: SegmentGroup, settings: JobSettings
) -> None:
    """Run one group in this process, again while that may give more."""
    for attempt in range(1, settings.max_attempts + 1):
        write_attempt(store, spec.job_id, group.number, attempt)
        state = cast("State[Any]", inline(spec.job_id, group.number, attempt, return_state=True))
        beat = read_heartbeats(store, spec.job_id).get(group.number)
        if state.is_completed() or not hopeful(store, spec, plan, group, beat):
            return


def run_on_pools(spec: JobSpec, store: Store, plan: Plan, settings: JobSettings, look: Callable[[], None]) -> None:
    """Run every group on its pool to its end, starting again what dies; calls `look` at every round.

    Returns when nothing more can be had; what is missing then shows in the result.
    """
    watches = [start_group(spec, store, group, attempt=1) for group in spec.groups]
    while watches:
        youngest_s = time.monotonic() - max(watch.started_at_s for watch in watches)
        wait_for_an_ending([watch.flow_run_id for watch in watches], most_s=settings.poll_s, age_s=youngest_s)
        beats = read_heartbeats(store, spec.job_id)
        watches = [
            going_on
            for watch in watches
            if (going_on := _look_at(watch, spec, store, plan, settings, beats.get(watch.group.number))) is not None
        ]
        look()


def _look_at(
    watch: Watch, spec: JobSpec, store: Store, plan: Plan, settings: JobSettings, beat: Heartbeat | None
) -> Watch | None:
    state = _state_of(watch.flow_run_id)
    if state is None:
        return watch
    now_s = time.monotonic()
    more = hopeful(store, spec, plan, watch.group, beat)
    if watch.cancelled_at_s is not None:
        verdict = _verdict_on_given_up(watch, state, now_s, settings, hopeful=more)
    elif state.type is StateType.CANCELLED:
        raise GroupCancelledError(f"the GPU run {watch.flow_run_id} was cancelled; submit the request again to go on.")
    else:
        watch.note(state.type, beat, now_s)
        verdict = judge(watch, state.type, now_s, settings, hopeful=more)
    if verdict == "stalled":
        _log.warning("no heartbeat of %s for %.0f s; it is ended", watch.flow_run_id, settings.stall_timeout_s)
        set_state(watch.flow_run_id, Cancelling(message="no heartbeat"))
        watch.cancelled_at_s = now_s
    if verdict == "again":
        return start_group(spec, store, watch.group, watch.attempt + 1)
    return None if verdict == "done" else watch


def _verdict_on_given_up(watch: Watch, state: State, now_s: float, settings: JobSettings, *, hopeful: bool) -> Verdict:
    """Wait until its worker has ended it; a worker that is gone never will, and the pool would count it for ever."""
    if not state.is_final():
        if now_s - (watch.cancelled_at_s or now_s) < CANCEL_GRACE_S:
            return "wait"
        set_state(watch.flow_run_id, Cancelled(message="no heartbeat, and no worker ended it"))
    return "again" if hopeful and watch.attempt < settings.max_attempts else "done"


def _state_of(flow_run_id: UUID) -> State | None:
    """The run's state, or None while the server cannot be reached: the run may go on without it."""
    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(flow_run_id).state
    except httpx.HTTPError as error:
        _log.warning("Prefect's API cannot be reached (%s); asked again later", error)
        return None


def set_state(flow_run_id: UUID, state: State) -> None:
    """Move a run to `state`, whatever rules Prefect has for that."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, state, force=True)


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
