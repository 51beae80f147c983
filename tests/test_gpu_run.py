"""GPU runs over one job and over many: what is loaded once, what one video costs the others, where the time goes."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.classification import Classification
from tasks.compute_shares import ComputeShare, compute_share, frames_held, most_decoders
from tasks.gpu_run import GpuRun
from tasks.job_spec import JobSpec, write_attempt
from tasks.run_shares import GroupAttempt, SupersededError
from tasks.shards import finished_shards
from tasks.store import Store, open_store
from tasks.video_records import UnknownVideoError
from tasks.videos import register_file
from tests.decode_processes import shared_memories
from tests.engine_jobs import prepared, published, run_group, run_jobs, run_parts
from tests.smallworld import WEIGHTS
from tests.video_files import Recipe, make_video

MODELS: list[dict[str, Any]] = [
    {"model_id": str(WEIGHTS / "classifier"), "inference_params": {"top_k": 3}},
    {"model_id": str(WEIGHTS / "classifier"), "inference_params": {"top_k": 3}, "alias": "again"},
    {"model_id": str(WEIGHTS / "classifier"), "inference_params": {"top_k": 2}, "alias": "two"},
]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("REELMILL_STORE", str(tmp_path / "store"))
    return open_store(str(tmp_path / "store"))


@pytest.fixture(autouse=True)
def no_frame_is_kept() -> Iterator[None]:
    """However a run ends, its frames' memory is free at once: not when Python next looks for cycles."""
    gc.collect()
    gc.disable()
    yield
    left = shared_memories(os.getpid())
    gc.enable()
    assert not left


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """Five short videos of two sizes."""
    recipes = [Recipe(frames=10 + n, width=160 if n % 2 else 176) for n in range(5)]
    return [make_video(tmp_path / f"clip-{n}.mp4", recipe) for n, recipe in enumerate(recipes)]


@pytest.mark.parametrize(
    ("cores", "device", "torch_threads", "lanes", "share"),
    [
        (1, "cpu", 0, 0, ComputeShare(lanes=1, threads=1, slots=1)),
        (2, "cpu", 0, 0, ComputeShare(lanes=2, threads=1, slots=2)),
        (2, "cpu", 2, 0, ComputeShare(lanes=1, threads=2, slots=1)),
        (8, "cpu", 0, 0, ComputeShare(lanes=8, threads=1, slots=8)),
        (8, "cpu", 0, 2, ComputeShare(lanes=2, threads=4, slots=2)),
        (8, "cpu", 4, 1, ComputeShare(lanes=1, threads=4, slots=2)),
        (64, "cpu", 0, 0, ComputeShare(lanes=8, threads=8, slots=8)),
        (4, "cpu", 64, 0, ComputeShare(lanes=1, threads=64, slots=1)),
        (16, "cuda:1", 0, 0, ComputeShare(lanes=2, threads=4, slots=None)),
        (16, "cuda", 2, 3, ComputeShare(lanes=3, threads=2, slots=None)),
    ],
)
def test_cores_are_shared_out(monkeypatch, cores, device, torch_threads, lanes, share) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert compute_share(device, torch_threads=torch_threads, lanes=lanes) == share


@pytest.mark.parametrize(
    ("cores", "device", "decoders"),
    [(1, "cpu", 1), (2, "cpu", 2), (64, "cpu", 16), (1, "cuda", 1), (8, "cuda:1", 7), (64, "cuda", 16)],
)
def test_decoders_may_have_the_cores_that_nothing_else_uses(monkeypatch, cores, device, decoders) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert most_decoders(device) == decoders


@pytest.mark.parametrize(
    ("batch_size", "lanes", "frame", "memory_mib", "held"),
    [
        (8, 2, (1080, 1920), 1024, (8, 16)),
        (8, 8, (1080, 1920), 1024, (8, 16)),
        (8, 8, (2160, 3840), 1024, (4, 8)),
        (64, 2, (1080, 1920), 1024, (57, 58)),
        (8, 2, (4352, 8192), 1024, (3, 4)),
        (8, 2, (4352, 8192), 16, (1, 1)),
    ],
)
def test_large_frames_make_batches_smaller(batch_size, lanes, frame, memory_mib, held) -> None:
    frame_bytes = 3 * frame[0] * frame[1]
    assert frames_held(batch_size, lanes, frame_bytes, memory_mib * 2**20) == held


