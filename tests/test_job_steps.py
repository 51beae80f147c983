"""What the parent takes on and what it refuses, before any GPU run is started."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from models.request import InferenceRequest
from tasks.job_spec import read_spec
from tasks.job_steps import ModelPathError, prepare
from tasks.model_sources import import_folder
from tasks.settings import JobSettings
from tasks.store import open_store
from tasks.videos import ExpiredVideoError, register_file
from tests.tiny_models import save_tiny_classifier
from tests.video_files import make_video

JOB_ID = "6f0c6b1e-0000-4000-8000-000000000001"


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def video(store, tmp_path):
    return register_file(store, make_video(tmp_path / "numbers.mp4"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny_classifier(tmp_path_factory.mktemp("models") / "colours")


def asked(video, model_id: str, **fields) -> InferenceRequest:
    return InferenceRequest.model_validate(
        {"video_id": video.video_id, "infer_fps": 5, "models": [{"model_id": model_id}]} | fields
    )


def test_the_frozen_spec_says_everything_that_a_gpu_run_needs(store, video, folder) -> None:
    import_folder(store, folder)
    spec = prepare(store, JOB_ID, asked(video, "colours"), JobSettings(), submitted_at=video.registered_at)
    assert read_spec(store, JOB_ID) == spec
    (model,) = spec.models
    assert model.model.inference_type == "classification"
    assert len(model.model.weights_hash) == 64
    assert spec.groups[0].pool == "gpu"
    assert store.stat(spec.plan_key) is not None


def test_the_same_work_has_the_same_fingerprint_and_other_work_another(store, video, folder) -> None:
    import_folder(store, folder)

    def fingerprint(**fields) -> str:
        request = asked(video, "colours", **fields)
        return prepare(store, JOB_ID, request, JobSettings(), submitted_at=video.registered_at).models[0].fingerprint

    assert fingerprint() == fingerprint()
    assert fingerprint() == fingerprint(models=[{"model_id": "colours", "alias": "other", "pool": "gpu-b"}])
    others = [
        fingerprint(infer_fps=6),
        fingerprint(end_s=1),
        fingerprint(models=[{"model_id": "colours", "inference_params": {"top_k": 2}}]),
    ]
    assert len({fingerprint(), *others}) == 4


def test_a_video_that_expires_while_its_job_waits_is_still_the_jobs(store, video, folder) -> None:
    import_folder(store, folder)
    expired = video.model_copy(update={"expires_at": video.registered_at + timedelta(microseconds=1)})
    store.write(f"videos/{video.video_id}/video.json", expired.model_dump_json().encode())
    before, after = video.registered_at, video.registered_at + timedelta(seconds=1)
    assert prepare(store, JOB_ID, asked(video, "colours"), JobSettings(), submitted_at=before).frames_total == 10
    with pytest.raises(ExpiredVideoError, match="register it again"):
        prepare(store, JOB_ID, asked(video, "colours"), JobSettings(), submitted_at=after)


def test_a_served_request_gets_no_folder_of_the_worker_unless_it_is_offered(store, video, folder) -> None:
    request = asked(video, str(folder))
    for settings in (JobSettings(), JobSettings(model_dir=folder / "elsewhere")):
        with pytest.raises(ModelPathError, match="models add"):
            prepare(store, JOB_ID, request, settings, submitted_at=video.registered_at)
    for settings in (JobSettings(model_dir=folder.parent), JobSettings(dispatch="inline")):
        assert prepare(store, JOB_ID, request, settings, submitted_at=video.registered_at).models[0].key == "colours"
