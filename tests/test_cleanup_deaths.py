"""A cleanup that is killed, and cleanups beside registrations as processes of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import tasks.removals
from tasks.store import LocalStore
from tasks.videos import register_file
from tests.cleanups import FOR_TWO_WEEKS, cleanup, is_whole, no_notices
from tests.video_files import make_video


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("films") / "film.mp4", frames=6)


def test_a_cleanup_killed_in_the_middle_is_finished_by_the_next(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    video = register_file(store, film)
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(store.root)], check=False, timeout=60)
    assert killed.returncode == -9
    left = [info.key for info in store.list("videos/")]
    assert left
    assert f"videos/{video.video_id}/video.json" not in left
    assert not no_notices(store)
    monkeypatch.setattr(tasks.removals, "NOTICE_S", 1.0)
    time.sleep(1)
    assert is_whole(store, register_file(store, film))
    cleanup(store)
    assert [info.key for info in store.list("")] == []


_KILLED = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from tasks.expiry import clean_up
from tasks.store import LocalStore
class Dying(LocalStore):
    def delete_prefix(self, prefix):
        os.kill(os.getpid(), signal.SIGKILL)
clean_up(Dying(sys.argv[1]), is_tagged=lambda video_id: False, now=datetime.now(UTC) + timedelta(days=7.01))
"""


def test_registrations_and_cleanups_of_processes(tmp_path: Path, film: Path) -> None:
    """Whoever comes first, after a registration the video is there."""
    store = LocalStore(tmp_path / "store")
    for _ in range(5):
        video = register_file(store, film)
        command = [sys.executable, "-c", _CLEANING, str(store.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as cleaner:
            assert cleaner.stdout is not None
            cleaner.stdout.readline()
            assert is_whole(store, register_file(store, film, settings=FOR_TWO_WEEKS))
            cleaner.communicate(timeout=60)
        assert cleaner.returncode == 0
        assert is_whole(store, video)
        assert no_notices(store)
        store.delete_prefix(f"videos/{video.video_id}")


_CLEANING = """
import sys
from datetime import UTC, datetime, timedelta
from tasks.expiry import clean_up
from tasks.store import LocalStore
print("ready", flush=True)
clean_up(LocalStore(sys.argv[1]), is_tagged=lambda video_id: False, now=datetime.now(UTC) + timedelta(days=7.01))
"""
