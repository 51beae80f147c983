"""A GPU run whose jobs nobody waits for ends, in whatever state it is."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tasks.gpu_run import GpuRun
from tasks.leases import drop_lease, write_lease
from tasks.parent_watch import ParentGoneError, parents_watched
from tasks.run_shares import GroupAttempt
from tasks.store import open_store
from tasks.videos import register_file
from tests.engine_jobs import prepared, run_parts
from tests.tiny_models import save_tiny_detector
from tests.video_files import Recipe, make_video


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A store, and the specs of two jobs on videos of their own."""
    monkeypatch.setenv("REELMILL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))
    store = open_store(str(tmp_path / "store"))
    models = [{"model_id": str(save_tiny_detector(tmp_path / "model")), "alias": "m"}]
    videos = [make_video(tmp_path / f"{number}.mp4", Recipe(frames=20, width=160 + 16 * number)) for number in range(2)]
    return store, [prepared(store, register_file(store, video), models, "all") for video in videos]


def gpu_run(specs) -> GpuRun:
    return GpuRun.open(*(GroupAttempt(job_id=spec.job_id, group=0) for spec in specs))


def until(condition, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def test_only_the_job_that_nobody_waits_for_is_given_up(opened, tmp_path: Path) -> None:
    store, specs = opened
    write_lease(store, specs[0].job_id, specs[0].video.video_id, lease_s=0.05)
    write_lease(store, specs[1].job_id, specs[1].video.video_id, lease_s=600)
    run = gpu_run(specs)
    with parents_watched(run, look_every_s=0.02, grace_s=0.1):
        until(lambda: run.living() == [1])
        with pytest.raises(ParentGoneError, match="submit its request"):
            run_parts(run)
    assert run.shares[1].is_whole
    assert not run.shares[0].is_whole


def test_a_lease_that_is_only_late_costs_nothing(opened) -> None:
    store, specs = opened
    write_lease(store, specs[0].job_id, None, lease_s=0.05)
    run = gpu_run(specs[:1])
    with parents_watched(run, look_every_s=0.02, grace_s=0.6):
        time.sleep(0.3)
        write_lease(store, specs[0].job_id, None, lease_s=600)
        time.sleep(0.6)
        assert run.living() == [0]


def test_a_run_that_hangs_and_has_no_job_left_is_ended(opened, monkeypatch) -> None:
    monkeypatch.setattr("tasks.parent_watch._TO_END_S", 0.3)
    store, specs = opened
    drop_lease(store, specs[0].job_id)
    ended = threading.Event()
    with parents_watched(gpu_run(specs[:1]), look_every_s=0.02, grace_s=0.1, end_process=ended.set):
        assert ended.wait(10)