def test_many_videos_share_a_run_and_their_results_are_those_of_runs_of_their_own(
    store: Store, clips: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELMILL_DETERMINISTIC", "true")
    with caplog.at_level(logging.INFO):
        together = run_jobs(tmp_path / "store", clips, MODELS)
    monkeypatch.setenv("REELMILL_STORE", str(tmp_path / "apart"))
    for result, clip in zip(together, clips, strict=True):
        (alone,) = run_jobs(tmp_path / "apart", [clip], MODELS)
        for key in ("frame_offset", "time_offset"):
            assert result.predictions[key] == alone.predictions[key]
        for key in ("classifier", "again", "two"):
            ours, theirs = ([without_time(one) for one in of.predictions[key]] for of in (result, alone))
            assert ours == theirs
            assert None not in ours
        (run,) = result.job["gpu_runs"]
        assert run["jobs"] == 5
        assert set(run["models"]) == {"classifier", "again", "two"}
        assert run["pace"] in {"decoding", "classifier", "again", "two"}
        assert all(times["inferring_s"] > 0 and times["setting_up_s"] > 0 for times in run["models"].values())
        assert {"decoding_s", "waiting_for_models_s"} <= run["extraction"].keys()


def without_time(element: dict[str, Any] | None) -> dict[str, Any] | None:
    return element and {key: value for key, value in element.items() if key != "time"}


def test_what_jobs_have_in_common_is_loaded_once(store: Store, clips: list[Path]) -> None:
    first, second = (register_file(store, clip) for clip in clips[:2])
    renamed = [{**MODELS[0], "alias": "same"}, MODELS[2]]
    specs = [prepared(store, first, MODELS[:1], 5), prepared(store, second, renamed, 5)]
    run = GpuRun.open(*attempts(specs))
    assert {model.name: [*model.of_share] for model in run.models} == {"classifier": [0, 1], "two": [1]}
    assert [model.of_share[1].key for model in run.models] == ["same", "two"]


def attempts(specs: list[JobSpec], attempt: int = 1) -> list[GroupAttempt]:
    return [GroupAttempt(job_id=spec.job_id, group=0, attempt=attempt) for spec in specs]


def test_a_video_that_cannot_be_read_costs_its_own_job_alone(store: Store, clips: list[Path], tmp_path: Path) -> None:
    specs = [prepared(store, register_file(store, clip), MODELS[:1], "all") for clip in clips]
    broken = next((tmp_path / "store" / "videos" / specs[2].video.video_id).glob("source*"))
    broken.chmod(0o600)
    broken.write_bytes(b"no video any more")
    with pytest.raises(UnknownVideoError):
        run_group(*attempts(specs))
    results = [published(store, spec) for spec in specs]
    assert [result.job["state"] for result in results] == ["COMPLETED", "COMPLETED", "FAILED", "COMPLETED", "COMPLETED"]
    assert "extraction ended early" in results[2].job["models"][0]["error"]
    assert [len(result.predictions["classifier"]) for result in results] == [10, 11, 12, 13, 14]


def test_a_job_that_was_taken_over_costs_the_others_nothing(store: Store, clips: list[Path]) -> None:
    specs = [prepared(store, register_file(store, clip), MODELS[:1], "all") for clip in clips[:3]]
    write_attempt(store, specs[0].job_id, 0, 2)
    run = GpuRun.open(*attempts(specs))
    assert [share.spec.job_id for share in run.shares] == [spec.job_id for spec in specs[1:]]
    write_attempt(store, specs[1].job_id, 0, 2)
    with pytest.raises(SupersededError, match="attempt 2 has taken over from attempt 1"):
        run_parts(run)
    assert [len(finished_shards(store, spec.models[0].fingerprint)) for spec in specs] == [0, 0, 1]
    with pytest.raises(SupersededError):
        GpuRun.open(*attempts(specs[:2]))


def test_a_model_that_cannot_be_run_leaves_no_frames(store: Store, clips: list[Path], monkeypatch) -> None:
    spec = prepared(store, register_file(store, clips[0]), MODELS, "all")
    monkeypatch.setattr(Classification, "predict_rows", fail_on_everything)
    run_group(*attempts([spec]))
    result = published(store, spec)
    assert result.job["state"] == "FAILED"
    assert all("ValueError: it never works" in failure["reason"] for failure in result.job["failures"])


def fail_on_everything(model: Classification, frames: list[Any]) -> None:
    raise ValueError("it never works")


def test_an_empty_run_says_so(store: Store, clips: list[Path]) -> None:
    spec = prepared(store, register_file(store, clips[0]), MODELS[:1], "all")
    assert run_group(*attempts([spec])).models
    again = run_group(*attempts([spec], attempt=2))
    assert again.models == []
    assert published(store, spec).job["gpu_runs"][0] | {"device": None} == {
        "group": 0,
        "attempt": 2,
        "device": None,
        "jobs": 1,
        "extraction": {},
        "models": {},
        "pace": None,
    }
