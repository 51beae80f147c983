"""A GPU run that hangs is ended, and what it owed is done by another attempt."""

from __future__ import annotations

import json
import os
import signal
import time
from fractions import Fraction
from pathlib import Path

import pytest

from deployments.local import served
from tasks.model_sources import import_folder
from tasks.store import open_store
from tasks.videos import register_file
from tests.http_caller import Caller, process_of
from tests.tiny_models import save_tiny_detector
from tests.video_files import Recipe, make_video

pytestmark = [pytest.mark.served, pytest.mark.long]


def test_a_stopped_run_is_ended_and_its_segments_are_started_again(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    import_folder(store, save_tiny_detector(tmp_path / "tiny-detector"), "tiny-detector")
    video = register_file(store, make_video(tmp_path / "numbers.mp4", Recipe(frames=300, rate=Fraction(30), gop=30)))
    settings = {
        "REELMILL_DECODE_SEGMENT_S": "1",
        "REELMILL_JOB_POLL_S": "0.5",
        "REELMILL_JOB_STALL_TIMEOUT_S": "30",
        "REELMILL_CACHE_DIR": str(tmp_path / "cache"),
    }
    with served(tmp_path / "home", str(tmp_path / "store"), worker_env=settings) as setup:
        caller = Caller(setup, tmp_path / "store", video.video_id)
        job = caller.start({"model_id": "tiny-detector", "inference_params": {"confidence": 0.0}}, infer_fps="all")
        pid = stop_gpu_run_midway(caller, job)
        run = caller.wait(job, within_s=300)
        assert run["state"]["type"] == "COMPLETED", run["state"]
        assert sorted(child["state"]["type"] for child in caller.children(job)) == ["CANCELLED", "COMPLETED"]
        assert run["labels"]["frames_failed"] == 0
        lists = json.loads(Path(run["labels"]["output_uri"], "predictions.json").read_bytes())
        assert len(lists["tiny-detector"]) == 300
        assert all(lists["tiny-detector"])
    assert not Path(f"/proc/{pid}").exists()


def stop_gpu_run_midway(caller: Caller, job: str) -> int:
    """SIGSTOP the process of the job's GPU run once it has written a shard; returns its process id."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        running = [child for child in caller.children(job) if child["state"]["type"] == "RUNNING"]
        if running and any(caller.store.list("shards/")):
            pid = process_of(running[0]["id"])
            os.kill(pid, signal.SIGSTOP)
            return pid
        time.sleep(0.05)
    raise AssertionError("the GPU run wrote no shard in time")
