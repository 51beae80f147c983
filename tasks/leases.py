"""A parent's sign of life, and its hold on a video: a lease in the store that runs out by itself when the parent dies.

State in Prefect is neither: a run whose worker was ended stays RUNNING for ever. It knows nothing of Prefect; the tag
`video:<id>` on a run is the other half of the hold (`tasks.expiry`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from models.errors import PassingError
from tasks.store_interface import KeyNotFoundError, Store

_log = logging.getLogger(__name__)

_RETRY_S = 3.0


class Lease(BaseModel):
    """Which video a job holds, and until when; a parent without a video of its own only lives."""

    model_config = ConfigDict(frozen=True)

    video_id: str | None
    renewed_at: AwareDatetime
    expires_at: AwareDatetime


class Renewals:
    """Calls `renew` three times in a lease's time, in a thread of its own; after an error again in a moment.

    In a thread, because a parent that merges a long result must not seem dead. Soon after an error, because whoever
    finds a lease run out when the store is back takes the job to be dead.
    """

    def __init__(self, renew: Callable[[], None], lease_s: float) -> None:
        self._renew = renew
        self._usual_s = lease_s / 3
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def end(self) -> None:
        """Return when nothing is renewed any more."""
        self._ended.set()
        self._thread.join()

    def _keep(self) -> None:
        wait_s = self._usual_s
        while not self._ended.wait(wait_s):
            try:
                self._renew()
                wait_s = self._usual_s
            except Exception as error:
                _log.warning("a lease could not be renewed (%s); tried again", error)
                wait_s = min(_RETRY_S, self._usual_s)


class LeaseKeeper:
    """Renews a parent's lease from entering to leaving; on leaving it is dropped."""

    def __init__(self, store: Store, job_id: str, lease_s: float) -> None:
        self._store = store
        self._job_id = job_id
        self._lease_s = lease_s
        self._video_id: str | None = None
        self._renewals = Renewals(self._renew, lease_s)

    def hold(self, video_id: str) -> None:
        """Hold this video from now on; before, what the job's preparation wrote into the lease counts."""
        self._video_id = video_id
        self._renew()

    def _renew(self) -> None:
        lease = read_lease(self._store, self._job_id) if self._video_id is None else None
        video_id = self._video_id or (lease.video_id if lease is not None else None)
        write_lease(self._store, self._job_id, video_id, self._lease_s)

    def __enter__(self) -> LeaseKeeper:
        self._renew()
        self._renewals.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._renewals.end()
        drop_if_possible(self._store, self._job_id)


def write_lease(store: Store, job_id: str, video_id: str | None, lease_s: float) -> None:
    """Take or renew the job's lease on a video, for `lease_s` seconds from now."""
    now = datetime.now(UTC)
    lease = Lease(video_id=video_id, renewed_at=now, expires_at=now + timedelta(seconds=lease_s))
    store.write(lease_key(job_id), lease.model_dump_json().encode())


def drop_lease(store: Store, job_id: str) -> None:
    """Give the job's lease up; none is no error."""
    store.delete([lease_key(job_id)])


def drop_if_possible(store: Store, job_id: str) -> None:
    """Give the job's lease up; where the store is away it runs out by itself, and the job has ended as it did."""
    try:
        drop_lease(store, job_id)
    except PassingError as error:
        _log.warning("the lease of %s could not be dropped (%s); it runs out by itself", job_id, error)


def held_videos(store: Store, *, now: datetime | None = None) -> set[str]:
    """Ids of the videos that a lease which has not run out holds."""
    moment = now or datetime.now(UTC)
    keys = [info.key for info in store.list("jobs/") if info.key.endswith("/lease.json")]
    leases = [lease for key in keys if (lease := _read(store, key)) is not None and lease.expires_at > moment]
    return {lease.video_id for lease in leases if lease.video_id is not None}


def read_lease(store: Store, job_id: str) -> Lease | None:
    """The job's lease, run out or not; None where there is none."""
    return _read(store, lease_key(job_id))


def is_living(store: Store, job_id: str, *, now: datetime | None = None) -> bool:
    """Whether the parent has renewed its lease in time."""
    lease = read_lease(store, job_id)
    return lease is not None and lease.expires_at > (now or datetime.now(UTC))


def lease_key(job_id: str) -> str:
    """Where a job's lease lies."""
    return f"jobs/{job_id}/lease.json"


def _read(store: Store, key: str) -> Lease | None:
    try:
        return Lease.model_validate_json(store.read(key))
    except KeyNotFoundError:  # dropped since it was listed
        return None
    except ValidationError:
        _log.warning("%s is no lease and holds nothing", key)
        return None
