"""What is done for one video of a backfill before and after its GPU run. Runs in threads, and without Prefect.

Whatever goes wrong here is the row's: it never stops the others.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from models.backfill_request import BackfillRequest
from models.errors import PassingError, ReelmillError
from models.request import InferenceRequest
from tasks.backfill_items import Item
from tasks.backfill_sources import Places, register_item
from tasks.backfill_table import Row
from tasks.costs import Costs
from tasks.gpu_watch import Part
from tasks.job_spec import JobSpec, UnknownJobError, output_uri, read_spec, write_result_pointer
from tasks.job_steps import check_model_paths, prepare, publish
from tasks.model_sources import resolve_models
from tasks.plans import Plan, plan_from_bytes
from tasks.progress import model_errors
from tasks.resolved_models import ResolvedModel
from tasks.results import JOB_JSON
from tasks.settings import JobSettings
from tasks.shards import finished_shards
from tasks.store_interface import KeyNotFoundError, Store
from tasks.video_holds import hold_video
from tasks.video_records import ExpiredVideoError, UnknownVideoError, Video, find_video

_log = logging.getLogger(__name__)

_PAUSES_S = (1.0, 5.0, 15.0)
"""Before a step whose error may pass is tried again."""


@dataclass
class Order:
    """What all videos of a backfill have in common."""

    store: Store
    request: BackfillRequest
    models: Sequence[ResolvedModel]
    settings: JobSettings
    places: Places
    pauses_s: tuple[float, ...] = _PAUSES_S
    _resolved: dict[str, list[ResolvedModel]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def models_for(self, request: InferenceRequest, overrides: Mapping[str, Any]) -> Sequence[ResolvedModel]:
        """The request's models, resolved once for all rows that name the same. Raises as `resolve_models` does."""
        if "models" not in overrides:
            return self.models
        said = json.dumps([model.model_dump(mode="json") for model in request.models], sort_keys=True)
        with self._lock:
            if said not in self._resolved:
                check_model_paths(request, self.settings)
                self._resolved[said] = resolve_models(self.store, request.models)
            return self._resolved[said]


@dataclass(frozen=True)
class Ready:
    """A video that is registered and planned: what is to be done for it, or that nothing is."""

    spec: JobSpec
    parts: tuple[Part, ...]
    """Groups that still owe a shard."""
    finished: Mapping[str, Any] | None = None
    """What job.json says of a result that stands already."""


@dataclass(frozen=True)
class Problem:
    """Why a row has failed."""

    reason: str
    may_pass: bool

    @classmethod
    def of(cls, error: BaseException) -> Problem:
        """The error's own sentence where it has one."""
        told = str(error) if isinstance(error, ReelmillError) else f"{type(error).__name__}: {error}"
        return cls(" ".join(told.split())[:1000], isinstance(error, PassingError))


def make_ready(order: Order, row: Row, item: Item) -> Ready | Problem:
    """Register the row's video, freeze its job and find out what is missing; an error is tried again if it may pass."""
    if item.problem is not None:
        return Problem(item.problem, may_pass=False)
    for pause_s in (*order.pauses_s, None):
        try:
            return _ready(order, row, item)
        except PassingError as error:
            if pause_s is None:
                return Problem.of(error)
            time.sleep(pause_s)
        except ReelmillError as error:
            return Problem.of(error)
        except Exception as error:
            _log.exception("%r could not be made ready", item)
            return Problem.of(error)
    raise AssertionError("the last try returns")


def _ready(order: Order, row: Row, item: Item) -> Ready:
    store, overrides = order.store, dict(item.overrides)
    order.request.request_for("0" * 32, overrides)  # before bytes travel for a row that cannot be meant
    spec, plan = _frozen(order, row) or _prepared(order, row, item, overrides)
    finished = None if order.request.again == "all" else finished_result(store, spec)
    return Ready(spec, missing_parts(store, spec, plan), finished)


