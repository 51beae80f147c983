"""What a cleanup did or, in a dry run, would do, and how it is told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class ExpiredVideo:
    """A video that goes, or stays for a job's sake."""

    video_id: str
    file_name: str
    size_bytes: int
    expires_at: datetime


@dataclass
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
    """Half-written files and uploads in parts."""
    old_versions: int = 0
    """Of objects that were overwritten or deleted, in a bucket that keeps them."""
    copies: list[str] = field(default_factory=list)
    """Ids of the videos whose copies in this machine's cache went."""
    retired: list[str] = field(default_factory=list)
    """Folders of shards, results and jobs' records that had their time."""
    records: int = 0
    """Leases that ran out, remembered requests, states of backfills, notices."""
    refused: dict[str, str] = field(default_factory=dict)
    """Folders that the store would not give up, and why."""


def report_text(report: CleanupReport) -> str:
    """The report as markdown."""
    verb = "Would remove" if report.dry_run else "Removed"
    lines = [
        f"{verb} {len(report.removed)} expired videos, {len(report.fragments)} fragments of videos, "
        f"{len(report.uploads)} unregistered uploads, {report.unfinished_writes} unfinished writes and "
        f"{len(report.copies)} local copies; {len(report.held)} expired videos stay until their jobs end.",
        "",
        f"{verb} {_count(report, 'shards/')} models' shards of a video, {_count(report, 'results/')} results, the "
        f"records of {_count(report, 'jobs/')} jobs, {report.records} smaller records and {report.old_versions} old "
        "versions.",
    ]
    rows = [("removed", video) for video in report.removed] + [("held", video) for video in report.held]
    if rows:
        lines += ["", "| video | file | bytes | expired | |", "|---|---|---|---|---|"]
        lines += [
            f"| `{video.video_id}` | {_in_table(video.file_name)} | {video.size_bytes} "
            f"| {video.expires_at:%Y-%m-%d %H:%M} | {what} |"
            for what, video in rows
        ]
    if report.refused:
        lines += ["", "Could not be removed:", ""]
        lines += [f"- `{folder}`: {why}" for folder, why in report.refused.items()]
    return "\n".join(lines)


def _count(report: CleanupReport, prefix: str) -> int:
    return sum(folder.startswith(prefix) for folder in report.retired)


def _in_table(name: str) -> str:
    return re.sub(r"([\\`|<>\[\]*_])", r"\\\1", name)
