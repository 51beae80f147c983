"""A backfill from its request to its summary: owner, models, rows, the loop, and the table at its end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, nullcontext
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from models.backfill_request import BackfillRequest
from models.request import InferenceRequest
from tasks.backfill_dispatch import InlineDispatch, PoolDispatch, RunGroups
from tasks.backfill_items import without_repeats
from tasks.backfill_owner import claim, frozen_request, name_of
from tasks.backfill_progress import BackfillProgress, summary_text
from tasks.backfill_run import BackfillRun
from tasks.backfill_sources import Places, list_items
from tasks.backfill_steps import Order
from tasks.backfill_table import Row, counts, merged, new_row, read_table
from tasks.gpu_dispatch import cancel_children
from tasks.job_steps import check_model_paths
from tasks.leases import LeaseKeeper
from tasks.model_sources import resolve_models
from tasks.resolved_models import ResolvedModel
from tasks.settings import BackfillSettings, JobSettings
from tasks.store import Store

_VIDEO = "0" * 32
"""Stands for the videos that are not known yet, where a whole request is checked."""


def run_backfill(run_id: str, request: BackfillRequest, store: Store, run_groups: RunGroups) -> State[Any]:
    """Work through the source under the name of the request, going on from what stands in the store.

    `run_groups` runs a GPU run in this process, where jobs are dispatched so. Gives the state that the run ends in.
    Raises the named errors of source, request, models and store.
    """
    settings, limits, name = JobSettings(), BackfillSettings(), name_of(request)
    inline = settings.dispatch == "inline"
    places = Places(any_path=inline)
    with LeaseKeeper(store, run_id, settings.lease_s):
        before = claim(store, name, run_id, settings.lease_s)
        if not inline:
            _end_runs_of(run_id, before)
        models = frozen_request(store, name, request, lambda: _resolved(store, request, settings))
        items = without_repeats(list_items(store, request.source, places))
        common = request.common_part()
        rows = merged(read_table(store, name), [new_row(name, common, item) for item in items], request.again)
        progress = BackfillProgress(store, name, rows, run_id, limits)
        order = Order(store, request, models, settings, places)
        by_identity = {item.identity: item for item in items}
        dispatch = InlineDispatch(store, settings, run_groups) if inline else PoolDispatch(store, settings)
        try:
            with closing(dispatch) if isinstance(dispatch, InlineDispatch) else nullcontext():
                BackfillRun(order, rows, by_identity, dispatch, limits, look=progress.look).run()
        finally:
            progress.end()
    return final_state(rows, progress.uri)


def final_state(rows: Sequence[Row], uri: str) -> State[str]:
    """COMPLETED where a video has a result, or none was there; a backfill of which everything failed is FAILED."""
    found = counts(rows)
    told = summary_text(rows, uri)
    if found["failed"] and not found["done"] + found["skipped"]:
        first = next(row for row in rows if row.state == "failed")
        return Failed(message=f"No video could be done; {first.source}: {first.reason} {told}"[:2000])
    return Completed(message=told, data=uri)


def _resolved(store: Store, request: BackfillRequest, settings: JobSettings) -> list[ResolvedModel]:
    whole: InferenceRequest = request.request_for(_VIDEO, {})
    check_model_paths(whole, settings)
    return resolve_models(store, whole.models)


def _end_runs_of(run_id: str, before: str | None) -> None:
    """Cancel GPU runs that an earlier life of this backfill left; what they have in hand is started again."""
    with get_client(sync_client=True) as client:
        for parent_id in filter(None, (run_id, before)):
            cancel_children(client, UUID(parent_id))
