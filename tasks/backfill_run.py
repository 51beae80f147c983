"""The loop of a backfill: rows are made ready, packed into GPU runs, and published as their jobs end.

Runs without Prefect; what starts GPU runs is handed in. A row ends by what happened to its own video alone.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from models.errors import PassingError, ReelmillError
from tasks.backfill_dispatch import Dispatch, Pack
from tasks.backfill_items import Item
from tasks.backfill_leases import JobLeases
from tasks.backfill_packs import packed, samples_of
from tasks.backfill_steps import Order, Problem, Ready, make_ready, publish_row, take_finished
from tasks.backfill_table import Row
from tasks.gpu_watch import Part
from tasks.job_spec import JobSpec
from tasks.progress import read_heartbeat
from tasks.settings import BackfillSettings

_log = logging.getLogger(__name__)

_LOOK_AHEAD = 8
"""Jobs of a pack end about in its order: behind so many that have not ended, none is looked for."""
_PAUSE_S = 5.0
"""Before a GPU run that could not be started is tried again."""


@dataclass
class _Job:
    row: Row
    spec: JobSpec
    open_groups: set[int]


class BackfillRun:
    """Works off the rows that have not ended, with `in_flight` GPU runs waiting or working at a time."""

    def __init__(
        self,
        order: Order,
        rows: Sequence[Row],
        items: Mapping[str, Item],
        dispatch: Dispatch,
        settings: BackfillSettings,
        *,
        look: Callable[[], object] = lambda: None,
    ) -> None:
        """`items` by identity; `look` is called at every round, to save and to show."""
        self._order = order
        self._items = items
        self._dispatch = dispatch
        self._settings = settings
        self._look = look
        self._todo = deque(row for row in rows if not row.ended)
        self._preparing: dict[Future[Ready | Problem], Row] = {}
        self._publishing: dict[Future[None], _Job] = {}
        self._jobs: dict[str, _Job] = {}
        self._parts: list[Part] = []
        self._parts_since_s = 0.0
        self._packs: list[Pack] = []
        self._first: dict[str, Row] = {}
        self._same: dict[str, list[tuple[Row, JobSpec]]] = {}
        self._start_not_before_s = 0.0
        self._refused_since_s: float | None = None

    def run(self) -> None:
        """Return when every row has ended."""
        settings = self._settings
        with (
            JobLeases(self._order.store, self._order.settings.lease_s) as self._leases,
            ThreadPoolExecutor(settings.threads, thread_name_prefix="prepare") as self._preparers,
            ThreadPoolExecutor(1, thread_name_prefix="publish") as self._publisher,
        ):
            try:
                while self._todo or self._preparing or self._parts or self._packs or self._publishing:
                    self._feed()
                    self._take_ready()
                    self._start_packs()
                    self._look_at_packs()
                    self._take_published()
                    self._look()
                    self._rest()
            finally:
                self._preparers.shutdown(wait=False, cancel_futures=True)
                self._publisher.shutdown(wait=False, cancel_futures=True)

    def _rest(self) -> None:
        """Until something is ready or published, or it is time to look at the GPU runs."""
        awaited: list[Future[Any]] = [*self._preparing, *self._publishing]
        if awaited:
            wait(awaited, timeout=self._order.settings.poll_s, return_when=FIRST_COMPLETED)
        elif self._packs or self._parts:
            time.sleep(min(self._order.settings.poll_s, 0.5))

    def _feed(self) -> None:
        """Have rows made ready, no further ahead than the next packs need."""
        settings, packs = self._settings, self._order.request.in_flight + 1
        if sum(map(samples_of, self._parts)) >= packs * settings.pack_samples:
            return
        room = min(packs * settings.pack_videos - len(self._parts), 2 * settings.threads) - len(self._preparing)
        for _ in range(min(room, len(self._todo))):
            row = self._todo.popleft()
            future = self._preparers.submit(make_ready, self._order, row, self._items[row.identity])
            self._preparing[future] = row

    def _take_ready(self) -> None:
        for future in [future for future in self._preparing if future.done()]:
            row = self._preparing.pop(future)
            ready = future.result()
            if isinstance(ready, Problem):
                row.to("failed", reason=ready.reason, may_pass=ready.may_pass)
            else:
                self._take(row, ready)

    def _take(self, row: Row, ready: Ready) -> None:
        spec = ready.spec
        row.to("registered", video_id=spec.video.video_id, frames_total=spec.frames_total)
        self._leases.hold(row.job_id, spec.video.video_id)
        fingerprint = spec.request_fingerprint
        first = self._first.setdefault(fingerprint, row)
        if ready.finished is not None:
            take_finished(self._order, row, spec, ready.finished)
            self._leases.drop(row.job_id)
        elif first is not row and not first.ended:
            self._same.setdefault(fingerprint, []).append((row, spec))
        else:
            job = self._jobs[row.job_id] = _Job(row, spec, {part.group.number for part in ready.parts})
            if not self._parts:
                self._parts_since_s = time.monotonic()
            self._parts += ready.parts
            self._publish_if_whole(job)

    def _start_packs(self) -> None:
        room = self._order.request.in_flight - len(self._packs)
        now_s = time.monotonic()
        if not self._parts or room <= 0 or now_s < self._start_not_before_s:
            return
        waited = not self._packs and now_s - self._parts_since_s >= self._settings.pack_wait_s
        full, _ = packed(
            self._parts,
            most_samples=self._settings.pack_samples,
            most_parts=self._settings.pack_videos,
            flush=waited or not (self._todo or self._preparing),
        )
        for parts in full[:room]:
            if not self._start(parts):
                return

    def _start(self, parts: Sequence[Part]) -> bool:
        """Start a pack; says whether others may be started now. Raises where none could be for too long."""
        try:
            pack = self._dispatch.start(parts)
        except PassingError as error:
            self._refused_since_s = self._refused_since_s or time.monotonic()
            if time.monotonic() - self._refused_since_s > self._order.settings.stall_timeout_s:
                raise
            _log.warning("%s It is tried again in %.0f s.", error, _PAUSE_S)
            self._start_not_before_s = time.monotonic() + _PAUSE_S
            return False
        except ReelmillError as error:
            self._leave(parts)
            self._lose(parts, error)
            return True
        self._refused_since_s = None
        self._leave(parts)
        self._packs.append(pack)
        for part in parts:
            row = self._jobs[part.spec.job_id].row
            row.to("running", attempts=row.attempts + 1)
        return True

    def _leave(self, parts: Sequence[Part]) -> None:
        gone = {id(part) for part in parts}
        self._parts = [part for part in self._parts if id(part) not in gone]
        self._parts_since_s = time.monotonic()

    def _look_at_packs(self) -> None:
        for pack in list(self._packs):
            try:
                ended = pack.has_ended()
                for part in pack.parts if ended else self._whole_parts(pack):
                    self._end_part(part)
            except PassingError as error:
                _log.warning("%s It is looked at again.", error)
                continue
            except ReelmillError as error:
                self._packs.remove(pack)
                self._lose([part for part in pack.parts if part.spec.job_id in self._jobs], error)
                continue
            if ended:
                self._packs.remove(pack)
                for part in pack.parts:  # not before: a GPU run gives up jobs without a lease, whole ones too
                    if part.spec.job_id not in self._jobs:
                        self._leases.drop(part.spec.job_id)

    def _whole_parts(self, pack: Pack) -> list[Part]:
        """Parts of a living run of which it has said that they are whole."""
        found, missed = [], 0
        for part, attempt in zip(pack.parts, pack.attempts, strict=True):
            job = self._jobs.get(part.spec.job_id)
            if job is None or part.group.number not in job.open_groups:
                continue
            beat = read_heartbeat(self._order.store, part.spec.job_id, part.group.number, attempt)
            if beat is not None and beat.phase == "done":
                found.append(part)
            else:
                missed += 1
                if missed >= _LOOK_AHEAD:
                    break
        return found

    def _end_part(self, part: Part) -> None:
        job = self._jobs.get(part.spec.job_id)
        if job is not None and part.group.number in job.open_groups:
            job.open_groups.discard(part.group.number)
            self._publish_if_whole(job)

    def _publish_if_whole(self, job: _Job) -> None:
        if not job.open_groups:
            del self._jobs[job.row.job_id]
            self._publishing[self._publisher.submit(publish_row, self._order, job.row, job.spec)] = job

    def _take_published(self) -> None:
        for future in [future for future in self._publishing if future.done()]:
            job = self._publishing.pop(future)
            if (error := future.exception()) is not None:
                problem = Problem.of(error)
                job.row.to("failed", reason=problem.reason, may_pass=problem.may_pass)
            self._end(job)

    def _lose(self, parts: Sequence[Part], error: ReelmillError) -> None:
        """Give up the jobs of parts whose GPU run can't be had; shards that stand serve the next try."""
        for job_id in {part.spec.job_id for part in parts}:
            if (job := self._jobs.pop(job_id, None)) is not None:
                job.row.to("failed", reason=str(error), may_pass=True)
                self._parts = [part for part in self._parts if part.spec.job_id != job_id]
                self._end(job)

    def _end(self, job: _Job) -> None:
        """The job's row has ended: so have those of the same video and request."""
        if not any(part.spec.job_id == job.row.job_id for pack in self._packs for part in pack.parts):
            self._leases.drop(job.row.job_id)
        for row, _ in self._same.pop(job.spec.request_fingerprint, []):
            self._leases.drop(row.job_id)
            facts = {"frames_total": job.row.frames_total, "frames_failed": job.row.frames_failed}
            if job.row.state == "done":
                reason = f"the same video and request as {job.row.source}"
                row.to("skipped", reason=reason, output_uri=job.row.output_uri, **facts)
            else:
                row.to("failed", reason=job.row.reason, may_pass=job.row.may_pass, **facts)
