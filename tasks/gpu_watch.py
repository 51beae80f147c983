"""GPU runs as those who started them see them: start one, watch what it produces, say what is to be done.

A run's state alone is no proof of life: after SIGTERM to its worker it stays RUNNING for ever. What counts are the
heartbeats that the inferring process writes to the store, one for each job that shares the run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelled, Cancelling

from models.errors import PassingError, PermanentError
from tasks.job_spec import JobSpec, SegmentGroup, digest, living_attempt, write_attempt
from tasks.plans import Plan
from tasks.progress import read_heartbeat, read_heartbeats
from tasks.run_tags import video_tag
from tasks.settings import JobSettings
from tasks.shards import finished_shards
from tasks.store import Store

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_log = logging.getLogger(__name__)

Verdict = Literal["wait", "done", "again"]
CANCEL_GRACE_S = 60.0
"""How long a worker may take to end a run that was given up, before its state is set without it."""
_MOST_TAGGED = 20
_ENDED_BADLY = (StateType.FAILED, StateType.CRASHED)


class NoDeploymentError(PermanentError):
    """No deployment of `infer-segments` serves the pool that a model asks for."""


class PrefectUnreachableError(PassingError):
    """A GPU run could not be started because Prefect's API did not answer."""


class RunCancelledError(PermanentError):
    """Somebody cancelled a GPU run."""


@dataclass(frozen=True)
class Part:
    """A group of one job's segments, as one GPU run is asked to do it."""

    spec: JobSpec
    group: SegmentGroup
    plan: Plan


@dataclass
class RunWatch:
    """What is known of a GPU run that was started. Times are of the monotonic clock."""

    parts: tuple[Part, ...]
    attempts: tuple[int, ...]
    """Of each part, counted over the job's whole life."""
    flow_run_id: UUID
    tries_left: int = 0
    """How often what is missing may be started again."""
    beats: dict[int, int] = field(default_factory=dict)
    """The last heartbeat that was seen of each part, by its place."""
    quiet_since_s: float = field(default_factory=time.monotonic)
    started_at_s: float = field(default_factory=time.monotonic)
    given_up_at_s: float | None = None
    """When it was given up and its worker told to end it."""

    def note(self, state_type: StateType | None, now_s: float, *, went_on: bool) -> None:
        """Restart the clock while the run isn't RUNNING yet, and whenever one of its heartbeats went on."""
        if state_type is not StateType.RUNNING or went_on:
            self.quiet_since_s = now_s


def judge(state_type: StateType | None, quiet_s: float, settings: JobSettings, *, hopeful: bool) -> str:
    """Decide about a run that was not given up: wait, done, again, or stalled; pure.

    `hopeful` says that shards are missing which another attempt may give.
    """
    if state_type is StateType.COMPLETED:
        return "done"
    if state_type in _ENDED_BADLY:
        return "again" if hopeful else "done"
    if state_type is StateType.RUNNING and quiet_s > settings.stall_timeout_s:
        return "stalled"
    return "wait"


def start_run(store: Store, parts: Sequence[Part], *, tries_left: int, queue: str | None = None) -> RunWatch:
    """Start a GPU run for parts of one pool as a child of the running flow; doesn't wait for it.

    `queue` is the pool's work queue, the deployment's own unless given. Raises `NoDeploymentError` where the pool has
    none, and `PrefectUnreachableError`.
    """
    from prefect.deployments import run_deployment

    attempts = [living_attempt(store, part.spec.job_id, part.group.number) + 1 for part in parts]
    for part, attempt in zip(parts, attempts, strict=True):
        write_attempt(store, part.spec.job_id, part.group.number, attempt)
    named = [
        {"job_id": part.spec.job_id, "group": part.group.number, "attempt": attempt}
        for part, attempt in zip(parts, attempts, strict=True)
    ]
    pool = parts[0].group.pool
    try:
        run = run_deployment(
            f"infer-segments/{pool}",
            parameters={**named[0], "others": named[1:]},
            timeout=0,
            tags=_tags(parts),
            idempotency_key=digest(named),
            work_queue_name=queue,
        )
    except httpx.HTTPError as error:
        raise PrefectUnreachableError(
            f"Prefect's API did not answer when a GPU run was to be started ({type(error).__name__}); submit again."
        ) from error
    except ObjectNotFound as error:
        raise NoDeploymentError(
            f"no deployment infer-segments/{pool} serves the GPU pool {pool!r}; "
            f"name another pool, or start one with `reelmill up --gpu-pool {pool}`."
        ) from error
    _log.info("started a GPU run on pool %s for %d groups", pool, len(parts))
    return RunWatch(tuple(parts), tuple(attempts), cast("FlowRun", run).id, tries_left)


