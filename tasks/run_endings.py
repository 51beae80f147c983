"""Wait between two looks at running flow runs, no longer than until one of them ends.

A run of seconds must not be waited for by the clock of one of hours: how often Prefect is asked follows the runs' age.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import PrefectHTTPStatusError

_SHORTEST_S = 0.2
_SHARE_OF_AGE = 0.05
"""What asking may add to the wait for a run, as a share of the time that the run has taken."""


def between_questions_s(age_s: float, most_s: float) -> float:
    """Seconds until the next question about runs that were started `age_s` ago; pure."""
    return min(most_s, max(_SHORTEST_S, _SHARE_OF_AGE * age_s))


def wait_for_an_ending(run_ids: Collection[UUID], *, most_s: float, age_s: float) -> None:
    """Return when one of the runs has ended, or after `most_s` seconds; each question is one request for all of them.

    `age_s` is how long ago the youngest of them was started. Where the server cannot be asked, `most_s` is slept.
    """
    until_s = time.monotonic() + most_s
    while (left_s := until_s - time.monotonic()) > 0:
        time.sleep(min(left_s, between_questions_s(age_s + most_s - left_s, most_s)))
        if time.monotonic() < until_s and _one_has_ended(run_ids):
            return


def _one_has_ended(run_ids: Collection[UUID]) -> bool:
    try:
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(run_ids))))
    except (httpx.HTTPError, PrefectHTTPStatusError):
        return False
    return any(run.state is not None and run.state.is_final() for run in runs)
