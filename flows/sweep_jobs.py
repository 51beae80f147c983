"""Starts again, or ends, what died without a word, so that nobody polls a job for ever."""

from __future__ import annotations

from prefect import flow
from prefect.client.orchestration import get_client

from tasks.run_logs import log_to_run
from tasks.settings import JobSettings
from tasks.store import open_store
from tasks.sweeping import sweep


@flow(name="sweep-jobs", persist_result=False, log_prints=False)
def sweep_jobs() -> int:
    """Find jobs whose process is gone, and start them again; after the third time they are marked as crashed.

    They go on from what stands in the store. GPU runs that nobody waits for are ended. Running it twice does no harm.
    Returns how many runs were moved.
    """
    log_to_run()
    with get_client(sync_client=True) as client:
        return len(sweep(client, open_store(), JobSettings()))
