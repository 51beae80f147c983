"""Who does the work when the same request is made more than once. Served jobs that join are in test_served.py."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from models.request import InferenceRequest
from tasks.job_spec import JobSpec, read_result_pointer, read_spec
from tasks.job_steps import frozen_or_prepared, prepare, publish, take_result
from tasks.leases import drop_lease, write_lease
from tasks.model_sources import import_folder
from tasks.outcomes import Outcome
from tasks.plans import plan_from_bytes
from tasks.request_keys import Claim, KeyTakenError, LeaderFailedError, claim, follow, note_failure, record_key
from tasks.results import JOB_JSON
from tasks.run_shares import SupersededError
from tasks.settings import JobSettings
from tasks.shards import write_shard
from tasks.store import LocalStore
from tasks.videos import register_file
from tests.element_builders import classification_element
from tests.tiny_models import save_tiny_classifier
from tests.video_files import make_video

SETTINGS = JobSettings(dispatch="inline")
GOOD = classification_element(red=0.75, blue=0.25)


class Jobs:
    """Jobs on one video, each with a lease, prepared as `infer-video` prepares them."""

    def __init__(self, root: Path) -> None:
        self.store = LocalStore(root / "store")
        import_folder(self.store, save_tiny_classifier(root / "colours"), "colours")
        self.video = register_file(self.store, make_video(root / "numbers.mp4"))

    def job(self, **fields: object) -> JobSpec:
        """A prepared job whose lease lives."""
        asked = {"video_id": self.video.video_id, "infer_fps": 5, "models": [{"model_id": "colours"}]} | fields
        request = InferenceRequest.model_validate(asked)
        return prepare(self.store, str(uuid4()), request, SETTINGS, submitted_at=self.video.registered_at)

    def claim(self, spec: JobSpec) -> Claim:
        return claim(self.store, spec)

    def die(self, spec: JobSpec) -> None:
        """Let the job's lease run out."""
        write_lease(self.store, spec.job_id, spec.video.video_id, -1.0)

    def finish(self, spec: JobSpec, said: dict | str = GOOD, *, passing: bool = False) -> None:
        """Publish a result that says the same of every frame, and end the job."""
        plan = plan_from_bytes(self.store.read(spec.plan_key))
        element, reason = (None, said) if isinstance(said, str) else (said, None)
        for start, stop in plan.segments:
            moments = zip(plan.frame_offset[start:stop].tolist(), plan.time_offset[start:stop].tolist(), strict=True)
            outcomes = [Outcome(frame, time_s, element, reason, passing) for frame, time_s in moments]
            write_shard(self.store, spec.models[0].fingerprint, start, stop, "classification", outcomes)
        publish(self.store, spec, SETTINGS)
        drop_lease(self.store, spec.job_id)

    def following(self, spec: JobSpec, pool: ThreadPoolExecutor) -> Future[str | None]:
        """Follow the job's request in a thread; returns when it has joined another."""
        joined = threading.Event()
        end = pool.submit(follow, self.store, spec, poll_s=0.02, look=lambda leader_id: joined.set())
        assert joined.wait(10)
        return end


@pytest.fixture
def jobs(tmp_path, monkeypatch) -> Jobs:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))
    return Jobs(tmp_path)


def test_the_first_leads_the_next_joins_and_later_ones_have_the_result(jobs: Jobs) -> None:
    first, second, third = jobs.job(), jobs.job(), jobs.job()
    assert jobs.claim(first) == Claim("lead", first.job_id)
    assert jobs.claim(first) == Claim("lead", first.job_id), "started again, it leads still"
    assert jobs.claim(second) == Claim("join", first.job_id)
    jobs.finish(first)
    assert jobs.claim(third) == Claim("done", first.job_id)
    led, summary = take_result(jobs.store, third, first.job_id)
    assert led == first
    assert (summary.frames_total, summary.frames_failed) == (10, 0)
    assert read_result_pointer(jobs.store, third.job_id) == read_result_pointer(jobs.store, first.job_id)


