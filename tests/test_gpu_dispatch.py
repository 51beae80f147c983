"""What the parent decides about a GPU run, from its state and its heartbeat."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import StateType

from tasks.gpu_dispatch import Watch, judge
from tasks.job_spec import SegmentGroup
from tasks.progress import Heartbeat, ModelProgress, frames_done
from tasks.settings import JobSettings

GROUP = SegmentGroup(number=0, pool="gpu", model_keys=("m",), segments=(0,))
SETTINGS = JobSettings(stall_timeout_s=100, max_attempts=2)


def watch(attempt: int = 1) -> Watch:
    return Watch(GROUP, attempt, uuid4(), quiet_since_s=0.0)


def beat(beats: int, attempt: int = 1, **done: int) -> Heartbeat:
    models = {key: ModelProgress(frames_done=frames) for key, frames in done.items()}
    return Heartbeat(
        group=0, attempt=attempt, phase="inferring", beats=beats, written_at=datetime.now(UTC), models=models
    )


@pytest.mark.parametrize("state", [StateType.FAILED, StateType.CRASHED])
def test_a_dead_run_is_started_again_while_shards_are_missing_and_attempts_left(state: StateType) -> None:
    assert judge(watch(1), state, 1.0, SETTINGS, hopeful=True) == "again"
    assert judge(watch(1), state, 1.0, SETTINGS, hopeful=False) == "done"
    assert judge(watch(2), state, 1.0, SETTINGS, hopeful=True) == "done"


def test_a_completed_run_is_done_even_if_frames_are_to_be_tried_by_the_next_job() -> None:
    assert judge(watch(), StateType.COMPLETED, 1.0, SETTINGS, hopeful=True) == "done"


def test_the_clock_starts_when_the_run_is_running() -> None:
    waiting = watch()
    waiting.note(StateType.PENDING, None, now_s=500.0)
    assert judge(waiting, StateType.PENDING, 500.0, SETTINGS, hopeful=True) == "wait"
    waiting.note(StateType.RUNNING, None, now_s=500.5)
    assert judge(waiting, StateType.RUNNING, 600.0, SETTINGS, hopeful=True) == "wait"
    assert judge(waiting, StateType.RUNNING, 601.0, SETTINGS, hopeful=True) == "stalled"


def test_a_heartbeat_that_goes_on_restarts_the_clock_and_one_that_stands_does_not() -> None:
    running = watch()
    running.note(StateType.RUNNING, beat(1), now_s=10.0)
    running.note(StateType.RUNNING, beat(2), now_s=90.0)
    running.note(StateType.RUNNING, beat(2), now_s=180.0)
    assert judge(running, StateType.RUNNING, 189.0, SETTINGS, hopeful=True) == "wait"
    assert judge(running, StateType.RUNNING, 191.0, SETTINGS, hopeful=True) == "stalled"


def test_the_heartbeat_of_an_older_attempt_is_no_sign_of_life() -> None:
    second = watch(attempt=2)
    second.note(StateType.RUNNING, beat(7, attempt=1), now_s=10.0)
    second.note(StateType.RUNNING, beat(8, attempt=1), now_s=90.0)
    assert judge(second, StateType.RUNNING, 111.0, SETTINGS, hopeful=True) == "stalled"


def test_a_frame_is_done_when_every_model_has_spoken_of_it() -> None:
    beats = [beat(1, a=30, b=10), beat(1, c=20)]
    assert frames_done(beats, ["a", "b", "c"]) == 10
    assert frames_done([beat(1, a=5), beat(1, a=7)], ["a"]) == 12
    assert frames_done([], ["a"]) == 0
