"""Which runs want a video: unfinished ones carry the tag `video:<id>`. Prefect's filters know tags, not labels."""

from __future__ import annotations


def video_tag(video_id: str) -> str:
    """The tag of runs that need the video."""
    return f"video:{video_id}"


def video_is_wanted(video_id: str) -> bool:
    """Whether a flow run that has not ended carries the video's tag; asks Prefect's API."""
    from prefect.client.orchestration import get_client
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
    with get_client(sync_client=True) as client:
        return bool(client.read_flow_runs(flow_run_filter=wanting, limit=1))
