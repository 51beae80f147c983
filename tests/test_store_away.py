"""A store that goes away in the middle of a GPU run, and comes back: the run waits, and loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.gpu_run import GpuRun
from tasks.run_shares import GroupAttempt
from tasks.store import S3Store, Store, open_store
from tasks.videos import register_file
from tests.decode_processes import children_of
from tests.engine_jobs import prepared, run_parts
from tests.smallworld import WEIGHTS
from tests.video_files import Recipe, make_video

MODELS = [{"model_id": str(WEIGHTS / "classifier"), "inference_params": {"top_k": 3}}]


def gpu_run(store: Store, folder: Path) -> GpuRun:
    video = register_file(store, make_video(folder / "video.mp4", Recipe(frames=400, gop=10)))
    spec = prepared(store, video, MODELS, "all")
    return GpuRun.open(GroupAttempt(job_id=spec.job_id, group=0))


@contextmanager
def running(run: GpuRun) -> Iterator[None]:
    """The run in a thread while the block lasts; joined after it."""
    thread = threading.Thread(target=run_parts, args=(run,))
    thread.start()
    yield
    thread.join(120)
    assert not thread.is_alive()


def until_first_shard(store: Store) -> None:
    deadline = time.monotonic() + 60
    while not any(store.list("shards/")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REELMILL_DECODE_SEGMENT_S", "0.4")
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))


def test_a_bucket_that_cannot_be_reached_is_waited_for(
    s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELMILL_S3_TIMEOUT_S", "0.5")
    monkeypatch.setenv("REELMILL_S3_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("REELMILL_STORE", s3_store.uri)
    store = open_store(s3_store.uri)
    run = gpu_run(store, tmp_path)
    (server,) = children_of(os.getpid(), "moto.server")
    with running(run):
        until_first_shard(store)
        os.kill(server, signal.SIGSTOP)
        try:
            time.sleep(6)
            assert not run.shares[0].is_whole
        finally:
            os.kill(server, signal.SIGCONT)
    assert run.living() == [0]
    assert run.shares[0].is_whole


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few megabytes; skipped where nothing can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_waited_for(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_STORE", str(small_disk))
    store = open_store(str(small_disk))
    run = gpu_run(store, tmp_path)
    ballast = small_disk / "ballast"
    with running(run):
        until_first_shard(store)
        fill = subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=64k"], capture_output=True, text=True)
        assert "No space left" in fill.stderr
        time.sleep(4)
        assert not run.shares[0].is_whole
        ballast.unlink()
    assert run.living() == [0]
    assert run.shares[0].is_whole
