"""Leases through a real store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.leases import drop_lease, held_videos, write_lease
from tasks.store import LocalStore


def test_a_lease_holds_until_it_is_dropped(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write_lease(store, "job-1", "a" * 32, lease_s=60)
    write_lease(store, "job-2", "b" * 32, lease_s=60)
    write_lease(store, "job-3", "b" * 32, lease_s=60)
    assert held_videos(store) == {"a" * 32, "b" * 32}
    drop_lease(store, "job-1")
    drop_lease(store, "job-1")
    drop_lease(store, "job-2")
    assert held_videos(store) == {"b" * 32}


def test_a_dead_jobs_lease_runs_out_and_a_renewed_one_lasts(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write_lease(store, "dead", "a" * 32, lease_s=60)
    write_lease(store, "alive", "b" * 32, lease_s=60)
    write_lease(store, "alive", "b" * 32, lease_s=600)
    assert held_videos(store, now=datetime.now(UTC) + timedelta(seconds=61)) == {"b" * 32}


def test_what_is_no_lease_holds_nothing_and_stops_nothing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write_lease(store, "job-1", "a" * 32, lease_s=60)
    store.write("jobs/job-0/lease.json", b"{}")
    store.write("jobs/job-2/spec.json", b"{}")
    assert held_videos(store) == {"a" * 32}
