"""One job's work for the same request, however often it is made: who leads, who joins, whose result is there already.

A request has a key: the caller's own, or one derived from what decides its result. The first job that claims the key
leads; later ones join it while its lease lives, take its result when it has one, and take its place when it is gone.
Runs without Prefect.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from models.errors import PassingError, PermanentError
from models.request import InferenceRequest, parse_fps
from tasks.job_spec import JobSpec, digest, read_result_pointer
from tasks.leases import is_living
from tasks.removals import wait_until_settled
from tasks.results import JOB_JSON, read_summary
from tasks.store_interface import KeyNotFoundError, ObjectChangedError, Store

_log = logging.getLogger(__name__)

Part = Literal["lead", "join", "done"]


class KeyTakenError(PermanentError):
    """The caller's idempotency key belongs to another request."""


class LeaderFailedError(PermanentError):
    """The job that this one had joined ended with an error that trying again cannot help."""


class RequestRecord(BaseModel):
    """Who leads a key, and for what; stands under `record_key`."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    words: str
    """Hash of what was asked for, as it was said."""
    request_fingerprint: str
    """Hash of what decides the result, with everything resolved."""
    claimed_at: AwareDatetime
    error: str | None = None
    """What the leader said when it ended for good without a result."""

    def is_of(self, spec: JobSpec) -> bool:
        """Whether the job asks for the same: in the same words, or for the same result in others."""
        return self.request_fingerprint == spec.request_fingerprint or self.words == request_words(spec.request)


@dataclass(frozen=True)
class Claim:
    """What a job is to do, and the job that leads; that is itself where it leads."""

    part: Part
    leader_id: str


def record_key(spec: JobSpec) -> str:
    """Where the record of a job's key lies: its request's own key, else one derived from what decides the result."""
    own = spec.request.idempotency_key
    return f"requests/{digest(['given', own] if own is not None else ['derived', spec.request_fingerprint])}.json"


def request_words(request: InferenceRequest) -> str:
    """The hash of what was asked for; not how it is run (pools, GPU runs) or told of."""
    models = [model.model_dump(mode="json", exclude_unset=True, exclude={"pool"}) for model in request.models]
    return digest([request.video_id, str(parse_fps(request.infer_fps)), request.start_s or 0, request.end_s, models])


def claim(store: Store, spec: JobSpec) -> Claim:
    """Lead the request's key, or say which job to join, or whose result to take.

    A result counts as there when every model has good elements and nothing in it may get better by trying again;
    `force` lets none count, but joins a job that runs. Raises `KeyTakenError`.
    """
    while True:
        record, etag = _read(store, spec)
        if record is not None:
            if record.job_id == spec.job_id:
                return Claim("lead", spec.job_id)
            if not record.is_of(spec):
                raise _taken(spec, record)
            # First the lease, then the result: the leader gives its lease up when its result is there.
            living = is_living(store, record.job_id)
            if not spec.request.force and _has_good_result(store, record.job_id):
                return Claim("done", record.job_id)
            if living:
                return Claim("join", record.job_id)
        if _write(store, spec, etag):
            return Claim("lead", spec.job_id)


def follow(store: Store, spec: JobSpec, *, poll_s: float, look: Callable[[str], object]) -> str | None:
    """Wait as long as another job leads the request's key; gives the job whose result is the request's.

    `None` where this job is to do the work: at once, or when the leader is gone without a result. `look` is called
    with the leader's id at every round. Raises `KeyTakenError`, and `LeaderFailedError` with what the leader said.
    """
    joined: str | None = None
    while True:
        try:
            if joined is not None and (outcome := _outcome(store, spec, joined)) is not None:
                return outcome
            claimed = claim(store, spec)
        except PassingError as error:
            _log.warning("the request's record cannot be looked at (%s); tried again", error)
        else:
            if claimed.part != "join":
                return claimed.leader_id if claimed.part == "done" else None
            if claimed.leader_id != joined:
                _log.info("job %s does the same work; this one waits for its result", claimed.leader_id)
            joined = claimed.leader_id
            look(joined)
        time.sleep(poll_s)


def note_failure(store: Store, spec: JobSpec, error: PermanentError) -> None:
    """Tell the jobs that have joined this one that it ended for good without a result."""
    record, etag = _read(store, spec)
    if record is None or record.job_id != spec.job_id:
        return
    try:
        store.swap(
            record_key(spec), record.model_copy(update={"error": str(error)}).model_dump_json().encode(), if_etag=etag
        )
    except ObjectChangedError:
        return


def _outcome(store: Store, spec: JobSpec, leader_id: str) -> str | None:
    """The leader where it has published, however good that is; None while it hasn't."""
    record, _ = _read(store, spec)
    if record is not None and record.job_id == leader_id and record.error is not None:
        raise LeaderFailedError(record.error)
    return leader_id if _result_prefix(store, leader_id) is not None else None


def _has_good_result(store: Store, job_id: str) -> bool:
    prefix = _result_prefix(store, job_id)
    if prefix is None:
        return False
    try:
        summary = read_summary(store, prefix)
    except KeyNotFoundError:
        return False
    return not summary.models_failed and not any(failure.passing for failure in summary.failures)


def _result_prefix(store: Store, job_id: str) -> str | None:
    """Where the job's result lies, as long as it is kept."""
    pointer = read_result_pointer(store, job_id)
    prefix = None if pointer is None else str(pointer["prefix"])
    if prefix is not None:
        wait_until_settled(store, prefix)
    return prefix if prefix is not None and store.stat(f"{prefix}/{JOB_JSON}") is not None else None


def _read(store: Store, spec: JobSpec) -> tuple[RequestRecord | None, str | None]:
    """The key's record with an etag that is no newer than it."""
    key = record_key(spec)
    info = store.stat(key)
    if info is None:
        return None, None
    try:
        return RequestRecord.model_validate_json(store.read(key)), info.etag
    except KeyNotFoundError:
        return None, None


def _write(store: Store, spec: JobSpec, etag: str | None) -> bool:
    record = RequestRecord(
        job_id=spec.job_id,
        words=request_words(spec.request),
        request_fingerprint=spec.request_fingerprint,
        claimed_at=datetime.now(UTC),
    )
    try:
        store.swap(record_key(spec), record.model_dump_json().encode(), if_etag=etag)
    except ObjectChangedError:
        return False
    return True


def _taken(spec: JobSpec, record: RequestRecord) -> KeyTakenError:
    return KeyTakenError(
        f"the idempotency key {spec.request.idempotency_key!r} belongs to another request (job {record.job_id}); "
        "give this one a key of its own, or none."
    )
