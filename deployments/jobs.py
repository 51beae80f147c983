"""Jobs as a caller sees them: submitted to a Prefect server, and read back from it, or from the store without one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from deployments.job_results import COMPLETED, FINAL, result_pointer
from models.errors import PermanentError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from models.request import InferenceRequest
    from tasks.store import Store

FLOW = "infer-video"
DEPLOYMENT = f"{FLOW}/default"


class UnknownJobIdError(PermanentError):
    """No job has that id."""


class NotDeployedError(PermanentError):
    """The server has no deployment of `infer-video`."""


@dataclass(frozen=True)
class Job:
    """A job's state, and the labels that it set: `output_uri`, `frames_total`, `frames_done`, `frames_failed` …"""

    job_id: str
    state_type: str
    state_name: str
    message: str | None
    created_at: datetime | None
    labels: dict[str, Any] = field(default_factory=dict)

    @property
    def final(self) -> bool:
        """Whether nothing more comes."""
        return self.state_type in FINAL


def job_id_of(text: str) -> str:
    """A job's id as the store writes it, whether it was given with dashes or without. Raises `UnknownJobIdError`."""
    try:
        return str(UUID(text))
    except ValueError as error:
        raise UnknownJobIdError(f"{text[:100]!r} is no job id; see `reelmill jobs`.") from error


def submit(client: SyncPrefectClient, request: InferenceRequest) -> str:
    """Start a job on the server; its id. Raises `NotDeployedError`; the server's refusal comes as httpx's error."""
    from prefect.exceptions import ObjectNotFound

    from tasks.run_tags import video_tag

    try:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound as error:
        raise NotDeployedError(
            f"the Prefect server at {client.api_url} has no deployment {DEPLOYMENT}; "
            "deploy deployments/prefect.yaml there, or use `reelmill up`."
        ) from error
    run = client.create_flow_run_from_deployment(
        deployment.id,
        # What was not asked for stays unsaid: a catalog entry's own defaults count then.
        parameters={"request": request.model_dump(mode="json", exclude_unset=True, exclude_none=True)},
        tags=[video_tag(request.video_id)] if request.video_id else [],
    )
    return str(run.id)


def read_job(client: SyncPrefectClient, job_id: str) -> Job:
    """The job as the server knows it. Raises `UnknownJobIdError`."""
    from prefect.exceptions import ObjectNotFound

    try:
        return _job(client.read_flow_run(UUID(job_id)))
    except ObjectNotFound as error:
        raise UnknownJobIdError(f"the Prefect server knows no job {job_id}; see `reelmill jobs`.") from error


def list_jobs(client: SyncPrefectClient, *, limit: int) -> list[Job]:
    """The newest jobs of the server, newest first."""
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName
    from prefect.client.schemas.sorting import FlowRunSort

    runs = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=limit,
    )
    return [_job(run) for run in runs]


def _job(run: FlowRun) -> Job:
    state = run.state
    return Job(
        job_id=str(run.id),
        state_type=state.type.value if state else "SCHEDULED",
        state_name=state.name or state.type.value.title() if state else "Scheduled",
        message=state.message if state else None,
        created_at=run.created,
        labels={name: value for name, value in run.labels.items() if not name.startswith("prefect.")},
    )


def wait_for(read: Callable[[], Job], *, poll_s: float) -> Iterator[Job]:
    """The job as it is now and after every `poll_s` seconds, up to its final state."""
    while True:
        job = read()
        yield job
        if job.final:
            return
        time.sleep(poll_s)


def read_stored_job(store: Store, job_id: str) -> Job:
    """The job as the store alone shows it, for jobs whose Prefect server is gone. Raises `UnknownJobError`."""
    from tasks.job_spec import read_spec
    from tasks.progress import frames_done, read_heartbeats

    spec = read_spec(store, job_id)
    labels: dict[str, Any] = {"video_id": spec.video.video_id, "frames_total": spec.frames_total}
    pointer = result_pointer(store, job_id)
    if pointer is None:
        labels["frames_done"] = frames_done(read_heartbeats(store, job_id).values(), [item.key for item in spec.models])
        state_type, state_name = _state_without_result(store, job_id)
        return Job(job_id, state_type, state_name, None, spec.created_at, labels)
    failed = pointer.get("models_failed") or []
    done = spec.frames_total - pointer["frames_failed"]
    labels |= {"frames_done": done, "frames_failed": pointer["frames_failed"]}
    labels |= {"output_uri": pointer["output_uri"]} | ({"models_failed": ",".join(failed)} if failed else {})
    state_type = "FAILED" if failed else COMPLETED
    return Job(job_id, state_type, state_type.title(), None, spec.created_at, labels)


def _state_without_result(store: Store, job_id: str) -> tuple[str, str]:
    """A job holds a lease while it runs, gives it up when it ends, and lets it run out when it is killed."""
    from tasks.leases import Lease, lease_key

    key = lease_key(job_id)
    if store.stat(key) is not None and Lease.model_validate_json(store.read(key)).expires_at > datetime.now(UTC):
        return "RUNNING", "Running"
    return "CRASHED", "Ended without a result"


def list_stored_jobs(store: Store, *, limit: int) -> list[Job]:
    """The newest jobs that the store knows, newest first."""
    specs = [info for info in store.list("jobs/") if info.key.endswith("/spec.json")]
    newest = sorted(specs, key=lambda info: info.modified_at, reverse=True)[:limit]
    return [read_stored_job(store, info.key.split("/")[1]) for info in newest]
