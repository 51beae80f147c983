"""Waiting for flow runs: a run's end is seen soon after it, and a long run is not asked after all the time."""

from __future__ import annotations

import threading
import time
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Running

from tasks.run_endings import between_questions_s, wait_for_an_ending


@flow
def nothing() -> None:
    """Stand for any flow."""


@pytest.fixture
def running_run(prefect_server: str) -> UUID:
    with get_client(sync_client=True) as client:
        return client.create_flow_run(nothing, state=Running()).id


def waited_s(run_id: UUID, *, most_s: float) -> float:
    started_s = time.monotonic()
    wait_for_an_ending([run_id], most_s=most_s, age_s=0.0)
    return time.monotonic() - started_s


def test_an_ending_ends_the_wait(running_run: UUID) -> None:
    def end() -> None:
        time.sleep(0.5)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(running_run, Completed(), force=True)

    ending = threading.Thread(target=end)
    ending.start()
    assert 0.5 <= waited_s(running_run, most_s=60) < 30
    ending.join()


def test_a_run_that_goes_on_is_waited_for_as_long_as_was_said(running_run: UUID) -> None:
    assert waited_s(running_run, most_s=0.7) >= 0.7


def test_a_server_that_is_away_ends_no_wait(running_run: UUID) -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert waited_s(running_run, most_s=0.7) >= 0.7


def test_asking_costs_no_more_than_a_twentieth_of_the_runs_time() -> None:
    assert between_questions_s(0.0, 2.0) == 0.2
    assert between_questions_s(20.0, 2.0) == 1.0
    assert between_questions_s(3600.0, 2.0) == 2.0
    assert between_questions_s(0.0, 0.05) == 0.05
