"""Leases of all jobs that a backfill has in hand: their GPU runs go on and their videos stay while they are renewed."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from tasks.leases import drop_lease, write_lease
from tasks.store_interface import Store

_log = logging.getLogger(__name__)


class JobLeases:
    """Renews leases in a thread of its own from entering to leaving; on leaving all are dropped."""

    def __init__(self, store: Store, lease_s: float) -> None:
        self._store = store
        self._lease_s = lease_s
        self._video_of_job: dict[str, str] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)

    def hold(self, job_id: str, video_id: str) -> None:
        """Renew this job's lease from now on; its preparation took it a moment ago."""
        with self._lock:
            self._video_of_job[job_id] = video_id

    def drop(self, job_id: str) -> None:
        """Give the job's lease up."""
        with self._lock:
            self._video_of_job.pop(job_id, None)
            self._quietly_drop(job_id)

    def __enter__(self) -> JobLeases:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        for job_id in list(self._video_of_job):
            self.drop(job_id)

    def _keep(self) -> None:
        while not self._ended.wait(self._lease_s / 3):
            for job_id in list(self._video_of_job):
                with self._lock:
                    self._renew(job_id)

    def _renew(self, job_id: str) -> None:
        if (video_id := self._video_of_job.get(job_id)) is None:
            return
        try:
            write_lease(self._store, job_id, video_id, self._lease_s)
        except Exception:
            _log.warning("the lease of %s could not be renewed; tried again", job_id, exc_info=True)

    def _quietly_drop(self, job_id: str) -> None:
        try:
            drop_lease(self._store, job_id)
        except Exception:
            _log.warning("the lease of %s could not be dropped; it runs out by itself", job_id, exc_info=True)
