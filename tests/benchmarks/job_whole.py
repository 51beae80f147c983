"""Whole jobs, as a flow runs them but without Prefect: from registered videos to published results."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import orjson

from models.request import InferenceRequest
from tasks.decode_forking import FORKER, can_fork
from tasks.job_spec import JobSpec
from tasks.job_steps import prepare, publish
from tasks.model_sources import ResolvedModel, resolve_models
from tasks.run_shares import GroupAttempt
from tasks.settings import JobSettings
from tasks.store import Store, open_store
from tasks.videos import Video, register_file
from tests.benchmarks.job_boxes import give_boxes
from tests.benchmarks.job_parts import loaded
from tests.benchmarks.job_work import Work
from tests.engine_jobs import run_group

_SETTINGS = JobSettings(dispatch="inline")
_PACK = 100
"""Short videos in one GPU run."""
_BLANK = np.zeros((1080, 1920, 3), np.uint8)


def jobs(order: dict[str, Any]) -> Work:
    """`requests`, each a list of models, one after another on `videos` at `fps`, in a fresh store in `folder`.

    Each video is a job of its own; jobs are packed into GPU runs. On the clock: planning, models' set-up,
    decoding, inference, shards, merging and publishing. Before it: everything imported, videos registered (hashed and
    copied), and each model loaded twice, of which the second loading is what set-up costs by itself, told as `setup_s`
    for all requests together.
    """
    folder = Path(order["folder"])
    shutil.rmtree(folder / "store", ignore_errors=True)
    os.environ |= {
        "REELMILL_STORE": str(folder / "store"),
        "REELMILL_CACHE_DIR": str(folder / "cache"),
        "REELMILL_DEVICE": order["device"],
    }
    if order.get("boxes"):
        give_boxes()
    if can_fork():
        FORKER.prepare()
    store = open_store(str(folder / "store"))
    began_s = time.perf_counter()
    videos = [register_file(store, Path(path)) for path in order["videos"]]
    registered_s = time.perf_counter() - began_s
    setup_s = sum(_setup_s(models, order["device"]) for models in order["requests"]) if order["rehearse"] else 0.0

    def work() -> dict[str, Any]:
        specs = [spec for models in order["requests"] for spec in _run(store, videos, models, order)]
        frames = sum(spec.frames_total * len(spec.models) for spec in specs)
        told = {"frames": frames, "registered_s": registered_s, "setup_s": setup_s}
        return {**told, "after": lambda: _result(store, specs[0], order.get("look"))}

    return work


def _setup_s(models: list[dict[str, Any]], device: str) -> float:
    """Seconds that loading the models takes once everything is imported and the files are in memory."""
    total_s = 0.0
    for model in models:
        loaded(model, device)[0].predict([_BLANK])
        total_s += loaded(model, device)[1]
    return total_s


def _run(store: Store, videos: list[Video], models: list[dict[str, Any]], order: dict[str, Any]) -> list[JobSpec]:
    """A job for each video, packed into GPU runs. Raises what its parts raise, `RuntimeError` where a model failed.

    While a pack is on the GPU, the next one is prepared, and jobs of it are published as they end, as a backfill does.
    """
    requests = [_request(video, models, order) for video in videos]
    resolved = resolve_models(store, requests[0].models)
    packs = [requests[start : start + _PACK] for start in range(0, len(requests), _PACK)]
    ended: list[Future[JobSpec]] = []
    with ThreadPoolExecutor(1) as publishing, ThreadPoolExecutor(1) as preparing:
        prepared = [preparing.submit(_all_prepared, store, pack, resolved) for pack in packs]

        def publish_later(spec: JobSpec) -> None:
            ended.append(publishing.submit(_published, store, spec))

        for pack in prepared:
            specs = pack.result()
            run = run_group(
                *(GroupAttempt(job_id=spec.job_id, group=0) for spec in specs),
                on_whole=lambda share: publish_later(share.spec),
            )
            if len(run.shares) == 1:
                publish_later(specs[0])
    return [future.result() for future in ended]


def _published(store: Store, spec: JobSpec) -> JobSpec:
    summary = publish(store, spec, _SETTINGS)
    if summary.models_failed or summary.frames_failed:
        raise RuntimeError(f"models failed: {summary.models_failed}; frames failed: {summary.frames_failed}")
    return spec


def _all_prepared(store: Store, requests: list[InferenceRequest], models: list[ResolvedModel]) -> list[JobSpec]:
    now = datetime.now(UTC)
    return [prepare(store, str(uuid4()), request, _SETTINGS, submitted_at=now, models=models) for request in requests]


def _request(video: Video, models: list[dict[str, Any]], order: dict[str, Any]) -> InferenceRequest:
    return InferenceRequest.model_validate(
        {"video_id": video.video_id, "infer_fps": order["fps"], "end_s": order.get("end_s"), "models": models}
    )


def _result(store: Store, spec: JobSpec, name: str | None) -> dict[str, Any]:
    """Where job.json says that time went; the first model's boxes where `name` says what to call their classes by."""
    gpu_runs = orjson.loads(store.read(f"{spec.result_prefix}/job.json")).get("gpu_runs")
    if name is None:
        return {"gpu_runs": gpu_runs}
    given = orjson.loads(store.read(f"{spec.result_prefix}/predictions.json"))
    elements = zip(given["frame_offset"], given[spec.models[0].key], strict=True)
    found = {number: [_corners(one, name) for one in element["predictions"]] for number, element in elements}
    return {"found": found, "gpu_runs": gpu_runs}


def _corners(one: dict[str, Any], name: str) -> list[Any]:
    left, top = one["x"] - one["width"] / 2, one["y"] - one["height"] / 2
    return [str(one[name]), one["confidence"], left, top, left + one["width"], top + one["height"]]
