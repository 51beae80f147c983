"""A living job's hold on its video: a lease in the store that runs out by itself when the job dies.

It knows nothing of Prefect; the tag `video:<id>` on a run is the other half of the hold (`tasks.expiry`).
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from tasks.store_interface import KeyNotFoundError, Store

_log = logging.getLogger(__name__)


class Lease(BaseModel):
    """Which video a job holds, and until when."""

    model_config = ConfigDict(frozen=True)

    video_id: str
    renewed_at: AwareDatetime
    expires_at: AwareDatetime


def write_lease(store: Store, job_id: str, video_id: str, lease_s: float) -> None:
    """Take or renew the job's lease on a video, for `lease_s` seconds from now."""
    now = datetime.now(UTC)
    lease = Lease(video_id=video_id, renewed_at=now, expires_at=now + timedelta(seconds=lease_s))
    store.write(lease_key(job_id), lease.model_dump_json().encode())


def drop_lease(store: Store, job_id: str) -> None:
    """Give the job's lease up; none is no error."""
    store.delete([lease_key(job_id)])


def held_videos(store: Store, *, now: datetime | None = None) -> set[str]:
    """Ids of the videos that a lease which has not run out holds."""
    moment = now or datetime.now(UTC)
    keys = [info.key for info in store.list("jobs/") if info.key.endswith("/lease.json")]
    return {lease.video_id for key in keys if (lease := _read(store, key)) is not None and lease.expires_at > moment}


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
