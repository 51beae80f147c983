"""What cleanup removes: expired videos with all that hangs on them, stale uploads, and what dead writers left behind.

It knows nothing of Prefect: whether unfinished runs hold a video by their tags is asked of the caller; leases are read
here. Doing it twice, or dying in the middle and doing it again, ends the same; so does doing it while jobs begin and
videos are registered (`tasks.removals`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.cleanup_report import CleanupReport, ExpiredVideo, report_text
from tasks.incoming import INCOMING
from tasks.job_uses import JobUses, listed_folders
from tasks.leases import lease_key
from tasks.removals import NOTICES, remove_folders
from tasks.retention import Retention
from tasks.settings import RetentionSettings, StoreSettings, UploadSettings
from tasks.store_interface import ObjectInfo, Store
from tasks.video_cache import drop_copy, drop_leftovers, drop_unregistered_copies, unregistered_copies
from tasks.video_records import UnknownVideoError, Video, find_video, list_videos, record_key, remove_video

__all__ = ["CleanupReport", "ExpiredVideo", "clean_up", "report_text"]

_VIDEOS = "videos/"
_WITHOUT_HISTORY = (_VIDEOS, INCOMING, "jobs/", "requests/", NOTICES)
"""Where older versions of an object serve nobody; a bucket's owner may have his reasons elsewhere."""


