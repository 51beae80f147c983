"""A whole job whose decode workers are killed in the middle of a segment: null where nothing could be had, and done."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.infer_video import infer_video
from models.request import InferenceRequest
from tasks.model_sources import import_folder
from tasks.store import open_store
from tasks.videos import register_file
from tests.decode_processes import shared_memories, workers_of
from tests.tiny_models import save_tiny_classifier
from tests.video_files import make_video

pytestmark = pytest.mark.usefixtures("prefect_server")
CHUNKS_GIVEN = 3
"""Frame buffers of a worker that has handed over some frames, and is at work on others."""


def kill_in_mid_segment(how_many: int, struck: list[int], stop: threading.Event) -> None:
    """Kill so many workers, one after the other, each when it has handed over frames and is at work on more."""
    while len(struck) < how_many and not stop.is_set():
        for worker in workers_of(os.getpid()):
            buffers = [memory for memory in shared_memories(worker) if " rw-s " in memory]
            if worker not in struck and len(buffers) >= CHUNKS_GIVEN:
                os.kill(worker, signal.SIGKILL)
                struck.append(worker)
        time.sleep(0.002)


def test_a_segment_that_loses_two_workers_is_null_from_there_on_and_the_job_is_done(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("REELMILL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("REELMILL_JOB_DISPATCH", "inline")
    monkeypatch.setenv("REELMILL_JOB_POLL_S", "0.2")
    monkeypatch.setenv("REELMILL_DECODE_WORKERS", "1")
    monkeypatch.setenv("REELMILL_DECODE_SEGMENT_S", "4")
    store = open_store()
    path = make_video(tmp_path / "video.mp4", frames=240, gop=60, width=1280, height=720)
    video = register_file(store, path)
    import_folder(store, save_tiny_classifier(tmp_path / "tiny-classifier"), "tiny-classifier")
    request = InferenceRequest.model_validate(
        {"video_id": video.video_id, "infer_fps": "all", "models": [{"model_id": "tiny-classifier"}]}
    )
    struck: list[int] = []
    stop = threading.Event()
    killer = threading.Thread(target=kill_in_mid_segment, args=(2, struck, stop))
    killer.start()
    state = infer_video(request, return_state=True)
    stop.set()
    killer.join()
    assert len(struck) == 2
    assert state.is_completed(), state.message
    with get_client(sync_client=True) as client:
        labels = client.read_flow_run(state.state_details.flow_run_id).labels
    elements = json.loads(Path(labels["output_uri"], "predictions.json").read_bytes())["tiny-classifier"]
    (failure,) = json.loads(Path(labels["output_uri"], "job.json").read_bytes())["failures"]
    assert failure["passing"]
    assert "by signal 9" in failure["reason"]
    first, last = failure["first_frame_offset"], failure["last_frame_offset"]
    segment_stops = {int(re.search(r"-(\d+)\.", info.key)[1]) for info in store.list("shards/")}
    assert 0 < first <= last
    assert last + 1 == min(segment_stops) < 240
    assert labels["frames_failed"] == failure["frames"] == last - first + 1
    assert [element is None for element in elements] == [first <= frame <= last for frame in range(240)]
    assert not workers_of(os.getpid())
    assert not shared_memories(os.getpid())
