"""What only a directory can do wrong; the contract that it shares is in test_store.py."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.store import (
    BadKeyError,
    DiskFullError,
    LocalStore,
    NotAResultError,
    S3Store,
    Store,
    StoreAccessError,
    StoreConfigError,
    UploadLinkError,
)


def keys(store: Store, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


def test_names_the_file_itself(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.write("videos/1/source", b"x")
    assert store.local_path("videos/1/source").read_bytes() == b"x"
    store.write("results/1/predictions.json", b"{}")
    assert Path(store.presign_result("results/1/predictions.json", expires_s=1)).read_bytes() == b"{}"


def test_takes_no_uploads_over_http(tmp_path: Path) -> None:
    with pytest.raises(UploadLinkError, match="reelmill register"):
        LocalStore(tmp_path).presign_put("incoming/1/a.mp4", size_bytes=1, expires_s=60)


def test_follows_no_link_out_of_the_store(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store = LocalStore(tmp_path / "store")
    store.write("a/real", b"x")
    (store.root / "folder").symlink_to(outside)
    (store.root / "a" / "file").symlink_to(outside / "secret")
    for ask in (
        lambda: store.read("folder/secret"),
        lambda: store.read("a/file"),
        lambda: store.write("folder/new", b"x"),
        lambda: store.stat("a/file"),
        lambda: store.delete_prefix("folder"),
        lambda: store.presign_result("a/file", expires_s=1),
    ):
        with pytest.raises((BadKeyError, NotAResultError)):
            ask()
    assert keys(store, "") == ["a/real"]
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_empty_folders_go_with_their_last_file(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.write("videos/1/plans/x.arrow", b"x")
    store.delete_prefix("videos/1")
    assert list(store.root.iterdir()) == []


def test_writers_and_deleters_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    threads = [threading.Thread(target=lambda: [store.delete_prefix("a") for _ in range(300)])]
    failures = []

    def write() -> None:
        try:
            for number in range(100):
                store.write(f"a/b/{number}", b"x")
        except Exception as error:
            failures.append(error)

    threads.append(threading.Thread(target=write))
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert failures == []


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """The limit on file size fails a write as a full disk does, whatever user runs the tests."""
    script = """
import resource, signal, sys
from pathlib import Path
from tasks.store import DiskFullError, LocalStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
store = LocalStore(Path(sys.argv[1]))
for put in (lambda: store.write("a/b", bytes(200_000)), lambda: store.write_file("a/b", Path(sys.argv[2]))):
    try:
        put()
    except DiskFullError as error:
        print(error)
"""
    large = tmp_path / "large"
    large.write_bytes(bytes(200_000))
    store = LocalStore(tmp_path / "store")
    store.write("a/b", b"old")
    done = subprocess.run(
        [sys.executable, "-c", script, str(store.root), str(large)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.count("No space is left") == 2, done.stderr
    assert store.read("a/b") == b"old"
    assert [path.name for path in (store.root / "a").iterdir()] == ["b"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")
def test_a_disk_that_is_full(tmp_path: Path, s3_store: S3Store) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this root may not mount")
    try:
        store = LocalStore(small)
        store.write("old", b"old")
        s3_store.write("large", bytes(200_000))
        for put in (
            lambda: store.write("a/b", bytes(200_000)),
            lambda: s3_store.fetch("large", small / "fetched"),
        ):
            with pytest.raises(DiskFullError, match="free some"):
                put()
        assert keys(store, "") == ["old"]
        assert not [path for path in small.rglob("*") if path.is_file() and path.name != "old"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreAccessError, match="owner or mode"):
        LocalStore(tmp_path / "store").write("a", b"x")


def test_a_store_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreConfigError, match="not a directory"):
        LocalStore(tmp_path / "file").write("a", b"x")


def test_what_killed_writers_left_goes_by_age(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("a/b", b"x")
    (tmp_path / "a" / ".partial-0123").write_bytes(b"half")
    assert keys(store, "") == ["a/b"]
    assert store.remove_unfinished(datetime.now(UTC) - timedelta(days=1)) == 0
    assert store.remove_unfinished(datetime.now(UTC) + timedelta(days=1), dry_run=True) == 1
    assert store.remove_unfinished(datetime.now(UTC) + timedelta(days=1)) == 1
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