def clean_up(
    store: Store,
    *,
    is_tagged: Callable[[str], bool],
    dry_run: bool = False,
    settings: UploadSettings | None = None,
    retention: RetentionSettings | None = None,
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
    uses = JobUses(store)
    videos = _Videos(store, uses, is_tagged, limits, moment)
    kept = Retention(store, uses, retention or RetentionSettings(), moment)

    report = CleanupReport(dry_run)
    report.unfinished_writes = store.remove_unfinished(stale, dry_run=dry_run)
    _clean_videos(report, videos, cache)
    _clean_uploads(report, store, stale)
    _clean_retired(report, kept)
    report.records += _clean_records(store, uses, kept, stale, dry_run=dry_run)
    report.copies += drop_unregistered_copies(store, cache) if not dry_run else unregistered_copies(store, cache)
    if not dry_run:
        drop_leftovers(cache, stale)
    for prefix in _WITHOUT_HISTORY:
        report.old_versions += store.remove_old_versions(prefix, stale, dry_run=dry_run)
    return report


@dataclass(frozen=True)
class _Videos:
    """Says of videos whether their time is over; each question looks at the store anew."""

    store: Store
    uses: JobUses
    is_tagged: Callable[[str], bool]
    limits: UploadSettings
    moment: datetime

    def expired(self) -> tuple[list[Video], list[Video], list[str]]:
        """The expired videos that go, those that are held, and the ids of fragments."""
        videos = list(list_videos(self.store))
        expired = [video for video in videos if video.expires_at <= self.moment]
        # Jobs are looked at after the videos: a job takes its lease right after it found its video alive.
        gone, held = self._sorted_out(expired)
        return gone, held, list(self._fragments({video.video_id for video in videos}))

    def still_due(self, folders: Sequence[str]) -> Iterator[str]:
        """Those of the folders `videos/{video_id}` whose time is over and that nobody registered or took since."""
        ids = [folder.removeprefix(_VIDEOS) for folder in folders]
        records = {video_id: self._record(video_id) for video_id in ids}
        expired = [video for video in records.values() if video is not None and video.expires_at <= self.moment]
        gone = {video.video_id for video in self._sorted_out(expired)[0]}
        for video_id, record in records.items():
            infos = list(self.store.list(f"{_VIDEOS}{video_id}/")) if record is None else []
            if video_id in gone or (infos and self._is_fragment(video_id, infos)):
                yield f"{_VIDEOS}{video_id}"

    def _sorted_out(self, expired: Iterable[Video]) -> tuple[list[Video], list[Video]]:
        living = [use.video_ids for use in self.uses.look(self.moment) if use.is_living]
        leased = frozenset[str]().union(*living)
        gone: list[Video] = []
        held: list[Video] = []
        for video in expired:
            may_be_held = self.moment < video.expires_at + timedelta(days=self.limits.hold_days)
            is_held = may_be_held and (video.video_id in leased or self.is_tagged(video.video_id))
            (held if is_held else gone).append(video)
        return gone, held

    def _fragments(self, registered: set[str]) -> Iterator[str]:
        """Ids of videos without a record that can be read, too old for one to be still coming."""
        for video_id, infos in listed_folders(self.store, _VIDEOS):
            if video_id not in registered and self._is_fragment(video_id, infos):
                yield video_id

    def _is_fragment(self, video_id: str, infos: Iterable[ObjectInfo]) -> bool:
        has_record = any(info.key == record_key(video_id) for info in infos)
        # A record that this version cannot read may be another version's: it has its video's full time.
        days = self.limits.keep_days + self.limits.hold_days if has_record else self.limits.incoming_days
        return _all_before(infos, self.moment - timedelta(days=days))

    def _record(self, video_id: str) -> Video | None:
        try:
            return find_video(self.store, video_id, held=True)
        except UnknownVideoError:
            return None


def _clean_videos(report: CleanupReport, videos: _Videos, cache: Path) -> None:
    expired, held, fragments = videos.expired()
    report.held = [_listed(video) for video in held]
    report.removed, report.fragments = [_listed(video) for video in expired], fragments
    if report.dry_run:
        return
    folders = [*(_VIDEOS + video.video_id for video in expired), *(_VIDEOS + video_id for video_id in fragments)]

    def remove(folder: str) -> None:
        video_id = folder.removeprefix(_VIDEOS)
        remove_video(videos.store, video_id)
        if drop_copy(cache, video_id):
            report.copies.append(video_id)

    removed, refused = remove_folders(videos.store, folders, videos.still_due, remove)
    report.refused |= refused
    report.removed = [video for video in report.removed if _VIDEOS + video.video_id in removed]
    report.fragments = [video_id for video_id in fragments if _VIDEOS + video_id in removed]


def _clean_uploads(report: CleanupReport, store: Store, stale: datetime) -> None:
    """Whoever registers such an upload just now has it whole, and puts it into the store from there."""
    for upload_id, infos in listed_folders(store, INCOMING):
        if _all_before(infos, stale):
            report.uploads.append(upload_id)
            if not report.dry_run:
                store.delete_prefix(f"{INCOMING}{upload_id}")


def _clean_retired(report: CleanupReport, kept: Retention) -> None:
    report.retired = kept.due_folders()
    if not report.dry_run:
        report.retired, refused = remove_folders(kept.store, report.retired, kept.still_due, kept.store.delete_prefix)
        report.refused |= refused


def _clean_records(store: Store, uses: JobUses, kept: Retention, stale: datetime, *, dry_run: bool) -> int:
    """Remove small things that nobody waits for: leases, what became of uploads, notices, memories of requests."""
    run_out = [
        lease_key(use.job_id)
        for use in uses.look(kept.moment)
        if use.lease_until is not None and use.lease_until < stale and use.used_at < stale
    ]
    beside = (info for info in store.list(INCOMING) if "/" not in info.key.removeprefix(INCOMING))
    old = [info.key for info in (*beside, *store.list(NOTICES)) if info.modified_at < stale]
    keys = [*run_out, *old, *kept.due_memories()]
    if not dry_run and keys:
        store.delete(keys)
    return len(keys)


def _all_before(infos: Iterable[ObjectInfo], moment: datetime) -> bool:
    return all(info.modified_at < moment for info in infos)


def _listed(video: Video) -> ExpiredVideo:
    return ExpiredVideo(video.video_id, video.file_name, video.size_bytes, video.expires_at)
