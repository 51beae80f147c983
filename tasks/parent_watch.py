"""A GPU run without its parent ends: nobody would read what it gives, and its pool's slot is wanted.

A parent that fails or is cancelled has its GPU runs cancelled, but one that is killed, or whose worker is ended, can do
nothing more. So a GPU run looks at its jobs' leases. Knows nothing of Prefect.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from models.errors import PermanentError
from tasks.gpu_run import GpuRun
from tasks.leases import is_living

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 5.0
_GRACE_S = 15.0
"""A lease may be late by so much more: while the store is away its renewal fails, and our look at it too."""
_TO_END_S = 20.0
"""Parts of a run that has no job left end with their next frame; a model or decoder that hangs never does."""


class ParentGoneError(PermanentError):
    """Nobody waits for the job any more."""


@contextmanager
def parents_watched(
    run: GpuRun,
    *,
    look_every_s: float = _LOOK_EVERY_S,
    grace_s: float = _GRACE_S,
    end_process: Callable[[], None] | None = None,
) -> Iterator[None]:
    """While the block runs, give up jobs whose lease has run out; end the process where all are given up and it hangs.

    `end_process` is what ends it, `os._exit` unless given.
    """
    watch = _LeaseWatch(run, look_every_s, grace_s, end_process or _exit)
    thread = threading.Thread(target=watch.look_until_ended, name="lease-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watch.ended.set()
        thread.join()


class _LeaseWatch:
    def __init__(self, run: GpuRun, look_every_s: float, grace_s: float, end_process: Callable[[], None]) -> None:
        self._run = run
        self._look_every_s = look_every_s
        self._grace_s = grace_s
        self._end_process = end_process
        self._without_since_s: dict[int, float] = {}
        self._alone_since_s: float | None = None
        self.ended = threading.Event()

    def look_until_ended(self) -> None:
        while not self.ended.wait(self._look_every_s):
            for number in self._run.living():
                self._look(number, time.monotonic())
            if self._run.living():
                continue
            self._alone_since_s = self._alone_since_s or time.monotonic()
            if time.monotonic() - self._alone_since_s > _TO_END_S:
                _log.error("no job of this run is waited for, and it does not end by itself: the process is ended")
                self._end_process()
                return

    def _look(self, number: int, now_s: float) -> None:
        share = self._run.shares[number]
        try:
            is_waited_for = share.is_whole or is_living(share.store, share.spec.job_id)
        except Exception:
            _log.warning("the lease of job %s cannot be read now", share.spec.job_id, exc_info=True)
            is_waited_for = True
        if is_waited_for:
            self._without_since_s.pop(number, None)
        elif now_s - self._without_since_s.setdefault(number, now_s) > self._grace_s:
            self._run.lose(
                number,
                ParentGoneError(f"nobody waits for job {share.spec.job_id} any more; submit its request to go on."),
            )


def _exit() -> None:
    os._exit(1)
