"""How a job ended, and its result's files: read from the store, so that it is the same for embedded and served jobs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.cli_errors import BAD_REQUEST, FAILED, INCOMPLETE
from models.errors import PermanentError

if TYPE_CHECKING:
    from tasks.store import Store

COMPLETED = "COMPLETED"
FINAL = frozenset({COMPLETED, "FAILED", "CRASHED", "CANCELLED"})
"""State types of Prefect after which nothing more comes."""


class NoResultError(PermanentError):
    """The job has no result in the store, or not yet."""


@dataclass(frozen=True)
class JobOutcome:
    """A job that has ended. Counts and places are `None` where it published nothing."""

    job_id: str
    state_type: str
    message: str | None
    prefix: str | None = None
    output_uri: str | None = None
    frames_total: int | None = None
    frames_failed: int | None = None
    models_failed: tuple[str, ...] = ()
    refused: bool = False
    """It ended before its request was taken for good: the request cannot be meant."""

    @property
    def exit_status(self) -> int:
        """0 done, 1 failed, 2 refused, 3 done with frames missing."""
        if self.state_type != COMPLETED:
            return BAD_REQUEST if self.refused else FAILED
        return INCOMPLETE if self.frames_failed else 0


def outcome_of(store: Store, job_id: str, state_type: str, message: str | None) -> JobOutcome:
    """What the store knows of a job that ended in that state."""
    pointer = result_pointer(store, job_id) or {}
    return JobOutcome(
        job_id=job_id,
        state_type=state_type,
        message=message,
        prefix=pointer.get("prefix"),
        output_uri=pointer.get("output_uri"),
        frames_total=pointer.get("frames_total"),
        frames_failed=pointer.get("frames_failed"),
        models_failed=tuple(pointer.get("models_failed", ())),
        refused=state_type == "FAILED" and store.stat(f"jobs/{job_id}/spec.json") is None,
    )


def result_pointer(store: Store, job_id: str) -> dict[str, Any] | None:
    """Where the job's published result lies, with its counts; `None` where it has none."""
    from tasks.job_spec import read_result_pointer

    return read_result_pointer(store, job_id)


def result_prefix(store: Store, job_id: str) -> str:
    """Where the job's result lies in the store. Raises `NoResultError`, saying whether one can still come."""
    if pointer := result_pointer(store, job_id):
        return str(pointer["prefix"])
    if store.stat(f"jobs/{job_id}/spec.json") is not None:
        raise NoResultError(f"job {job_id} has no result yet; see how far it is with `reelmill status {job_id}`.")
    raise NoResultError(f"no job {job_id} in the store {store.uri}; check the id and REELMILL_STORE.")


def fetch_result(store: Store, prefix: str, folder: Path) -> list[Path]:
    """Copy a result's files into `folder`, over those of an earlier one; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in _result_names()]
    for path in paths:
        store.fetch(f"{prefix}/{path.name}", path)
    return paths


def result_uris(store: Store, prefix: str) -> list[str]:
    """Where a result's files lie: paths of a local store, `s3://` addresses of a bucket."""
    return [f"{store.uri.rstrip('/')}/{prefix}/{name}" for name in _result_names()]


def _result_names() -> tuple[str, ...]:
    from tasks.results import JOB_JSON, PREDICTIONS_JSON, PREDICTIONS_PARQUET

    return (PREDICTIONS_JSON, PREDICTIONS_PARQUET, JOB_JSON)