def test_other_work_is_not_joined(jobs: Jobs) -> None:
    jobs.claim(jobs.job())
    for fields in ({"infer_fps": 6}, {"end_s": 1}, {"models": [{"model_id": "colours", "alias": "other"}]}):
        other = jobs.job(**fields)
        assert jobs.claim(other) == Claim("lead", other.job_id)
    assert jobs.claim(jobs.job(gpu_runs=2, infer_fps="5/1")).part == "join", "the same work, run or said otherwise"


def test_of_twenty_at_once_one_leads(jobs: Jobs) -> None:
    specs = [jobs.job() for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        claims = list(pool.map(jobs.claim, specs))
    (leader,) = {claimed.leader_id for claimed in claims}
    assert sorted(claimed.part for claimed in claims) == ["join"] * 19 + ["lead"]
    assert next(spec for spec, claimed in zip(specs, claims, strict=True) if claimed.part == "lead").job_id == leader


def test_one_of_those_that_wait_takes_the_place_of_a_leader_that_is_gone(jobs: Jobs) -> None:
    leader, *waiting = [jobs.job() for _ in range(6)]
    jobs.claim(leader)
    with ThreadPoolExecutor(5) as pool:
        ends = [jobs.following(spec, pool) for spec in waiting]
        assert not any(end.done() for end in ends)
        jobs.die(leader)
        while not any(end.done() for end in ends):
            time.sleep(0.02)
        next_one = next(spec for spec, end in zip(waiting, ends, strict=True) if end.done())
        time.sleep(0.2)
        assert [end.done() for end in ends].count(True) == 1
        assert jobs.claim(leader) == Claim("join", next_one.job_id), "the old leader, started again, joins"
        jobs.finish(next_one)
        results = [end.result(timeout=10) for end in ends]
    assert sorted(results, key=str) == sorted([next_one.job_id] * 4 + [None], key=str)


def test_who_has_joined_ends_as_the_leader_and_who_comes_later_tries_again(jobs: Jobs) -> None:
    leader, waiting, later = jobs.job(), jobs.job(), jobs.job()
    jobs.claim(leader)
    with ThreadPoolExecutor(1) as pool:
        end = jobs.following(waiting, pool)
        jobs.finish(leader, "the decoder broke", passing=True)
        assert end.result(timeout=10) == leader.job_id
    _, summary = take_result(jobs.store, waiting, leader.job_id)
    assert summary.models_failed == ["colours"]
    assert jobs.claim(later) == Claim("lead", later.job_id)


def test_a_frame_that_cannot_be_read_is_no_reason_to_try_again(jobs: Jobs) -> None:
    leader, later = jobs.job(), jobs.job()
    jobs.claim(leader)
    jobs.finish(leader)
    plan = plan_from_bytes(jobs.store.read(leader.plan_key))
    start, stop = plan.segments[0]
    outcomes = [
        Outcome(int(frame), float(time_s), None, "damaged") if sample == 0 else Outcome(int(frame), float(time_s), GOOD)
        for sample, (frame, time_s) in enumerate(
            zip(plan.frame_offset[start:stop], plan.time_offset[start:stop], strict=True)
        )
    ]
    write_shard(jobs.store, leader.models[0].fingerprint, start, stop, "classification", outcomes)
    assert publish(jobs.store, leader, SETTINGS).frames_failed == 1
    assert jobs.claim(later) == Claim("done", leader.job_id)


def test_an_error_for_good_is_told_to_those_who_wait_and_to_no_one_else(jobs: Jobs) -> None:
    leader, waiting, later = jobs.job(), jobs.job(), jobs.job()
    jobs.claim(leader)
    with ThreadPoolExecutor(1) as pool:
        end = jobs.following(waiting, pool)
        note_failure(jobs.store, leader, SupersededError("no pool serves it"))
        with pytest.raises(LeaderFailedError, match="no pool serves it"):
            end.result(timeout=10)
    drop_lease(jobs.store, leader.job_id)
    assert jobs.claim(later) == Claim("lead", later.job_id)
    note_failure(jobs.store, leader, SupersededError("too late"))
    assert jobs.claim(waiting) == Claim("join", later.job_id)


def test_force_runs_again_what_is_done_and_joins_what_runs(jobs: Jobs) -> None:
    leader, forced, other = jobs.job(), jobs.job(force=True), jobs.job(force=True)
    jobs.claim(leader)
    assert jobs.claim(forced) == Claim("join", leader.job_id)
    jobs.finish(leader)
    assert jobs.claim(forced) == Claim("lead", forced.job_id)
    assert jobs.claim(other) == Claim("join", forced.job_id)


def test_a_result_that_was_deleted_is_made_again(jobs: Jobs) -> None:
    leader, later = jobs.job(), jobs.job()
    jobs.claim(leader)
    jobs.finish(leader)
    jobs.store.delete([f"{leader.result_prefix}/{JOB_JSON}"])
    assert jobs.claim(later) == Claim("lead", later.job_id)


def test_a_given_key_belongs_to_one_request_for_good(jobs: Jobs) -> None:
    leader = jobs.job(idempotency_key="monday / 1")
    jobs.claim(leader)
    assert jobs.claim(jobs.job(idempotency_key="monday / 1")).part == "join"
    for finish in (lambda: None, lambda: jobs.finish(leader)):
        finish()
        before = jobs.store.read(record_key(leader))
        with pytest.raises(KeyTakenError, match=f"'monday / 1' belongs to another request .job {leader.job_id}.; give"):
            jobs.claim(jobs.job(idempotency_key="monday / 1", infer_fps=6))
        assert jobs.store.read(record_key(leader)) == before
    assert jobs.claim(jobs.job(idempotency_key="monday / 1")).part == "done"
    underived = jobs.job()
    assert jobs.claim(underived) == Claim("lead", underived.job_id), "without the key it is another piece of work"


def test_a_given_key_means_the_words_even_when_the_model_behind_them_has_moved(jobs: Jobs) -> None:
    leader = jobs.job(idempotency_key="k")
    jobs.claim(leader)
    moved = jobs.job(idempotency_key="k").model_copy(update={"request_fingerprint": "0" * 32})
    assert jobs.claim(moved) == Claim("join", leader.job_id)


def test_a_store_that_is_away_is_waited_for(jobs: Jobs, monkeypatch) -> None:
    """A full disk stands for every passing error."""
    from tasks.store_interface import DiskFullError

    spec, swap, failing = jobs.job(), jobs.store.swap, threading.Event()
    failing.set()

    def sometimes(*args: object, **options: object) -> None:
        if failing.is_set():
            raise DiskFullError("No space is left")
        swap(*args, **options)

    monkeypatch.setattr(jobs.store, "swap", sometimes)
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(follow, jobs.store, spec, poll_s=0.02, look=lambda leader_id: None)
        time.sleep(0.2)
        assert not end.done()
        failing.clear()
        assert end.result(timeout=10) is None


def test_a_job_started_again_goes_on_with_its_frozen_spec(jobs: Jobs) -> None:
    spec = jobs.job(webhook_url="https://host/hook?token=secret")
    assert spec.request.webhook_url is None
    redacted = InferenceRequest.model_validate(
        {"input_url": "https://host/film.mp4?…", "infer_fps": 5, "models": [{"model_id": "gone"}]}
    )
    again = frozen_or_prepared(jobs.store, spec.job_id, redacted, SETTINGS, submitted_at=jobs.video.registered_at)
    assert again == read_spec(jobs.store, spec.job_id)
    assert again.request_fingerprint == spec.request_fingerprint
