"""A backfill without Prefect: the loop over an order, its GPU runs in a thread of this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from models.backfill_request import BackfillRequest
from tasks.backfill_dispatch import InlineDispatch, RunGroups
from tasks.backfill_items import without_repeats
from tasks.backfill_owner import frozen_request, name_of
from tasks.backfill_run import BackfillRun
from tasks.backfill_sources import Places, list_items
from tasks.backfill_steps import Order
from tasks.backfill_table import Row, merged, new_row, read_table, write_table
from tasks.model_sources import resolve_models
from tasks.run_shares import GroupAttempt
from tasks.settings import BackfillSettings, JobSettings
from tasks.store import Store
from tests.engine_jobs import run_group

SETTINGS = JobSettings(dispatch="inline", poll_s=0.1)


class CountingRuns:
    """Runs GPU runs, and remembers how many jobs each had."""

    def __init__(self) -> None:
        self.jobs: list[int] = []

    def __call__(self, groups: Sequence[GroupAttempt]) -> bool:
        self.jobs.append(len(groups))
        try:
            run_group(*groups)
        except Exception:
            return False
        return True


def backfilled(
    store: Store,
    fields: dict[str, Any],
    runs: RunGroups,
    *,
    dispatch_type: type[InlineDispatch] = InlineDispatch,
    look: Callable[[list[Row]], object] = lambda rows: None,
    **settings: Any,
) -> list[Row]:
    """Run a backfill to its end; its rows, as they stand in the store. `look` sees them at every round."""
    request = BackfillRequest.model_validate(fields)
    name, common = name_of(request), request.common_part()
    models = frozen_request(store, name, request, lambda: resolve_models(store, request.models))
    items = without_repeats(list_items(store, request.source, Places(any_path=True)))
    rows = merged(read_table(store, name), [new_row(name, common, item) for item in items], request.again)
    order = Order(store, request, models, SETTINGS, Places(any_path=True), pauses_s=())
    dispatch = dispatch_type(store, SETTINGS, runs)
    by_identity, limits = {item.identity: item for item in items}, BackfillSettings(**settings)
    with closing(dispatch):
        try:
            BackfillRun(order, rows, by_identity, dispatch, limits, look=lambda: look(rows)).run()
        finally:
            write_table(store, name, rows)
    return read_table(store, name)
