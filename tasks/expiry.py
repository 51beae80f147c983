"""What cleanup removes: expired videos with all that hangs on them, stale uploads, and what dead writers left behind.

It knows nothing of Prefect: whether unfinished runs hold a video by their tags is asked of the caller; leases are read
here. Doing it twice, or dying in the middle and doing it again, ends the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

from tasks.leases import held_videos
from tasks.settings import StoreSettings, UploadSettings
from tasks.store_interface import ObjectInfo, Store
from tasks.video_cache import drop_copy, drop_leftovers, drop_unregistered_copies, unregistered_copies
from tasks.video_records import UnknownVideoError, Video, find_video, list_videos, record_key, remove_video

_OWNER = re.compile(r"[^/]+/[^/]+/")
"""The folder of one video or upload: `videos/{video_id}/`, `incoming/{upload_id}/`."""


@dataclass(frozen=True)
class ExpiredVideo:
    """A video that goes, or stays for a job's sake."""

    video_id: str
    file_name: str
    size_bytes: int
    expires_at: datetime


@dataclass(frozen=True)
class CleanupReport:
    """What was removed or, in a dry run, would be."""

    dry_run: bool
    removed: list[ExpiredVideo] = field(default_factory=list)
    held: list[ExpiredVideo] = field(default_factory=list)
    """Expired, but a living job holds them."""
    fragments: list[str] = field(default_factory=list)
    """Ids of videos whose registration or deletion broke off."""
    uploads: list[str] = field(default_factory=list)
    """Ids of uploads that nobody registered."""
    unfinished_writes: int = 0
    copies: list[str] = field(default_factory=list)
    """Ids of the videos whose copies in this machine's cache went."""


def clean_up(
    store: Store,
    *,
    is_tagged: Callable[[str], bool],
    dry_run: bool = False,
    settings: UploadSettings | None = None,
    cache_dir: Path | None = None,
    now: datetime | None = None,
) -> CleanupReport:
    """Remove what has had its time, or only say what that is.

    `is_tagged` says of a video id whether an unfinished run names it in its tags. Such a video, and one under a lease
    that has not run out, stays past its expiry, but no longer than `hold_days`.
    """
    limits = settings or UploadSettings()
    cache = (cache_dir or StoreSettings().cache_dir).expanduser()
    moment = now or datetime.now(UTC)
    stale = moment - timedelta(days=limits.incoming_days)
    videos = list(list_videos(store))
    expired = [video for video in videos if video.expires_at <= moment]
    # Leases are read after the videos: a job takes its lease right after it found its video alive.
    leased = held_videos(store, now=moment)
    held = [
        video
        for video in expired
        if _may_be_held(video, moment, limits) and (video.video_id in leased or is_tagged(video.video_id))
    ]
    report = CleanupReport(
        dry_run=dry_run,
        removed=[_listed(v) for v in expired if v not in held and not _renewed(store, v.video_id, moment)],
        held=[_listed(video) for video in held],
        fragments=list(_fragments(store, {video.video_id for video in videos}, moment, limits)),
        uploads=[folder for folder, infos in _folders(store, "incoming/") if _all_before(infos, stale)],
        unfinished_writes=store.remove_unfinished(stale, dry_run=dry_run),
        copies=unregistered_copies(store, cache),
    )
    if dry_run:
        return report
    for video_id in [*(video.video_id for video in report.removed), *report.fragments]:
        remove_video(store, video_id)
        if drop_copy(cache, video_id):
            report.copies.append(video_id)
    for upload_id in report.uploads:
        store.delete_prefix(f"incoming/{upload_id}")
    drop_unregistered_copies(store, cache)
    drop_leftovers(cache, stale)
    return report


def report_text(report: CleanupReport) -> str:
    """The report as markdown."""
    verb = "Would remove" if report.dry_run else "Removed"
    lines = [
        f"{verb} {len(report.removed)} expired videos, {len(report.fragments)} fragments of videos, "
        f"{len(report.uploads)} unregistered uploads, {report.unfinished_writes} unfinished writes and "
        f"{len(report.copies)} local copies; {len(report.held)} expired videos stay until their jobs end.",
    ]
    rows = [("removed", video) for video in report.removed] + [("held", video) for video in report.held]
    if rows:
        lines += ["", "| video | file | bytes | expired | |", "|---|---|---|---|---|"]
        lines += [
            f"| `{video.video_id}` | {_in_table(video.file_name)} | {video.size_bytes} "
            f"| {video.expires_at:%Y-%m-%d %H:%M} | {what} |"
            for what, video in rows
        ]
    return "\n".join(lines)


def _renewed(store: Store, video_id: str, moment: datetime) -> bool:
    """Whether somebody registered the video again since it was listed."""
    try:
        return find_video(store, video_id, held=True).expires_at > moment
    except UnknownVideoError:
        return False


def _may_be_held(video: Video, moment: datetime, settings: UploadSettings) -> bool:
    return moment < video.expires_at + timedelta(days=settings.hold_days)


def _fragments(store: Store, registered: AbstractSet[str], moment: datetime, settings: UploadSettings) -> Iterator[str]:
    """Ids of videos without a record that can be read, too old for one to be still coming."""
    for video_id, infos in _folders(store, "videos/"):
        has_record = any(info.key == record_key(video_id) for info in infos)
        # A record that this version cannot read may be another version's: it has its video's full time.
        days = settings.keep_days + settings.hold_days if has_record else settings.incoming_days
        if video_id not in registered and _all_before(infos, moment - timedelta(days=days)):
            yield video_id


def _folders(store: Store, prefix: str) -> Iterator[tuple[str, list[ObjectInfo]]]:
    inside = (info for info in store.list(prefix) if _OWNER.match(info.key))
    for folder, infos in groupby(inside, key=lambda info: info.key.split("/")[1]):
        yield folder, list(infos)


def _all_before(infos: Iterable[ObjectInfo], moment: datetime) -> bool:
    return all(info.modified_at < moment for info in infos)


def _listed(video: Video) -> ExpiredVideo:
    return ExpiredVideo(video.video_id, video.file_name, video.size_bytes, video.expires_at)


def _in_table(name: str) -> str:
    return re.sub(r"([\\`|<>\[\]*_])", r"\\\1", name)
