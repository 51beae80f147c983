"""Many videos from a folder, an S3 prefix or a list, in one run: no parent waits for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.infer_segments import infer_segments
from flows.infer_video import stop_children
from models.backfill_request import BackfillRequest
from models.errors import ReelmillError
from tasks.arrow_alone import load_arrow
from tasks.backfill_job import run_backfill
from tasks.job_states import refused_state
from tasks.run_logs import log_to_run
from tasks.run_parameters import redact_run_parameters
from tasks.run_shares import GroupAttempt
from tasks.store import open_store


@flow(
    name="backfill-videos",
    persist_result=False,
    on_failure=[stop_children],
    on_crashed=[stop_children],
    on_cancellation=[stop_children],
)
def backfill_videos(request: BackfillRequest) -> Any:
    """Run models on the frames of many videos; each is a row of a table, with its result or the reason why it has none.

    Poll the run: its labels count `videos_total`, `videos_done`, `videos_failed` and `videos_skipped`, and `table_uri`
    says where the table lies. Started again with the same source and request, or under the same name, it goes on, and
    takes what is new. Returns the table's URI.

    Args:
        request: Which videos, which models, how many frames a second.

    """
    redact_run_parameters()
    log_to_run()
    load_arrow()
    try:
        return run_backfill(str(flow_run.id), request, open_store(), run_inline)
    except ReelmillError as error:
        return refused_state(error)


def run_inline(groups: Sequence[GroupAttempt]) -> bool:
    """Run groups of jobs in this process as one GPU run; says whether it completed."""
    first, others = groups[0], groups[1:]
    state = cast("State[Any]", infer_segments(first.job_id, first.group, first.attempt, others, return_state=True))
    return state.is_completed()
