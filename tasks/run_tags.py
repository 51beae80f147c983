"""Which runs want a video: unfinished ones carry the tag `video:<id>`. Prefect's filters know tags, not parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PARENT_FLOWS = ("infer-video", "backfill-videos")
"""Flows whose runs, started again under the same id, go on from what stands in the store."""
_PAGE = 200


def video_tag(video_id: str) -> str:
    """The tag of runs that need the video."""
    return f"video:{video_id}"


def video_is_wanted(video_id: str) -> bool:
    """Whether a flow run that has not ended needs the video; asks Prefect's API.

    Runs carry the tag from their start on, those that `reelmill submit` made from the beginning. One that was submitted
    otherwise is found by its parameters until then.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return _tagged(client, video_id) or _asked_for(client, video_id)


def _tagged(client: SyncPrefectClient, video_id: str) -> bool:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        FlowRunFilterTags,
    )
    from prefect.client.schemas.objects import TERMINAL_STATES

    wanting = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[video_tag(video_id)]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(not_any_=list(TERMINAL_STATES))),
    )
    return bool(client.read_flow_runs(flow_run_filter=wanting, limit=1))


def _asked_for(client: SyncPrefectClient, video_id: str) -> bool:
    from prefect.client.schemas.filters import (
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import TERMINAL_STATES

    jobs = FlowFilter(name=FlowFilterName(any_=["infer-video"]))
    # Running ones too: between two questions a run may have left the queue and not have its tag yet.
    wanting = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(not_any_=list(TERMINAL_STATES))))
    offset = 0
    while runs := client.read_flow_runs(flow_filter=jobs, flow_run_filter=wanting, limit=_PAGE, offset=offset):
        requests = (run.parameters.get("request") for run in runs)
        if any(isinstance(request, dict) and request.get("video_id") == video_id for request in requests):
            return True
        offset += _PAGE // 2  # half a page again: what ends meanwhile moves the others up
    return False
