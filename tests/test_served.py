"""The served set-up, as its callers see it: a real server and real workers, jobs submitted and polled by plain HTTP."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.local import ServedSetup, served
from tasks.model_sources import import_folder
from tasks.store import open_store
from tasks.videos import register_file
from tests.tiny_models import save_tiny_classifier, save_tiny_detector
from tests.video_files import Recipe, make_video

pytestmark = pytest.mark.served

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Caller:
    """Somebody with an HTTP client and nothing else."""

    def __init__(self, setup: ServedSetup, store_folder: Path, video_id: str) -> None:
        auth = base64.b64encode((setup.auth or "").encode()).decode()
        self.client = httpx.Client(base_url=setup.api_url + "/", headers={"Authorization": f"Basic {auth}"}, timeout=30)
        self.store = open_store(str(store_folder))
        self.video_id = video_id

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.client.post(path, json=body)
        answer.raise_for_status()
        return answer.json()

    def submit(self, *models: dict[str, Any], **fields: Any) -> httpx.Response:
        deployment = self.client.get("deployments/name/infer-video/default").raise_for_status().json()["id"]
        request = {"video_id": self.video_id, "infer_fps": 5, "models": list(models)} | fields
        for wait_s in (0.5, 1.0, 2.0, 4.0, 0.0):
            answer = self.client.post(
                f"deployments/{deployment}/create_flow_run", json={"parameters": {"request": request}}
            )
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(wait_s)  # SQLite is locked now and then; Prefect's own client tries again too
        return answer

    def start(self, *models: dict[str, Any], **fields: Any) -> str:
        """Submit a good request; returns the job's id."""
        answer = self.submit(*models, **fields)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def run(self, run_id: str) -> dict[str, Any]:
        return self.client.get(f"flow_runs/{run_id}").raise_for_status().json()

    def wait(self, run_id: str, *, within_s: float = 120) -> dict[str, Any]:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            run = self.run(run_id)
            if run["state"]["type"] in FINAL:
                return run
            time.sleep(0.5)
        raise AssertionError(f"still {run['state']} after {within_s} s")

    def children(self, run_id: str) -> list[dict[str, Any]]:
        return self.post("flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [run_id]}}})

    def task_runs(self, run_id: str) -> dict[str, dict[str, Any]]:
        runs = self.post("task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return {run["name"]: run for run in runs}


@pytest.fixture(scope="module")
def caller(tmp_path_factory) -> Iterator[Caller]:
    root = tmp_path_factory.mktemp("served")
    store = open_store(str(root / "store"))
    for name, save in (("tiny-detector", save_tiny_detector), ("tiny-classifier", save_tiny_classifier)):
        import_folder(store, save(root / name), name)
    video = register_file(store, make_video(root / "numbers.mp4", Recipe(frames=300, rate=Fraction(30), gop=30)))
    settings = {"REELMILL_DECODE_SEGMENT_S": "1", "REELMILL_JOB_POLL_S": "0.5", "REELMILL_TORCH_THREADS": "1"}
    settings["REELMILL_CACHE_DIR"] = str(root / "cache")
    with served(root / "home", str(root / "store"), gpu_pools=("gpu", "gpu-b"), worker_env=settings) as setup:
        yield Caller(setup, root / "store", video.video_id)


DETECTOR = {"model_id": "tiny-detector", "inference_params": {"confidence": 0.0}}
CLASSIFIER = {"model_id": "tiny-classifier"}


def times(run: dict[str, Any]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(run["start_time"]), datetime.fromisoformat(run["end_time"])


def test_submit_poll_and_read_by_plain_http(caller: Caller) -> None:
    run = caller.wait(caller.start(DETECTOR, CLASSIFIER))
    assert run["state"]["type"] == "COMPLETED", run["state"]
    labels = run["labels"]
    assert (labels["frames_total"], labels["frames_done"], labels["frames_failed"]) == (50, 50, 0)
    lists = json.loads(Path(labels["output_uri"], "predictions.json").read_bytes())
    assert lists["frame_offset"] == list(range(0, 300, 6))
    assert all(lists["tiny-detector"])
    assert all(lists["tiny-classifier"])

    (child,) = caller.children(run["id"])
    parts = caller.task_runs(child["id"])
    assert set(parts) == {"extract-frames", "infer-tiny-detector", "infer-tiny-classifier"}
    started, ended = zip(*(times(part) for part in parts.values()), strict=True)
    assert max(started) < min(ended), "extraction and both models run at the same time"

    logs = caller.post("logs/filter", {"logs": {"flow_run_id": {"any_": [child["id"]]}}})
    assert any("wrote samples" in line["message"] for line in logs)

    artifacts = caller.post("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    assert {artifact["type"] for artifact in artifacts} == {"progress", "markdown"}


def test_two_pools_give_two_runs_and_one_result(caller: Caller) -> None:
    run = caller.wait(caller.start(DETECTOR, CLASSIFIER | {"pool": "gpu-b"}, infer_fps=2))
    assert run["state"]["type"] == "COMPLETED", run["state"]
    pools = sorted(child["work_pool_name"] for child in caller.children(run["id"]))
    assert pools == ["gpu", "gpu-b"]
    lists = json.loads(Path(run["labels"]["output_uri"], "predictions.json").read_bytes())
    assert [len(entries) for entries in lists.values()] == [20, 20, 20, 20]


def test_a_pool_that_nobody_serves_fails_the_job_with_a_sentence(caller: Caller) -> None:
    run = caller.wait(caller.start(CLASSIFIER | {"pool": "nowhere"}, infer_fps=1))
    assert run["state"]["type"] == "FAILED"
    assert "infer-segments/nowhere" in run["state"]["message"]


def test_the_pages_ask_the_server_that_served_them(caller: Caller) -> None:
    settings = caller.client.get(str(caller.client.base_url).replace("/api/", "/ui-settings"))
    assert settings.json()["api_url"] == "/api"


@pytest.mark.parametrize(
    ("models", "fields", "where"),
    [
        ([CLASSIFIER], {"infer_fps": 0}, "infer_fps"),
        ([CLASSIFIER], {"infer_fps": "often"}, "infer_fps"),
        ([], {}, "models"),
        ([CLASSIFIER], {"video_id": "not-an-id"}, "video_id"),
        ([CLASSIFIER], {"colour": "red"}, "colour"),
        ([{"model_id": "m", "inference_params": {"confidence": 1.5}}], {}, "confidence"),
        ([{"model_id": "m", "inference_type": "guessing"}], {}, "inference_type"),
    ],
)
def test_a_bad_field_is_refused_when_the_run_is_created(caller: Caller, models, fields, where) -> None:
    answer = caller.submit(*models, **fields)
    assert answer.status_code == 409
    assert where in answer.text


def test_after_kill_9_of_the_gpu_run_only_what_is_missing_is_done(caller: Caller) -> None:
    run_id = caller.start(DETECTOR, infer_fps="all")
    pid = kill_gpu_run_midway(caller, run_id)
    standing = {info.key: info.modified_at for info in caller.store.list("shards/")}
    run = caller.wait(run_id)
    assert run["state"]["type"] == "COMPLETED", run["state"]
    assert not Path(f"/proc/{pid}").exists()
    states = sorted(child["state"]["type"] for child in caller.children(run_id))
    assert states == ["COMPLETED", "CRASHED"]
    now = {info.key: info.modified_at for info in caller.store.list("shards/")}
    assert standing.items() <= now.items(), "shards that stood are used as they are"
    assert run["labels"]["frames_failed"] == 0


def kill_gpu_run_midway(caller: Caller, run_id: str) -> int:
    """Kill -9 the process of the job's GPU run as soon as it has written a first shard; returns its process id."""
    before = {info.key for info in caller.store.list("shards/")}
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        written = {info.key for info in caller.store.list("shards/")} - before
        running = [child for child in caller.children(run_id) if child["state"]["type"] == "RUNNING"]
        if written and running:
            pid = process_of(running[0]["id"])
            os.kill(pid, signal.SIGKILL)
            return pid
        time.sleep(0.05)
    raise AssertionError("the GPU run wrote no shard in time")


def process_of(flow_run_id: str) -> int:
    """The process that a worker started for a flow run, found by its environment."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if flow_run_id.encode() in environment and b"prefect" in command:
            return int(entry.name)
    raise AssertionError(f"no process of the flow run {flow_run_id}")
