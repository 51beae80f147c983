"""Leases of all jobs that a backfill has in hand: their GPU runs go on and their videos stay while they are renewed."""

from __future__ import annotations

import threading
from types import TracebackType

from tasks.leases import Renewals, drop_if_possible, write_lease
from tasks.store_interface import Store


class JobLeases:
    """Renews leases from entering to leaving; on leaving all are dropped."""

    def __init__(self, store: Store, lease_s: float) -> None:
        self._store = store
        self._lease_s = lease_s
        self._video_of_job: dict[str, str] = {}
        self._lock = threading.Lock()
        self._renewals = Renewals(self._renew_all, lease_s)

    def hold(self, job_id: str, video_id: str) -> None:
        """Renew this job's lease from now on; its preparation took it a moment ago."""
        with self._lock:
            self._video_of_job[job_id] = video_id

    def drop(self, job_id: str) -> None:
        """Give the job's lease up."""
        with self._lock:
            self._video_of_job.pop(job_id, None)
            drop_if_possible(self._store, job_id)

    def __enter__(self) -> JobLeases:
        self._renewals.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._renewals.end()
        for job_id in list(self._video_of_job):
            self.drop(job_id)

    def _renew_all(self) -> None:
        for job_id in list(self._video_of_job):
            # One by one: who holds or drops another job waits for no more than a request.
            with self._lock:
                if (video_id := self._video_of_job.get(job_id)) is not None:
                    write_lease(self._store, job_id, video_id, self._lease_s)