def _frozen(order: Order, row: Row) -> tuple[JobSpec, Plan] | None:
    """The job as an earlier run of the backfill left it, where its video is still there."""
    try:
        spec = read_spec(order.store, row.job_id)
        find_video(order.store, spec.video.video_id)
        hold_video(order.store, row.job_id, spec.video.video_id, order.settings.lease_s)
        return spec, plan_from_bytes(order.store.read(spec.plan_key))
    except (UnknownJobError, UnknownVideoError, ExpiredVideoError, KeyNotFoundError):
        return None


def _prepared(order: Order, row: Row, item: Item, overrides: dict[str, Any]) -> tuple[JobSpec, Plan]:
    video = _video(order, row, item)
    request = order.request.request_for(video.video_id, overrides)
    models = order.models_for(request, overrides)
    now = datetime.now(UTC)
    spec = prepare(order.store, row.job_id, request, order.settings, submitted_at=now, models=models)
    return spec, plan_from_bytes(order.store.read(spec.plan_key))


def _video(order: Order, row: Row, item: Item) -> Video:
    if row.video_id:
        try:
            return find_video(order.store, row.video_id)
        except (UnknownVideoError, ExpiredVideoError):
            pass
    return register_item(order.store, item, order.places)


def missing_parts(store: Store, spec: JobSpec, plan: Plan) -> tuple[Part, ...]:
    """The job's groups that owe a shard of any of their models."""
    standing = {model.key: finished_shards(store, model.fingerprint) for model in spec.models}
    return tuple(
        Part(spec, group, plan)
        for group in spec.groups
        if any(plan.segments[segment] not in standing[key] for key in group.model_keys for segment in group.segments)
    )


def finished_result(store: Store, spec: JobSpec) -> Mapping[str, Any] | None:
    """What job.json says of a result that another try could not better; `None` where there is none."""
    try:
        job: dict[str, Any] = json.loads(store.read(f"{spec.result_prefix}/{JOB_JSON}"))
    except (KeyNotFoundError, ValueError):
        return None
    whole = job.get("state") == "COMPLETED" and not any(failure.get("passing") for failure in job.get("failures", ()))
    return job if whole else None


def take_finished(order: Order, row: Row, spec: JobSpec, job: Mapping[str, Any]) -> None:
    """Point row and job at a result that stood already; it is the row's own where its job made it."""
    facts = {"frames_total": job["frames_total"], "frames_failed": job["frames_failed"]}
    summary = {**facts, "models_failed": job.get("models_failed", [])}
    write_result_pointer(order.store, spec.job_id, prefix=spec.result_prefix, summary=summary)
    facts |= {"video_id": spec.video.video_id, "output_uri": output_uri(order.store, spec.result_prefix)}
    if job.get("job_id") == row.job_id:
        row.to("done", **facts, **_costs(job))
    else:
        row.to("skipped", reason=f"its result stood already, made by job {job.get('job_id')}", **facts)


def publish_row(order: Order, row: Row, spec: JobSpec) -> None:
    """Merge the job's shards into its result, and write how it ended into its row. Raises as `publish` does."""
    summary = publish(order.store, spec, order.settings)
    job = json.loads(order.store.read(f"{spec.result_prefix}/{JOB_JSON}"))
    facts: dict[str, Any] = {
        "frames_total": summary.frames_total,
        "frames_failed": summary.frames_failed,
        "output_uri": output_uri(order.store, spec.result_prefix),
        **_costs(job),
    }
    if not summary.models_failed:
        row.to("done", **facts)
        return
    errors = model_errors(order.store, spec.job_id)
    reasons = {failure.model: failure.reason for failure in reversed(summary.failures)} | errors
    told = "; ".join(f"{key}: {reasons.get(key, 'no frame succeeded')}" for key in summary.models_failed)
    may_pass = any(failure.passing for failure in summary.failures)
    row.to("failed", reason=told, may_pass=may_pass, **facts)


def _costs(job: Mapping[str, Any]) -> dict[str, float | int]:
    """What job.json says that the job cost; GPU seconds are those of all its models."""
    costs = Costs.model_validate(job.get("costs") or {})
    return {
        "decode_cpu_s": costs.decode_cpu_s,
        "gpu_s": sum(costs.gpu_s.values()),
        "read_bytes": costs.read_bytes,
        "written_bytes": costs.written_bytes,
    }
