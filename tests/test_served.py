"""The served set-up, as its callers see it: a real server and real workers, jobs submitted and polled by plain HTTP."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from deployments.local import served
from tasks.backfill_table import read_table
from tasks.model_sources import import_folder
from tasks.store import open_store
from tasks.videos import register_file
from tests.http_caller import Caller, process_of
from tests.tiny_models import save_tiny_classifier, save_tiny_detector
from tests.video_files import Recipe, make_video

pytestmark = pytest.mark.served


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


def test_a_list_in_the_store_becomes_a_table_of_results(caller: Caller) -> None:
    rows = [{"source": caller.video_id, "end_s": 2}, {"source": caller.video_id, "end_s": 3}, {"source": "0" * 32}]
    caller.store.write("lists/three.jsonl", "\n".join(map(json.dumps, rows)).encode())
    request = {"source": "store:lists/three.jsonl", "models": [CLASSIFIER], "infer_fps": 2, "name": "three"}
    run = caller.wait(caller.start_flow("backfill-videos/default", request=request))
    assert run["state"]["type"] == "COMPLETED", run["state"]
    labels = run["labels"]
    assert [labels[f"videos_{name}"] for name in ("total", "done", "failed")] == [3, 2, 1]
    assert labels["decode_cpu_s"] > 0
    (child,) = caller.children(run["id"])
    assert child["work_queue_name"] == "bulk"
    first, second, unknown = read_table(caller.store, "three")
    assert [first.frames_total, second.frames_total] == [4, 6]
    assert Path(second.output_uri, "predictions.parquet").is_file()
    assert "No video" in unknown.reason
    (table,) = caller.post("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    assert [row["state"] for row in json.loads(table["data"])] == ["failed", "done", "done"]


def test_a_pool_that_nobody_serves_fails_the_job_with_a_sentence(caller: Caller) -> None:
    run = caller.wait(caller.start(CLASSIFIER | {"pool": "nowhere"}, infer_fps=1))
    assert run["state"]["type"] == "FAILED"
    assert "infer-segments/nowhere" in run["state"]["message"]


def test_what_is_scheduled_gets_runs(caller: Caller) -> None:
    # The scheduler's own errors stop nothing else and stand in the server's log alone.
    deployment = caller.client.get("deployments/name/sweep-jobs/default").raise_for_status().json()
    wanted = {"deployments": {"id": {"any_": [deployment["id"]]}}, "limit": 5}
    deadline = time.monotonic() + 90
    while not (runs := caller.post("flow_runs/filter", wanted)):
        assert time.monotonic() < deadline, "no run was scheduled"
        time.sleep(0.5)
    assert runs[0]["auto_scheduled"]


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


@pytest.mark.long
def test_twenty_same_requests_at_once_are_one_jobs_work(caller: Caller) -> None:
    before = {info.key for info in caller.store.list("shards/")}
    run_ids = [caller.start(CLASSIFIER, infer_fps=7) for _ in range(20)]
    runs = [caller.wait(run_id, within_s=300) for run_id in run_ids]
    assert {run["state"]["type"] for run in runs} == {"COMPLETED"}
    (output_uri,) = {run["labels"]["output_uri"] for run in runs}
    assert {run["labels"]["frames_done"] for run in runs} == {70}
    children = [child for run_id in run_ids for child in caller.children(run_id)]
    assert len(children) == 1, "one GPU run for all of them"
    written = [info.key for info in caller.store.list("shards/") if info.key not in before]
    spans = sorted(tuple(map(int, Path(key).stem.split("-"))) for key in written)
    assert [start for start, _ in spans] == [0, *(stop for _, stop in spans[:-1])], "each segment has one shard"
    assert spans[-1][1] == 70

    later = caller.wait(caller.start(CLASSIFIER, infer_fps=7))
    assert (later["state"]["type"], later["labels"]["output_uri"]) == ("COMPLETED", output_uri)
    assert caller.children(later["id"]) == []


@pytest.mark.long
def test_the_same_key_for_another_request_is_refused(caller: Caller) -> None:
    first = caller.wait(caller.start(CLASSIFIER, infer_fps=1, idempotency_key="monday"))
    other = caller.wait(caller.start(CLASSIFIER, infer_fps=2, idempotency_key="monday"))
    assert first["state"]["type"] == "COMPLETED"
    assert other["state"]["type"] == "FAILED"
    assert f"belongs to another request (job {first['id']})" in other["state"]["message"]


@pytest.mark.long
def test_cancelling_one_callers_run_leaves_the_others(caller: Caller) -> None:
    model = {"model_id": "tiny-detector", "inference_params": {"confidence": 0.01}}
    leader, other = (caller.start(model, infer_fps="all") for _ in range(2))
    wait_until(lambda: caller.children(leader) or caller.children(other))
    if not caller.children(leader):
        leader, other = other, leader
    caller.post(f"flow_runs/{leader}/set_state", {"state": {"type": "CANCELLING"}, "force": True})
    assert caller.wait(leader)["state"]["type"] == "CANCELLED"
    run = caller.wait(other)
    assert run["state"]["type"] == "COMPLETED", run["state"]
    assert run["labels"]["frames_done"] == 300
    assert len(caller.children(other)) == 1, "it has done the rest itself"


def wait_until(happened: Callable[[], object], *, within_s: float = 90) -> None:
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
