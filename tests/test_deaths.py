"""The table of deaths as tests, and cancelling: the job is whole or has a truthful end, and nothing is held.

PostgreSQL, a Prefect server, a cpu and a GPU worker, all real; one set-up for all tests of this file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from deployments.job_cancelling import cancel_job, wait_until_ended
from deployments.registration import connect
from tests.deaths import DEATHS, MODEL, Scene, play, scene, stop_decoders
from tests.http_caller import process_of
from tests.requirements import needs

pytestmark = [pytest.mark.served, needs("postgres")]


@pytest.fixture(scope="module")
def made() -> Iterator[Scene]:
    with scene() as made:
        yield made


@pytest.mark.parametrize(
    "death", [pytest.param(death, id=death.name, marks=[] if death.fast else [pytest.mark.long]) for death in DEATHS]
)
def test_after_a_death_the_job_is_whole_and_nothing_was_done_twice(made: Scene, death) -> None:
    played = play(made, death)
    print(played.line())
    assert played.states[-1] == "COMPLETED"
    assert not played.differs
    assert played.rewritten == []
    # The segment in hand is computed again, and what lay in the batches around it.
    assert played.frames_twice <= 4 * 30


@pytest.mark.long
@pytest.mark.parametrize("hung", [False, True], ids=["inferring", "hung decoder"])
def test_a_cancelled_job_leaves_no_process_and_no_slot(made: Scene, hung: bool) -> None:
    job = made.start()
    made.until_midway(job)
    gpu_run = made.gpu_run(job)["id"]
    processes = [process_of(job), process_of(gpu_run)]
    if hung:
        stop_decoders(made, job)
        time.sleep(1)
    began_s = time.monotonic()
    with connect(made.setup.connection) as client:
        cancel_job(client, job)
        assert wait_until_ended(client, job, within_s=60)
    states_s = time.monotonic() - began_s
    for pid in processes:
        made.until_gone(pid, within_s=30)
    print(f"cancelled: final states after {states_s:.1f} s, no process after {time.monotonic() - began_s:.1f} s")
    assert made.caller.run(job)["state"]["type"] == "CANCELLED"
    standing = made.shards()
    assert standing
    # The slot is free: the same request goes on at once from the shards that stand.
    run = made.polled(made.caller.start(MODEL, infer_fps="all"), 200)
    assert run["state"]["type"] == "COMPLETED", run["state"]
    assert standing.items() <= made.shards().items()