def look_at(watch: RunWatch, store: Store, settings: JobSettings) -> Verdict:
    """Look at the run once: wait on, take it as done, or `start_again`.

    A run that fell silent is cancelled; one that no worker ends is taken out of its pool's count after a minute. Raises
    `RunCancelledError` where somebody else cancelled it.
    """
    state = _state_of(watch.flow_run_id)
    if state is None:
        return "wait"
    now_s = time.monotonic()
    if watch.given_up_at_s is not None:
        return _verdict_on_given_up(watch, state, store, now_s)
    if state.type is StateType.CANCELLED:
        raise RunCancelledError(f"the GPU run {watch.flow_run_id} was cancelled; submit the request again to go on.")
    watch.note(state.type, now_s, went_on=_went_on(watch, store))
    hopeful = state.type in _ENDED_BADLY and bool(unfinished_parts(watch, store))
    verdict = judge(state.type, now_s - watch.quiet_since_s, settings, hopeful=hopeful)
    if verdict == "stalled":
        _log.warning("no heartbeat of %s for %.0f s; it is ended", watch.flow_run_id, settings.stall_timeout_s)
        set_state(watch.flow_run_id, Cancelling(message="no heartbeat"))
        watch.given_up_at_s = now_s
        return "wait"
    return cast("Verdict", verdict)


def start_again(watch: RunWatch, store: Store, *, queue: str | None = None) -> RunWatch:
    """Start what the run has left undone. Raises as `start_run` does."""
    return start_run(store, unfinished_parts(watch, store), tries_left=watch.tries_left - 1, queue=queue)


def unfinished_parts(watch: RunWatch, store: Store) -> list[Part]:
    """The parts that another try may finish, where one is left."""
    return [part for part in watch.parts if is_hopeful(store, part)] if watch.tries_left > 0 else []


def is_hopeful(store: Store, part: Part) -> bool:
    """Whether a model of the group misses shards and hasn't failed for good."""
    beat = read_heartbeats(store, part.spec.job_id).get(part.group.number)
    wanted = {part.plan.segments[segment] for segment in part.group.segments}
    for model in part.spec.models_of(part.group):
        told = beat.models.get(model.key) if beat is not None else None
        failed_for_good = told is not None and told.error is not None and not told.passing
        if not failed_for_good and wanted - finished_shards(store, model.fingerprint):
            return True
    return False


def set_state(flow_run_id: UUID, state: State) -> None:
    """Move a run to `state`, whatever rules Prefect has for that."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, state, force=True)


def _tags(parts: Sequence[Part]) -> list[str]:
    """What a run of few jobs is found by. One of many has none: Prefect's server fails on 100; leases hold too."""
    if len(parts) > _MOST_TAGGED:
        return []
    return sorted({tag for part in parts for tag in (video_tag(part.spec.video.video_id), f"job:{part.spec.job_id}")})


def _went_on(watch: RunWatch, store: Store) -> bool:
    """Whether any part's heartbeat is a newer one; a run of many jobs needn't be asked for all of them."""
    for place, (part, attempt) in enumerate(zip(watch.parts, watch.attempts, strict=True)):
        beat = read_heartbeat(store, part.spec.job_id, part.group.number, attempt)
        beats = 0 if beat is None else beat.beats
        if beats != watch.beats.get(place, 0):
            watch.beats[place] = beats
            return True
    return False


def _verdict_on_given_up(watch: RunWatch, state: State[Any], store: Store, now_s: float) -> Verdict:
    """Wait until its worker has ended it; a worker that is gone never will, and the pool would count it for ever."""
    if not state.is_final():
        if now_s - (watch.given_up_at_s or now_s) < CANCEL_GRACE_S:
            return "wait"
        set_state(watch.flow_run_id, Cancelled(message="no heartbeat, and no worker ended it"))
    return "again" if unfinished_parts(watch, store) else "done"


def _state_of(flow_run_id: UUID) -> State[Any] | None:
    """The run's state, or None while the server cannot be reached: the run may go on without it."""
    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(flow_run_id).state
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        _log.warning("Prefect's API cannot be reached (%s); asked again later", error)
        return None
