"""What becomes of runs when their workers end, on a real server; and how long is waited before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.states import Cancelling, Completed, Crashed, Pending, Running, Scheduled

from deployments.draining import at_rest, drain, pause_pools, resume_pools, runs_that_move
from deployments.handing_back import WORKER_LABEL, hand_back, state_after_stop, unfinished_parents, unfinished_runs
from deployments.registration import make_pool
from flows.infer_segments import infer_segments
from flows.infer_video import infer_video

OWNER = "here-1234"


@flow
def something_else() -> None:
    """Neither a job nor a part of one."""


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client
        for run in unfinished_runs(client, OWNER):
            client.set_flow_run_state(run.id, Crashed(), force=True)


def start(
    client: SyncPrefectClient, a_flow, state: State, parent: UUID | None = None, worker: str = f"{OWNER}-cpu"
) -> UUID:
    """A flow run in `state` that `worker` has taken, with nobody running it; `parent` is the run that started it."""
    if parent is None:
        run = client.create_flow_run(a_flow, parameters={}, state=Scheduled())
    else:
        task_run = client.request(
            "POST",
            "/task_runs/",
            json={"flow_run_id": str(parent), "task_key": "child", "dynamic_key": str(time.time())},
        )
        run = client.create_flow_run(a_flow, parameters={}, parent_task_run_id=task_run.json()["id"], state=Scheduled())
    client.update_flow_run_labels(run.id, {WORKER_LABEL: worker})
    client.set_flow_run_state(run.id, state, force=True)
    return run.id


def type_of(client: SyncPrefectClient, run_id: UUID) -> StateType:
    state = client.read_flow_run(run_id).state
    assert state is not None
    return state.type


@pytest.mark.parametrize("state", [Running(), Pending()])
def test_a_job_is_handed_back_and_its_gpu_runs_are_cancelled(client, state) -> None:
    job = start(client, infer_video, state)
    running, waiting = (start(client, infer_segments, its, parent=job) for its in (Running(), Scheduled()))

    hand_back(client, OWNER)

    handed = client.read_flow_run(job).state
    assert (handed.type, handed.name) == (StateType.SCHEDULED, "AwaitingRetry")
    assert "goes on" in handed.message
    assert {type_of(client, child) for child in (running, waiting)} == {StateType.CANCELLED}


def test_what_cannot_go_on_is_ended(client) -> None:
    other, cancelling = start(client, something_else, Running()), start(client, infer_video, Cancelling())

    hand_back(client, OWNER)

    assert type_of(client, other) is StateType.CRASHED
    assert type_of(client, cancelling) is StateType.CANCELLED


def test_a_job_that_the_ending_of_its_worker_crashed_is_handed_back_and_no_other_crashed_one(client) -> None:
    noted, long_dead, done = (start(client, infer_video, state) for state in (Running(), Crashed(), Running()))
    ids = unfinished_parents(client, OWNER)
    client.set_flow_run_state(noted, Crashed(), force=True)
    client.set_flow_run_state(done, Completed(), force=True)

    hand_back(client, OWNER, noted=ids)

    assert type_of(client, noted) is StateType.SCHEDULED
    assert type_of(client, long_dead) is StateType.CRASHED
    assert type_of(client, done) is StateType.COMPLETED


def test_runs_of_other_machines_are_left_alone(client) -> None:
    theirs = start(client, infer_video, Running(), worker="there-1234-cpu")
    near_name = start(client, infer_video, Running(), worker=f"{OWNER}5-cpu")
    part_of_theirs = start(client, infer_segments, Running(), parent=theirs)

    hand_back(client, OWNER)

    assert type_of(client, theirs) is type_of(client, near_name) is StateType.RUNNING
    assert type_of(client, part_of_theirs) is StateType.CRASHED, "its parent is to start another attempt"


def test_a_backfill_goes_on_as_a_job_does() -> None:
    assert state_after_stop("backfill-videos", StateType.RUNNING).name == "AwaitingRetry"


def test_a_parent_is_at_rest_while_its_runs_cannot_start() -> None:
    assert at_rest([StateType.SCHEDULED, StateType.SCHEDULED])
    assert not at_rest([StateType.SCHEDULED, StateType.RUNNING])
    assert not at_rest([]), "it prepares or publishes"


def test_draining_waits_for_gpu_runs_and_not_for_parents_of_paused_ones(client) -> None:
    make_pool(client, "drained", concurrency_limit=1)
    job = start(client, infer_video, Running())
    running = start(client, infer_segments, Running(), parent=job)
    start(client, infer_segments, Scheduled(), parent=job)
    assert set(runs_that_move(client, OWNER)) == {job, running}
    said: list[str] = []
    end = threading.Timer(1.0, client.set_flow_run_state, (running, Completed()), {"force": True})
    end.start()
    begun_s = time.monotonic()

    whole = drain(client, ["drained"], OWNER, within_s=60, hurry=threading.Event(), say=said.append)

    assert 0.5 < time.monotonic() - begun_s < 30
    assert not whole, "the job is not done"
    assert len(said) == 1
    assert client.read_work_pool("drained").is_paused
    resume_pools(client, ["drained"])
    assert not client.read_work_pool("drained").is_paused


def test_a_second_signal_and_the_time_limit_end_the_draining(client) -> None:
    make_pool(client, "drained", concurrency_limit=1)
    start(client, infer_segments, Running())
    hurry = threading.Event()
    threading.Timer(0.3, hurry.set).start()
    begun_s = time.monotonic()
    assert not drain(client, ["drained"], OWNER, within_s=60, hurry=hurry, say=print)
    assert not drain(client, ["drained"], OWNER, within_s=0.5, hurry=threading.Event(), say=print)
    assert time.monotonic() - begun_s < 15


def test_nothing_is_waited_for_where_nothing_runs(client) -> None:
    make_pool(client, "drained", concurrency_limit=1)
    pause_pools(client, ["drained"])
    assert drain(client, ["drained"], OWNER, within_s=60, hurry=threading.Event(), say=pytest.fail)
