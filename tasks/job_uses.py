"""What jobs use, as their records in the store say it: videos, shards, results, and when they last did.

It knows nothing of Prefect. A job's spec says what it uses before it looks for any of it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from tasks.leases import Lease
from tasks.store_interface import KeyNotFoundError, ObjectInfo, Store

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobUse:
    """One job: `used_at` is when it last wrote anything, a lease or a heartbeat too."""

    job_id: str
    used_at: datetime
    is_living: bool
    """Its lease has not run out."""
    has_result: bool
    lease_until: datetime | None
    video_ids: frozenset[str]
    folders: frozenset[str]
    """Of shards and of its result, such as `shards/{fingerprint}`."""


class JobUses:
    """Looks at all jobs' records, as often as is needed: what has not changed since is not read again."""

    def __init__(self, store: Store) -> None:
        """Nothing is read yet."""
        self._store = store
        self._read: dict[str, tuple[str, dict[str, Any]]] = {}
        """By key: etag and content."""

    def look(self, moment: datetime) -> list[JobUse]:
        """Every job that the store knows, as of `moment`."""
        return [self._use(job_id, infos, moment) for job_id, infos in listed_folders(self._store, "jobs/")]

    def _use(self, job_id: str, infos: list[ObjectInfo], moment: datetime) -> JobUse:
        of_name = {info.key.rpartition("/")[2]: info for info in infos}
        spec = self._content(of_name.get("spec.json"))
        lease = _lease(self._content(of_name.get("lease.json")))
        videos = {_text(spec.get("video"), "video_id"), lease.video_id if lease is not None else None}
        models = spec.get("models")
        shards = {_text(model, "fingerprint") for model in models} if isinstance(models, list) else set()
        folders = {f"shards/{fingerprint}" for fingerprint in shards if fingerprint is not None}
        if (result := _text(spec, "request_fingerprint")) is not None:
            folders.add(f"results/{result}")
        return JobUse(
            job_id=job_id,
            used_at=max(info.modified_at for info in infos),
            is_living=lease is not None and lease.expires_at > moment,
            has_result="result.json" in of_name,
            lease_until=lease.expires_at if lease is not None else None,
            video_ids=frozenset(video for video in videos if video is not None),
            folders=frozenset(folders),
        )

    def _content(self, info: ObjectInfo | None) -> dict[str, Any]:
        if info is None:
            return {}
        known = self._read.get(info.key)
        if known is not None and known[0] == info.etag:
            return known[1]
        try:
            content = json.loads(self._store.read(info.key))
        except KeyNotFoundError:  # dropped since it was listed
            return {}
        except ValueError:
            _log.warning("%s cannot be read and holds nothing", info.key)
            content = {}
        content = content if isinstance(content, dict) else {}
        self._read[info.key] = info.etag, content
        return content


def last_uses(uses: Iterable[JobUse]) -> dict[str, datetime]:
    """When each folder of shards or of a result was last used by a job."""
    found: dict[str, datetime] = {}
    for use in uses:
        for folder in use.folders:
            found[folder] = max(use.used_at, found.get(folder, use.used_at))
    return found


def listed_folders(store: Store, prefix: str) -> Iterator[tuple[str, list[ObjectInfo]]]:
    """Yield the name of each folder below `prefix` and what lies in it; objects beside the folders are left out."""
    inside = (info for info in store.list(prefix) if "/" in info.key.removeprefix(prefix))
    for name, infos in groupby(inside, key=lambda info: info.key.removeprefix(prefix).split("/")[0]):
        yield name, list(infos)


def _lease(content: dict[str, Any]) -> Lease | None:
    try:
        return Lease.model_validate(content) if content else None
    except ValueError:
        return None


def _text(content: object, name: str) -> str | None:
    value = content.get(name) if isinstance(content, dict) else None
    return value if isinstance(value, str) else None
