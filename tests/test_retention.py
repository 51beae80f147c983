"""How long shards, results and records stay, in both homes of the store, and what a bucket with versions keeps."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.expiry import CleanupReport, clean_up, report_text
from tasks.leases import write_lease
from tasks.settings import RetentionSettings
from tasks.store import LocalStore, S3Store, Store, StoreRefusedError

DAYS_S = 86400.0


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))


def cleanup(store: Store, days: float, dry_run: bool = False, **settings: float) -> CleanupReport:
    return clean_up(
        store,
        is_tagged=lambda video_id: False,
        now=datetime.now(UTC) + timedelta(days=days),
        retention=RetentionSettings(**settings),
        dry_run=dry_run,
    )


def keys(store: Store, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


def write_job(store: Store, job_id: str = "job", shard: str = "fp", result: str | None = None) -> None:
    """A job's records as cleanup reads them, its shard, and its result where it has one."""
    spec = {
        "video": {"video_id": "0" * 32},
        "models": [{"fingerprint": shard}],
        "request_fingerprint": result or "none",
    }
    store.write(f"jobs/{job_id}/spec.json", json.dumps(spec).encode())
    store.write(f"shards/{shard}/0-4.parquet", b"x")
    if result is not None:
        store.write(f"results/{result}/predictions.json", b"{}")
        store.write(f"results/{result}/job.json", b"{}")
        store.write(f"jobs/{job_id}/result.json", json.dumps({"prefix": f"results/{result}"}).encode())


def test_shards_go_two_weeks_after_their_last_job_and_a_dead_jobs_records_after_a_month(store: Store) -> None:
    write_job(store)
    write_lease(store, "job", "0" * 32, lease_s=90)
    assert cleanup(store, 13.9).retired == []
    assert "shards/fp/0-4.parquet" in keys(store)
    assert cleanup(store, 14.1).retired == ["shards/fp"]
    assert keys(store) == ["jobs/job/spec.json"]
    assert cleanup(store, 29.9).retired == []
    assert cleanup(store, 30.1).retired == ["jobs/job"]
    assert keys(store) == []


def test_a_run_out_lease_goes_after_a_day(store: Store) -> None:
    write_job(store)
    write_lease(store, "job", "0" * 32, lease_s=90)
    cleanup(store, 0.9)
    assert "jobs/job/lease.json" in keys(store)
    cleanup(store, 1.1)
    assert "jobs/job/lease.json" not in keys(store)


def test_nothing_of_a_living_job_goes_however_old_it_is(store: Store) -> None:
    write_job(store)
    write_lease(store, "job", "0" * 32, lease_s=100 * DAYS_S)
    before = keys(store)
    assert cleanup(store, 60, results_days=14).retired == []
    assert keys(store) == before


def test_a_late_retry_that_names_old_shards_keeps_them(tmp_path: Path) -> None:
    """Files of a directory can be made old; the retry is the only thing that is new."""
    store = LocalStore(tmp_path / "store")
    write_job(store, "first")
    old_s = time.time() - 15 * DAYS_S
    for key in keys(store):
        os.utime(store.root / key, (old_s, old_s))
    write_job(store, "retry")
    os.utime(store.root / "shards/fp/0-4.parquet", (old_s, old_s))
    assert cleanup(store, 0).retired == []
    store.delete_prefix("jobs/retry")
    assert cleanup(store, 0).retired == ["shards/fp"]


def test_results_and_their_records_stay_unless_a_setting_says_otherwise(store: Store) -> None:
    write_job(store, result="r")
    store.write("requests/1.json", b"{}")
    store.write("backfills/all/rows.parquet", b"x")
    kept = ["backfills/all/rows.parquet", "jobs/job/result.json", "jobs/job/spec.json"]
    kept += ["requests/1.json", "results/r/job.json", "results/r/predictions.json"]
    cleanup(store, 5000)
    assert keys(store) == kept
    cleanup(store, 89, results_days=90)
    assert keys(store) == kept
    dry = cleanup(store, 91, results_days=90, dry_run=True)
    assert keys(store) == kept
    report = cleanup(store, 91, results_days=90)
    assert report.retired == dry.retired == ["results/r", "jobs/job"]
    assert report.records == dry.records == 2
    assert keys(store) == []
    assert "1 results, the records of 1 jobs, 2 smaller records" in report_text(report)


