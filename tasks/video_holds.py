"""A job takes hold of its video, and learns at once where a cleanup was quicker."""

from __future__ import annotations

from tasks.leases import write_lease
from tasks.removals import wait_until_settled
from tasks.store_interface import Store
from tasks.video_records import UnknownVideoError, record_key


def hold_video(store: Store, job_id: str, video_id: str, lease_s: float) -> None:
    """Take the job's lease on a video, which from then on no cleanup removes before its last day.

    Raises `UnknownVideoError` where it was removed since the job found it.
    """
    write_lease(store, job_id, video_id, lease_s)
    wait_until_settled(store, f"videos/{video_id}")
    if store.stat(record_key(video_id)) is None:
        raise UnknownVideoError(f"The video {video_id} was deleted before its job began; register it again.")
