"""The job spec: a request with everything resolved, frozen in the store by the parent; GPU runs read only that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from models.errors import PermanentError
from models.request import InferenceRequest
from tasks.model_sources import ResolvedModel
from tasks.videos import Video

if TYPE_CHECKING:
    from tasks.plans import Plan
    from tasks.store import Store


class UnknownJobError(PermanentError):
    """No job of that id stands in the store."""


class JobModel(BaseModel):
    """A model of the job and the fingerprint under which its shards lie."""

    model_config = ConfigDict(frozen=True)

    model: ResolvedModel
    fingerprint: str

    @property
    def key(self) -> str:
        """The model's key in the result."""
        return self.model.key


class SegmentGroup(BaseModel):
    """What one GPU run does: some models over some segments, on one pool."""

    model_config = ConfigDict(frozen=True)

    number: int
    pool: str
    model_keys: tuple[str, ...]
    segments: tuple[int, ...]


class JobSpec(BaseModel):
    """Everything that a GPU run and the aggregation need to know."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    created_at: datetime
    request: InferenceRequest
    video: Video
    plan_key: str
    frames_total: int
    models: tuple[JobModel, ...]
    groups: tuple[SegmentGroup, ...]
    request_fingerprint: str

    @property
    def result_prefix(self) -> str:
        """Where the result lies in the store."""
        return f"results/{self.request_fingerprint}"

    def group(self, number: int) -> SegmentGroup:
        """The group of that number."""
        return next(group for group in self.groups if group.number == number)

    def models_of(self, group: SegmentGroup) -> list[JobModel]:
        """The models that a group runs, in the request's order."""
        return [model for model in self.models if model.key in group.model_keys]


def digest(facts: object) -> str:
    """32 hex digits over the canonical JSON of `facts`."""
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def shard_fingerprint(video_sha256: str, plan_hash: str, model: ResolvedModel) -> str:
    """The hash of all that decides what a shard says; not the key, the pool or the job."""
    return digest({"video": video_sha256, "plan": plan_hash, "model": model.fingerprint_parts()})


def groups_by_pool(
    models: Sequence[ResolvedModel], segments: int, default_pool: str, gpu_runs: int = 1
) -> tuple[SegmentGroup, ...]:
    """Make `gpu_runs` groups of neighbouring segments for each pool that the models name, fewer of fewer segments."""
    keys_of_pool: dict[str, list[str]] = {}
    for model in models:
        keys_of_pool.setdefault(model.pool or default_pool, []).append(model.key)
    runs = min(gpu_runs, segments)
    parts = [(pool, tuple(keys), run) for pool, keys in keys_of_pool.items() for run in range(runs)]
    return tuple(
        SegmentGroup(
            number=number,
            pool=pool,
            model_keys=keys,
            segments=tuple(range(segments * run // runs, segments * (run + 1) // runs)),
        )
        for number, (pool, keys, run) in enumerate(parts)
    )


def make_spec(
    job_id: str,
    request: InferenceRequest,
    video: Video,
    plan: Plan,
    models: Sequence[ResolvedModel],
    *,
    default_pool: str,
) -> JobSpec:
    """Put a spec together; pure."""
    job_models = tuple(
        JobModel(model=model, fingerprint=shard_fingerprint(video.sha256, plan.hash, model)) for model in models
    )
    return JobSpec(
        job_id=job_id,
        created_at=datetime.now(UTC),
        request=request,
        video=video,
        plan_key=plan_key(video.video_id, plan.hash),
        frames_total=len(plan.frame_offset),
        models=job_models,
        groups=groups_by_pool(models, len(plan.segments), default_pool, request.gpu_runs),
        request_fingerprint=digest([[model.key, model.fingerprint] for model in job_models]),
    )


def plan_key(video_id: str, plan_hash: str) -> str:
    """Where a plan lies in the store."""
    return f"videos/{video_id}/plans/{plan_hash}.arrow"


def spec_key(job_id: str) -> str:
    """Where a job's frozen spec lies in the store."""
    return f"jobs/{job_id}/spec.json"


def write_spec(store: Store, spec: JobSpec) -> None:
    """Freeze the spec in the store."""
    store.write(spec_key(spec.job_id), spec.model_dump_json(indent=1).encode())


def read_spec(store: Store, job_id: str) -> JobSpec:
    """The frozen spec of a job; `UnknownJobError` where there is none."""
    key = spec_key(job_id)
    if store.stat(key) is None:
        raise UnknownJobError(f"no job {job_id} in the store {store.uri}; check the id and REELMILL_STORE.")
    return JobSpec.model_validate_json(store.read(key))


def write_attempt(store: Store, job_id: str, group: int, attempt: int) -> None:
    """Say which attempt at a group is the living one; older ones see it before their next segment and end."""
    store.write(f"jobs/{job_id}/attempt-{group}.json", json.dumps({"attempt": attempt}).encode())


def living_attempt(store: Store, job_id: str, group: int) -> int:
    """The attempt number that may still write for a group; 0 before any was started."""
    key = f"jobs/{job_id}/attempt-{group}.json"
    if store.stat(key) is None:
        return 0
    return int(json.loads(store.read(key))["attempt"])


def write_result_pointer(store: Store, job_id: str, *, prefix: str, summary: dict[str, Any]) -> None:
    """Say where a job's published result lies, with its counts."""
    pointer = {"output_uri": output_uri(store, prefix), "prefix": prefix, **summary}
    store.write(f"jobs/{job_id}/result.json", json.dumps(pointer, indent=1).encode())


def read_result_pointer(store: Store, job_id: str) -> dict[str, Any] | None:
    """Where a job's published result lies (`prefix`, `output_uri`), with its counts; None where it has none."""
    key = f"jobs/{job_id}/result.json"
    if store.stat(key) is None:
        return None
    pointer: dict[str, Any] = json.loads(store.read(key))
    return pointer


def output_uri(store: Store, prefix: str) -> str:
    """What a result is called outside: a path of a local store, an `s3://` URI of a bucket."""
    return f"{store.uri.rstrip('/')}/{prefix}"
