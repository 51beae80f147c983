"""Deletes videos a week after their registration, and what else has had its time."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.states import Failed

from models.errors import ReelmillError
from tasks.expiry import clean_up, report_text
from tasks.run_tags import video_is_wanted
from tasks.store import open_store


@flow(name="cleanup-videos", persist_result=False, log_prints=False)
def cleanup_videos(dry_run: bool = False) -> Any:  # noqa: FBT001, FBT002
    """Delete expired videos with their plans and copies, stale uploads and leftovers; the run's artifact says which.

    A video that an unfinished job holds stays until the job ends, a day at most. Shards, results and records of jobs go
    by the settings REELMILL_RETENTION_…. Running it twice, or while jobs run, does no harm.

    Args:
        dry_run: Only say what would be deleted.

    """
    try:
        report = clean_up(open_store(), is_tagged=video_is_wanted, dry_run=dry_run)
    except ReelmillError as error:
        return Failed(message=str(error))
    create_markdown_artifact(report_text(report), description="Cleanup, dry run" if dry_run else "Cleanup")
    if report.refused:
        return Failed(
            message=f"{len(report.refused)} folders could not be removed; the run's artifact says which and why."
        )
    return [video.video_id for video in report.removed]