def test_a_spec_that_cannot_be_read_stops_nothing(store: Store) -> None:
    for content in (b"not json", b"[]", b'{"models": 5, "video": []}'):
        store.write("jobs/job/spec.json", content)
        store.write("shards/fp/0-4.parquet", b"x")
        assert cleanup(store, 14.1).retired == ["shards/fp"]


def test_one_folder_that_cannot_be_removed_keeps_no_other(tmp_path: Path) -> None:
    class Stubborn(LocalStore):
        def delete_prefix(self, prefix: str) -> int:
            if prefix == "shards/b":
                raise StoreRefusedError("b stays.")
            return super().delete_prefix(prefix)

    store = Stubborn(tmp_path / "store")
    for shard in ("a", "b", "c"):
        store.write(f"shards/{shard}/0-4.parquet", b"x")
    report = cleanup(store, 14.1)
    assert report.retired == ["shards/a", "shards/c"]
    assert report.refused == {"shards/b": "b stays."}
    assert "- `shards/b`: b stays." in report_text(report)


def test_shards_may_not_outlive_what_says_when_they_were_used() -> None:
    with pytest.raises(ValidationError, match="REELMILL_RETENTION_SHARDS_DAYS"):
        RetentionSettings(shards_days=31)
    with pytest.raises(ValidationError, match="REELMILL_RETENTION_SHARDS_DAYS"):
        RetentionSettings(results_days=7)


class TestVersions:
    @pytest.fixture
    def versioned(self, s3_store: S3Store, s3_client) -> S3Store:
        enabled = {"Status": "Enabled"}
        s3_client.put_bucket_versioning(Bucket=s3_store.bucket, VersioningConfiguration=enabled)
        return s3_store

    @staticmethod
    def everything(store: S3Store, client) -> list[str]:
        answer = client.list_object_versions(Bucket=store.bucket)
        items = [*answer.get("Versions", []), *answer.get("DeleteMarkers", [])]
        return sorted(item["Key"].removeprefix("some/prefix/") for item in items)

    def test_what_was_overwritten_or_deleted_goes_by_age(self, versioned: S3Store, s3_client) -> None:
        for _ in range(3):
            write_lease(versioned, "job", "0" * 32, lease_s=90)
        versioned.write("incoming/1.json", b"{}")
        versioned.delete(["incoming/1.json"])
        versioned.write("models/m/entry.yaml", b"1")
        versioned.write("models/m/entry.yaml", b"2")
        cleanup(versioned, 0.5)
        assert len(self.everything(versioned, s3_client)) == 7
        assert cleanup(versioned, 0.5, dry_run=True).old_versions == 0
        dry = cleanup(versioned, 1.5, dry_run=True)
        assert len(self.everything(versioned, s3_client)) == 7
        assert dry.old_versions == 4
        cleanup(versioned, 1.5)
        assert self.everything(versioned, s3_client) == ["models/m/entry.yaml", "models/m/entry.yaml"]

    def test_a_deletion_that_broke_off_leaves_no_hidden_record(self, versioned: S3Store, s3_client) -> None:
        versioned.write("videos/1/video.json", b"{}")
        versioned.delete(["videos/1/video.json"])
        assert keys(versioned) == []
        assert len(self.everything(versioned, s3_client)) == 2
        cleanup(versioned, 1.5)
        assert self.everything(versioned, s3_client) == []

    def test_a_dead_job_leaves_nothing_in_the_end(self, versioned: S3Store, s3_client) -> None:
        for _ in range(2):
            write_job(versioned)
            write_lease(versioned, "job", "0" * 32, lease_s=90)
        cleanup(versioned, 31)
        assert self.everything(versioned, s3_client) == []

    def test_a_bucket_without_versions_has_none(self, s3_store: S3Store) -> None:
        s3_store.write("jobs/1/a", b"1")
        s3_store.write("jobs/1/a", b"2")
        assert s3_store.remove_old_versions("jobs/", datetime.now(UTC) + timedelta(days=1)) == 0
        assert s3_store.read("jobs/1/a") == b"2"
