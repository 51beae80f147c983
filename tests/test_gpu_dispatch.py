"""What the parent decides about a GPU run, from its state and its heartbeat."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import StateType

from tasks.gpu_watch import RunWatch, judge
from tasks.progress import Heartbeat, ModelProgress, frames_done
from tasks.settings import JobSettings

SETTINGS = JobSettings(stall_timeout_s=100)


def beat(beats: int, **done: int) -> Heartbeat:
    models = {key: ModelProgress(frames_done=frames) for key, frames in done.items()}
    return Heartbeat(group=0, attempt=1, phase="inferring", beats=beats, written_at=datetime.now(UTC), models=models)


@pytest.mark.parametrize("state", [StateType.FAILED, StateType.CRASHED])
def test_a_dead_run_is_started_again_while_that_may_help(state: StateType) -> None:
    assert judge(state, 1.0, SETTINGS, hopeful=True) == "again"
    assert judge(state, 1.0, SETTINGS, hopeful=False) == "done"


def test_a_completed_run_is_done_even_if_frames_are_to_be_tried_by_the_next_job() -> None:
    assert judge(StateType.COMPLETED, 1.0, SETTINGS, hopeful=True) == "done"


def test_only_a_running_run_can_be_too_quiet() -> None:
    assert judge(StateType.PENDING, 500.0, SETTINGS, hopeful=True) == "wait"
    assert judge(StateType.RUNNING, 100.0, SETTINGS, hopeful=True) == "wait"
    assert judge(StateType.RUNNING, 100.1, SETTINGS, hopeful=True) == "stalled"


def test_the_clock_starts_when_the_run_is_running_and_anew_when_it_went_on() -> None:
    watch = RunWatch((), (), uuid4(), quiet_since_s=0.0)
    watch.note(StateType.PENDING, 500.0, went_on=False)
    assert watch.quiet_since_s == 500.0
    watch.note(StateType.RUNNING, 590.0, went_on=False)
    assert watch.quiet_since_s == 500.0
    watch.note(StateType.RUNNING, 600.0, went_on=True)
    assert watch.quiet_since_s == 600.0


def test_a_frame_is_done_when_every_model_has_spoken_of_it() -> None:
    beats = [beat(1, a=30, b=10), beat(1, c=20)]
    assert frames_done(beats, ["a", "b", "c"]) == 10
    assert frames_done([beat(1, a=5), beat(1, a=7)], ["a"]) == 12
    assert frames_done([], ["a"]) == 0
