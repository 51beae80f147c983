"""What jobs cost, as their job.json says, and how it is shared out among the jobs of one run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tasks.costs import Costs, CountedStore, cost_labels, job_costs, share_of, total_costs
from tasks.decode_workers import DecodeWorkers
from tasks.decoding import extract
from tasks.plans import make_plan
from tasks.probing import probe
from tasks.progress import Heartbeat, heartbeat_key, spent
from tasks.run_shares import GroupAttempt
from tasks.settings import DecodeSettings
from tasks.store import LocalStore, Store, open_store
from tasks.videos import register_file
from tests.engine_jobs import prepared, published, run_group, run_jobs
from tests.tiny_models import save_tiny_classifier
from tests.video_files import Recipe, make_video


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("REELMILL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("REELMILL_TORCH_THREADS", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> dict[str, Any]:
    return {"model_id": str(save_tiny_classifier(tmp_path_factory.mktemp("models") / "colours"))}


def test_costs_add_up() -> None:
    first = Costs(decode_cpu_s=1.5, gpu_s={"a": 1.0, "b": 2.0}, read_bytes=10, written_bytes=1)
    both = total_costs([first, Costs(decode_cpu_s=0.25, gpu_s={"b": 0.5, "c": 4.0}, read_bytes=5)])
    assert both == Costs(decode_cpu_s=1.75, gpu_s={"a": 1.0, "b": 2.5, "c": 4.0}, read_bytes=15, written_bytes=1)
    assert cost_labels(both)["gpu_s"] == 7.5
    assert cost_labels(both)["gpu_s.b"] == 2.5
    assert total_costs([]) == Costs()


def test_seconds_are_shared_by_frames() -> None:
    assert [share_of(12.0, frames, 60) for frames in (10, 20, 30)] == [2.0, 4.0, 6.0]
    assert share_of(12.0, 0, 0) == 0.0


def test_a_jobs_own_file_says_what_it_cost(tmp_path: Path, model) -> None:
    store = open_store()
    spec = prepared(store, register_file(store, make_video(tmp_path / "v.mp4", Recipe(frames=60))), [model], "all")
    before = sum(info.size_bytes for info in store.list("shards/"))
    run = run_group(GroupAttempt(job_id=spec.job_id, group=0))
    result = published(store, spec)
    costs = job_costs(store, spec.result_prefix)
    assert result.job["costs"] == costs.model_dump(mode="json")
    (key,) = costs.gpu_s
    assert costs.gpu_s[key] == pytest.approx(run.model_times[key].seconds()["inferring_s"], abs=0.002)
    assert costs.decode_cpu_s > 0
    shards = sum(info.size_bytes for info in store.list("shards/")) - before
    files = sum(info.size_bytes for info in store.list("results/") if not info.key.endswith("job.json"))
    assert costs.written_bytes >= shards + files > 0
    assert costs.read_bytes >= shards, "publishing reads every shard"

    again = prepared(store, spec.video, [model], "all")
    run_group(GroupAttempt(job_id=again.job_id, group=0))
    costs = Costs.model_validate(published(store, again).job["costs"])
    assert (costs.decode_cpu_s, costs.gpu_s) == (0.0, {}), "shards that stood cost nothing"


def test_jobs_of_one_run_share_its_costs_by_their_frames(tmp_path: Path, model) -> None:
    recipes = {"short": Recipe(frames=20), "long": Recipe(frames=200)}
    clips = [make_video(tmp_path / f"{name}.mp4", recipe) for name, recipe in recipes.items()]
    short, long = (Costs.model_validate(one.job["costs"]) for one in run_jobs(tmp_path / "store", clips, [model]))
    assert 0 < sum(short.gpu_s.values()) < sum(long.gpu_s.values())
    assert 0 < short.decode_cpu_s < long.decode_cpu_s


def test_all_attempts_count_up_to_their_last_word(tmp_path: Path, model) -> None:
    store = open_store()
    spec = prepared(store, register_file(store, make_video(tmp_path / "v.mp4")), [model], "all")
    run = run_group(GroupAttempt(job_id=spec.job_id, group=0))
    once = spent(store, spec.job_id)
    key = heartbeat_key(spec.job_id, 0, 1)
    beat = Heartbeat.model_validate_json(store.read(key))
    assert beat.costs == once
    died = beat.model_copy(update={"attempt": 2, "phase": "inferring", "times": None})
    store.write(heartbeat_key(spec.job_id, 0, 2), died.model_dump_json().encode())
    assert spent(store, spec.job_id) == once + once
    assert run.costs(0).gpu_s == once.gpu_s


def test_decode_workers_tell_what_each_file_took_while_they_run_and_after(tmp_path: Path) -> None:
    clips = [make_video(tmp_path / f"{n}.mp4", Recipe(frames=frames)) for n, frames in enumerate((300, 10))]
    with DecodeWorkers(DecodeSettings(workers=1)) as workers:
        for clip in clips:
            _, index = probe(clip, workers=workers)
            for _ in extract(clip, make_plan(index, infer_fps=None), [0], workers=workers):
                pass
            during = [workers.cpu_s(path) for path in clips]
    ended = [workers.cpu_s(path) for path in clips]
    assert ended[0] == during[0], "its worker had ended when the other file came"
    assert ended[0] > ended[1] >= during[1] - 1 / os.sysconf("SC_CLK_TCK")
    assert ended[1] > 0
    assert workers.cpu_s(tmp_path / "another.mp4") == 0.0


def test_bytes_are_counted_on_their_way(tmp_path: Path) -> None:
    counted = CountedStore(LocalStore(tmp_path / "store"))
    store: Store = counted.as_store()
    store.write("a", b"12345")
    assert store.read("a") == b"12345"
    (tmp_path / "file").write_bytes(b"1234567")
    store.write_file("b", tmp_path / "file")
    store.fetch("b", tmp_path / "copy")
    assert store.stat("b").size_bytes == 7
    assert [info.key for info in store.list("")] == ["a", "b"]
    assert counted.costs == Costs(read_bytes=12, written_bytes=12)
