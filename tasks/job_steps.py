"""The parent's steps: from a request to a frozen spec, and from shards to a published result.

Imports neither torch nor transformers: the parent runs where no GPU is. Runs without Prefect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from models.catalog import is_path
from models.errors import PermanentError
from models.request import InferenceRequest, parse_fps
from tasks.costs import CountedStore
from tasks.job_spec import (
    JobSpec,
    make_spec,
    plan_key,
    read_result_pointer,
    read_spec,
    spec_key,
    write_result_pointer,
    write_spec,
)
from tasks.model_sources import ResolvedModel, resolve_models
from tasks.notification import keep_webhook
from tasks.plans import Plan, make_plan, plan_from_bytes, plan_to_bytes
from tasks.progress import Heartbeat, model_errors, read_heartbeats, spent
from tasks.results import ResultModel, ResultSummary, publish_results, read_summary
from tasks.settings import JobSettings, StoreSettings
from tasks.store import Store
from tasks.stored_index import index_of
from tasks.video_facts import frames_text
from tasks.video_holds import hold_video
from tasks.videos import Video, find_video, register_url


class ModelPathError(PermanentError):
    """A served request names a folder of the worker."""


def frozen_or_prepared(
    store: Store, job_id: str, request: InferenceRequest, settings: JobSettings, *, submitted_at: datetime
) -> JobSpec:
    """The job's spec as it was frozen when the job was first started, else prepared now.

    A job that is started again goes on with what it began with, and the secret parts of its request's URLs are gone by
    then. Raises what `keep_webhook` and `prepare` raise.
    """
    if store.stat(spec_key(job_id)) is not None:
        spec = read_spec(store, job_id)
        hold_video(store, job_id, spec.video.video_id, settings.lease_s)
        return spec
    keep_webhook(store, job_id, request)
    return prepare(store, job_id, request, settings, submitted_at=submitted_at)


def prepare(
    store: Store,
    job_id: str,
    request: InferenceRequest,
    settings: JobSettings,
    *,
    submitted_at: datetime,
    models: Sequence[ResolvedModel] | None = None,
) -> JobSpec:
    """Register what a URL points to, plan the samples, resolve the models, and freeze it all in the store.

    A video that expired after the job was submitted is still the job's. `models`: the request's, where somebody has
    resolved them for many requests. Raises the named errors of registration, planning and model resolution; nothing is
    frozen then.
    """
    if models is None:
        check_model_paths(request, settings)
        models = resolve_models(store, list(request.models))
    video = _video(store, request, submitted_at)
    hold_video(store, job_id, video.video_id, settings.lease_s)
    plan = stored_plan(store, video, request)
    spec = make_spec(job_id, request_without_url(request, video), video, plan, models, default_pool=settings.gpu_pool)
    write_spec(store, spec)
    return spec


def check_model_paths(request: InferenceRequest, settings: JobSettings) -> None:
    """Raise `ModelPathError` where a served request names a folder of this machine that it may not have."""
    if settings.dispatch == "inline":
        return
    allowed = settings.model_dir.expanduser().resolve() if settings.model_dir is not None else None
    for model in request.models:
        if not is_path(model.model_id):
            continue
        if allowed is None or not Path(model.model_id).expanduser().resolve().is_relative_to(allowed):
            raise ModelPathError(
                f"this worker takes no model from the folder {model.model_id[:200]!r}; put it into the store with "
                "`reelmill models add NAME FOLDER` and ask for it by that name."
            )


def _video(store: Store, request: InferenceRequest, submitted_at: datetime) -> Video:
    if request.video_id is None:
        return register_url(store, str(request.input_url))
    video = find_video(store, request.video_id, held=True)
    return video if submitted_at < video.expires_at else find_video(store, request.video_id)


def request_without_url(request: InferenceRequest, video: Video) -> InferenceRequest:
    """The same request by video id and without a webhook: URLs may carry secrets, which no spec and no result shows."""
    return request.model_copy(update={"input_url": None, "webhook_url": None, "video_id": video.video_id})


def stored_plan(store: Store, video: Video, request: InferenceRequest) -> Plan:
    """Plan the video's samples, and put the plan into the store."""
    index = index_of(store, video, StoreSettings().cache_dir.expanduser())
    plan = make_plan(index, infer_fps=parse_fps(request.infer_fps), start_s=request.start_s, end_s=request.end_s)
    store.write(plan_key(video.video_id, plan.hash), plan_to_bytes(plan))
    return plan


