"""What becomes of runs that nobody speaks for; the whole of it, with a real server, is in test_deaths."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.schemas.objects import StateType

from tasks.sweeping import MAX_STARTS, fate_of

LONG_S = 91.0


def fate(state_type: StateType, for_s: float = LONG_S, **more: Any) -> str:
    given: dict[str, Any] = {"living": False, "starts": 1, "lease_s": 90.0, "is_parent": True} | more
    return fate_of(state_type, for_s, **given)


def test_who_has_a_lease_is_left_alone_however_long_it_runs() -> None:
    assert fate(StateType.RUNNING, 10**6, living=True) == "leave"


def test_who_has_only_begun_may_have_no_lease_yet() -> None:
    assert fate(StateType.RUNNING, 89.0) == "leave"
    assert fate(StateType.PENDING, 89.0) == "leave"


@pytest.mark.parametrize("state", [StateType.RUNNING, StateType.PENDING])
def test_a_dead_parent_starts_again_but_not_for_ever(state: StateType) -> None:
    assert fate(state, starts=MAX_STARTS - 1) == "start again"
    assert fate(state, starts=MAX_STARTS) == "crashed"


def test_a_gpu_run_that_nobody_waits_for_has_crashed() -> None:
    assert fate(StateType.RUNNING, is_parent=False) == "crashed"
    assert fate(StateType.RUNNING, is_parent=False, living=True) == "leave"


def test_what_is_being_cancelled_without_anybody_to_end_it_is_cancelled() -> None:
    assert fate(StateType.CANCELLING, 30.0, living=True) == "leave"
    assert fate(StateType.CANCELLING, living=True) == "cancelled"
    assert fate(StateType.CANCELLING, is_parent=False) == "cancelled"
