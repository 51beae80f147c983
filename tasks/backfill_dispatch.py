"""Packs of a backfill's jobs on their way through GPU runs: on pools, or one after another in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import Protocol
from uuid import UUID

from tasks.gpu_watch import Part, RunWatch, look_at, start_again, start_run, unfinished_parts
from tasks.job_spec import living_attempt, write_attempt
from tasks.run_shares import GroupAttempt
from tasks.settings import JobSettings
from tasks.store import Store

QUEUE = "bulk"
RunGroups = Callable[[Sequence[GroupAttempt]], bool]
"""Runs groups of jobs in this process as one GPU run; says whether it completed."""


class Pack(Protocol):
    """Parts that share a GPU run which was started for them."""

    @property
    def parts(self) -> Sequence[Part]:
        """All parts, those that have ended too."""

    @property
    def attempts(self) -> Sequence[int]:
        """Number of the living attempt at each part."""

    def has_ended(self) -> bool:
        """Look at the run, start again what it left undone, and say whether nothing more can be had.

        Raises what `tasks.gpu_watch` does.
        """


class Dispatch(Protocol):
    """What starts GPU runs."""

    def start(self, parts: Sequence[Part]) -> Pack:
        """Start a run for parts of one pool; doesn't wait for it. Raises as `tasks.gpu_watch.start_run`."""


class PoolDispatch:
    """GPU runs on pools, as children of the running flow, in the queue for what can wait."""

    def __init__(self, store: Store, settings: JobSettings) -> None:
        self._store = store
        self._settings = settings

    def start(self, parts: Sequence[Part]) -> Pack:
        """See `Dispatch.start`."""
        watch = start_run(self._store, parts, tries_left=self._settings.max_attempts - 1, queue=QUEUE)
        return _PoolPack(watch, self._store, self._settings)


class _PoolPack:
    def __init__(self, watch: RunWatch, store: Store, settings: JobSettings) -> None:
        self.parts = watch.parts
        self._attempts = {_place(part): attempt for part, attempt in zip(watch.parts, watch.attempts, strict=True)}
        self._watch = watch
        self._store = store
        self._settings = settings

    @property
    def attempts(self) -> Sequence[int]:
        return [self._attempts[_place(part)] for part in self.parts]

    def has_ended(self) -> bool:
        verdict = look_at(self._watch, self._store, self._settings)
        if verdict == "again":
            self._watch = start_again(self._watch, self._store, queue=QUEUE)
            self._attempts |= {
                _place(part): attempt for part, attempt in zip(self._watch.parts, self._watch.attempts, strict=True)
            }
        return verdict == "done"


class InlineDispatch:
    """GPU runs in a thread of this process, one at a time."""

    def __init__(self, store: Store, settings: JobSettings, run_groups: RunGroups) -> None:
        self._store = store
        self._settings = settings
        self._run_groups = run_groups
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gpu-run")

    def start(self, parts: Sequence[Part]) -> Pack:
        """See `Dispatch.start`."""
        return _InlinePack(parts, self._store, self._settings.max_attempts, self._submit)

    def close(self) -> None:
        """Start no more; what runs goes on to its end."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _submit(self, groups: Sequence[GroupAttempt]) -> Future[bool]:
        return self._thread.submit(copy_context().run, self._run_groups, groups)


class _InlinePack:
    def __init__(
        self,
        parts: Sequence[Part],
        store: Store,
        tries: int,
        submit: Callable[[Sequence[GroupAttempt]], Future[bool]],
    ) -> None:
        self.parts = tuple(parts)
        self._attempts: dict[tuple[str, int], int] = {}
        self._store = store
        self._submit = submit
        self._watch = RunWatch(self.parts, (), UUID(int=0), tries)
        self._future = self._start(self.parts)

    @property
    def attempts(self) -> Sequence[int]:
        return [self._attempts[_place(part)] for part in self.parts]

    def has_ended(self) -> bool:
        if not self._future.done():
            return False
        if self._future.result() or not (left := unfinished_parts(self._watch, self._store)):
            return True
        self._future = self._start(left)
        return False

    def _start(self, parts: Sequence[Part]) -> Future[bool]:
        groups = []
        for part in parts:
            job_id, number = part.spec.job_id, part.group.number
            attempt = self._attempts[job_id, number] = living_attempt(self._store, job_id, number) + 1
            write_attempt(self._store, job_id, number, attempt)
            groups.append(GroupAttempt(job_id=job_id, group=number, attempt=attempt))
        self._watch = replace(self._watch, parts=tuple(parts), tries_left=self._watch.tries_left - 1)
        return self._submit(groups)


def _place(part: Part) -> tuple[str, int]:
    return part.spec.job_id, part.group.number
