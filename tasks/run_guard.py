"""What a served GPU run holds on to while it lasts: its GPU, and jobs that are waited for. Knows nothing of Prefect."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.gpu_lock import Holder, gpu_held, gpu_name, lock_path
from tasks.gpu_run import GpuRun
from tasks.job_spec import living_attempt
from tasks.parent_watch import ParentGoneError, parents_watched

_SAY_EVERY_S = 10.0


@contextmanager
def guarded(run: GpuRun) -> Iterator[None]:
    """Watch the jobs' leases and hold the GPU while the block runs.

    Raises `ParentGoneError` where nobody waits for the run any more before the GPU is free.
    """
    with parents_watched(run):
        name = run.settings.gpu_lock or gpu_name(run.device)
        if name is None:
            yield
            return
        parts = [
            {"job_id": share.spec.job_id, "group": share.group.number, "attempt": share.attempt} for share in run.shares
        ]
        with gpu_held(
            lock_path(run.cache_dir, name),
            Holder.this_one(parts),
            is_unwanted=lambda holder: _is_superseded(run, holder),
            waiting=_Waiting(run),
        ):
            yield


class _Waiting:
    """Says in the heartbeat what the run waits for: one that says nothing is taken to hang."""

    def __init__(self, run: GpuRun) -> None:
        self._run = run
        self._said_s = float("-inf")

    def __call__(self) -> None:
        if not self._run.living():
            raise ParentGoneError("nobody waits for the jobs of this run any more; submit their requests to go on.")
        if time.monotonic() - self._said_s > _SAY_EVERY_S:
            self._said_s = time.monotonic()
            self._run.phase("waiting for the GPU")


def _is_superseded(run: GpuRun, holder: Holder) -> bool:
    """Whether newer attempts at everything that the holder does were started in this run's store."""
    store = run.shares[0].store
    return bool(holder.parts) and all(
        living_attempt(store, part["job_id"], part["group"]) > part["attempt"] for part in holder.parts
    )
