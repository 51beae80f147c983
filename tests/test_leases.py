"""Leases through a real store."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.backfill_leases import JobLeases
from tasks.leases import LeaseKeeper, drop_lease, held_videos, is_living, read_lease, write_lease
from tasks.store import LocalStore, StoreUnreachableError


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


def test_a_kept_lease_lives_until_it_is_left_and_learns_its_video(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with LeaseKeeper(store, "job", lease_s=0.3) as lease:
        assert held_videos(store) == set()
        write_lease(store, "job", "a" * 32, lease_s=0.3)
        time.sleep(0.8)
        assert is_living(store, "job")
        assert held_videos(store) == {"a" * 32}
        lease.hold("b" * 32)
        time.sleep(0.8)
        assert held_videos(store) == {"b" * 32}
    assert read_lease(store, "job") is None
    assert not is_living(store, "job")


class AwayStore(LocalStore):
    """A store that can be told to be away."""

    away = False

    def write(self, key: str, data: bytes) -> None:
        if self.away:
            raise StoreUnreachableError("away")
        super().write(key, data)

    def delete(self, keys: Iterable[str]) -> int:
        if self.away:
            raise StoreUnreachableError("away")
        return super().delete(keys)


def test_leases_are_renewed_soon_after_the_store_was_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.leases._RETRY_S", 0.05)
    store = AwayStore(tmp_path)
    with LeaseKeeper(store, "job", lease_s=1.5), JobLeases(store, lease_s=1.5) as leases:
        leases.hold("other", "a" * 32)
        store.away = True
        time.sleep(2)
        assert not is_living(store, "job")
        store.away = False
        time.sleep(0.3)
        assert is_living(store, "job")
        assert is_living(store, "other")


def test_who_ends_while_the_store_is_away_has_ended(tmp_path: Path) -> None:
    store = AwayStore(tmp_path)
    with LeaseKeeper(store, "job", lease_s=60), JobLeases(store, lease_s=60) as leases:
        leases.hold("other", "a" * 32)
        store.away = True
