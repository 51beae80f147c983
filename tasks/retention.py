"""Which shards, results and records have had their time, by `RetentionSettings`.

A shard's or a result's time runs from the last job whose spec names it, so that what is used again and again stays.
Nothing that a living job's spec names ever goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from tasks.job_uses import JobUse, JobUses, last_uses, listed_folders
from tasks.settings import RetentionSettings
from tasks.store_interface import ObjectInfo, Store

_REMEMBERED = ("requests/", "backfills/")
"""What is kept as long as results are; each of their objects or folders is one."""


@dataclass(frozen=True)
class Retention:
    """Looks for what is due at one moment; each look sees the store as it is then."""

    store: Store
    uses: JobUses
    settings: RetentionSettings
    moment: datetime

    def due_folders(self) -> list[str]:
        """Folders of shards, of results and of jobs' records, such as `shards/{fingerprint}`."""
        uses = self.uses.look(self.moment)
        listed = [
            (prefix + name, infos)
            for prefix in ("shards/", "results/")
            if self._before(prefix) is not None
            for name, infos in listed_folders(self.store, prefix)
        ]
        return [*self._due(listed, uses), *self._due_jobs(uses)]

    def still_due(self, folders: Sequence[str]) -> list[str]:
        """Those of the folders that are due now; everything is looked at again."""
        uses = self.uses.look(self.moment)
        jobs = set(self._due_jobs(uses))
        listed = [(folder, list(self.store.list(f"{folder}/"))) for folder in folders if not folder.startswith("jobs/")]
        due = {*self._due(listed, uses), *jobs}
        return [folder for folder in folders if folder in due]

    def due_memories(self) -> list[str]:
        """Keys of remembered requests and states of backfills that are as old as results may become."""
        before = self._before("results/")
        if before is None:
            return []
        return [
            info.key
            for prefix in _REMEMBERED
            for infos in _units(self.store, prefix)
            if _newest(infos) < before
            for info in infos
        ]

    def _due(self, listed: Iterable[tuple[str, list[ObjectInfo]]], uses: Sequence[JobUse]) -> Iterator[str]:
        used_at = last_uses(uses)
        living = frozenset[str]().union(*(use.folders for use in uses if use.is_living))
        for folder, infos in listed:
            before = self._before(folder)
            if before is None or not infos or folder in living:
                continue
            if max(_newest(infos), used_at.get(folder, before)) <= before:
                yield folder

    def _due_jobs(self, uses: Iterable[JobUse]) -> Iterator[str]:
        days = self.settings.jobs_days
        without_result = self.moment - timedelta(days=days)
        results_days = self.settings.results_days
        with_result = None if results_days is None else self.moment - timedelta(days=max(days, results_days))
        for use in uses:
            before = with_result if use.has_result else without_result
            if before is not None and not use.is_living and use.used_at < before:
                yield f"jobs/{use.job_id}"

    def _before(self, folder: str) -> datetime | None:
        days = self.settings.shards_days if folder.startswith("shards/") else self.settings.results_days
        return None if days is None else self.moment - timedelta(days=days)


def _units(store: Store, prefix: str) -> Iterator[list[ObjectInfo]]:
    listed = store.list(prefix)
    for _, infos in groupby(listed, key=lambda info: info.key.removeprefix(prefix).split("/")[0]):
        yield list(infos)


def _newest(infos: Iterable[ObjectInfo]) -> datetime:
    return max(info.modified_at for info in infos)