def publish(store: Store, spec: JobSpec, settings: JobSettings) -> ResultSummary:
    """Merge the job's shards into its result and point the job at it."""
    errors, counted = model_errors(store, spec.job_id), CountedStore(store)

    def facts() -> dict[str, Any]:
        costs = spent(store, spec.job_id) + counted.costs
        runs = run_facts(read_heartbeats(store, spec.job_id))
        return {**job_facts(spec, errors), "gpu_runs": runs, "costs": costs.model_dump(mode="json")}

    summary = publish_results(
        counted.as_store(),
        prefix=spec.result_prefix,
        plan=plan_from_bytes(store.read(spec.plan_key)),
        models=[
            ResultModel(model.key, model.model.inference_type, model.fingerprint, error=errors.get(model.key))
            for model in spec.models
        ],
        job=facts,
        scratch_dir=settings.scratch_dir,
    )
    write_result_pointer(store, spec.job_id, prefix=spec.result_prefix, summary=counts(summary))
    return summary


def take_result(store: Store, spec: JobSpec, leader_id: str) -> tuple[JobSpec, ResultSummary]:
    """Point the job at the result of another that has done its work; gives that job's spec, and what the result holds.

    Raises `KeyNotFoundError` where the result has been deleted meanwhile.
    """
    pointer = read_result_pointer(store, leader_id)
    leader = read_spec(store, leader_id)
    prefix = str(pointer["prefix"]) if pointer is not None else leader.result_prefix
    summary = read_summary(store, prefix)
    write_result_pointer(store, spec.job_id, prefix=prefix, summary=counts(summary))
    return leader, summary


def job_facts(spec: JobSpec, errors: Mapping[str, str]) -> dict[str, Any]:
    """What job.json says beyond the counts: request, video, models, and `errors` of models as a whole, by key."""
    return {
        "job_id": spec.job_id,
        "created_at": spec.created_at.isoformat(),
        "request": spec.request.model_dump(mode="json"),
        "video": spec.video.model_dump(mode="json"),
        "models": [
            {**model.model.model_dump(mode="json"), "fingerprint": model.fingerprint, "error": errors.get(model.key)}
            for model in spec.models
        ],
    }


def run_facts(beats: Mapping[int, Heartbeat]) -> list[dict[str, Any]]:
    """What job.json says of the GPU runs: where their time went, so that it shows whether to buy cores or GPUs."""
    return [
        {"group": group, "attempt": beat.attempt, **(beat.times.model_dump(mode="json") if beat.times else {})}
        for group, beat in sorted(beats.items())
    ]


def counts(summary: ResultSummary) -> dict[str, Any]:
    """The counts that a job's labels and its result pointer carry."""
    return {
        "frames_total": summary.frames_total,
        "frames_failed": summary.frames_failed,
        "models_failed": list(summary.models_failed),
    }


def summary_table(spec: JobSpec, summary: ResultSummary, uri: str, runs: Sequence[Mapping[str, Any]] = ()) -> str:
    """The markdown of a finished job: what it looked at, how many frames each model spoke of, who set the pace."""
    video, facts = spec.video, spec.video.facts
    rows = [
        f"| {model.key} | {model.model.inference_type} | {model.model.model_version or ''} "
        f"| {summary.ok[model.key]} | {summary.failed[model.key]} |"
        for model in spec.models
    ]
    return "\n".join(
        [
            f"**{video.file_name}** {facts.width}×{facts.height}, {facts.rate} frames/s, {facts.duration_s:.1f} s, "
            f"{summary.frames_total} samples, infer_fps {spec.request.infer_fps}",
            "",
            *([f"Frames: {frames_text(facts)}.", ""] if facts.frames_missing or facts.counted_by == "decoding" else []),
            "| model | type | version | frames good | frames failed |",
            "|---|---|---|---|---|",
            *rows,
            "",
            *(line for run in runs if run.get("pace") for line in (pace_text(run), "")),
            f"Result: `{uri}`",
        ]
    )


def pace_text(run: Mapping[str, Any]) -> str:
    """Say of one GPU run who was the slowest, and for how long the others waited."""
    waited = ", ".join(
        f"{key} {times.get('waiting_for_frames_s', 0):.1f} s for frames" for key, times in run["models"].items()
    )
    blocked_s = run["extraction"].get("waiting_for_models_s", 0)
    return (
        f"On {run['device']} **{run['pace']}** set the pace. Waited: decoding {blocked_s:.1f} s for models, {waited}."
    )
