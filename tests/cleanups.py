"""What the tests of cleanups share: a cleanup of later, a job as it begins, and whether a video is whole."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from models.request import InferenceParams, InferenceRequest
from tasks.expiry import CleanupReport, clean_up
from tasks.job_spec import JobSpec
from tasks.job_steps import prepare
from tasks.resolved_models import ResolvedModel, StoreSource
from tasks.settings import JobSettings, UploadSettings
from tasks.store import Store
from tasks.video_records import find_video
from tasks.videos import Video

DAY_8 = timedelta(days=7.01)
FOR_LONG = JobSettings(lease_s=30 * 86400)
FOR_TWO_WEEKS = UploadSettings(keep_days=14)
MODEL = ResolvedModel(
    key="detector",
    model_id="any/model",
    model_version="0",
    inference_type="object-detection",
    source=StoreSource(prefix="models/any", folder_hash="0"),
    weights_hash="0" * 64,
    params=InferenceParams(),
    precision="auto",
)


def cleanup(store: Store, later: timedelta = DAY_8) -> CleanupReport:
    """A cleanup of later, on another machine: its cache is not that of the jobs."""
    elsewhere = Path(os.environ["REELMILL_CACHE_DIR"]) / "elsewhere"
    return clean_up(store, is_tagged=lambda video_id: False, now=datetime.now(UTC) + later, cache_dir=elsewhere)


def job(store: Store, video: Video, job_id: str = "job") -> JobSpec:
    models = [{"model_id": "any/model", "inference_type": "object-detection"}]
    request = InferenceRequest.model_validate({"video_id": video.video_id, "infer_fps": 5, "models": models})
    return prepare(store, job_id, request, FOR_LONG, submitted_at=video.registered_at, models=[MODEL])


def is_whole(store: Store, video: Video) -> bool:
    names = {info.key.rpartition("/")[2] for info in store.list(f"videos/{video.video_id}/")}
    return {"source", "video.json", "index-1.arrow"} <= names and find_video(
        store, video.video_id
    ).sha256 == video.sha256


def no_notices(store: Store) -> bool:
    return not list(store.list("removals/"))
