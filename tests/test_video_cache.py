"""Local copies of videos of a real S3 store."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.file_stamps import stamp_of
from tasks.store import LocalStore, S3Store
from tasks.video_cache import (
    VideoDamagedError,
    cached_path,
    drop_leftovers,
    drop_unregistered_copies,
    make_room,
    video_file,
)
from tasks.video_refusals import VideoChangedError
from tasks.videos import UnknownVideoError, Video, delete_video, register_file
from tests.video_files import make_video


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make_video(tmp_path / "film.mp4", frames=10)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def video(s3_store: S3Store, film: Path) -> Video:
    return register_file(s3_store, film)


def test_a_directory_gives_the_file_itself(tmp_path: Path, film: Path, cache: Path) -> None:
    store = LocalStore(tmp_path / "store")
    video = register_file(store, film)
    path = video_file(store, video, cache)
    assert path.read_bytes() == film.read_bytes()
    assert path.is_relative_to(store.root)
    path.unlink()
    with pytest.raises(UnknownVideoError, match="register it again"):
        video_file(store, video, cache)
    assert not cache.exists()


def test_a_copy_is_fetched_once(s3_store: S3Store, video: Video, film: Path, cache: Path, monkeypatch) -> None:
    path = video_file(s3_store, video, cache)
    assert path.read_bytes() == film.read_bytes()
    os.utime(path, (1, 1))
    monkeypatch.setattr(s3_store, "fetch", lambda *_, **__: pytest.fail("fetched again"))
    assert video_file(s3_store, video, cache) == path
    assert time.time() - path.stat().st_atime < 60
    assert path.stat().st_mtime == 1
    assert [other.name for other in path.parent.iterdir()] == [video.video_id]


def test_bytes_that_are_not_the_registered_ones_are_not_kept(s3_store: S3Store, video: Video, cache: Path) -> None:
    s3_store.write(f"videos/{video.video_id}/source", bytes(video.size_bytes))
    with pytest.raises(VideoDamagedError):
        video_file(s3_store, video, cache)
    assert list((cache / "videos").iterdir()) == []
    s3_store.delete([f"videos/{video.video_id}/source"])
    with pytest.raises(UnknownVideoError):
        video_file(s3_store, video, cache)


def test_a_copy_that_is_cut_off_is_fetched_again(s3_store: S3Store, video: Video, film: Path, cache: Path) -> None:
    path = video_file(s3_store, video, cache)
    path.write_bytes(b"cut off")
    assert video_file(s3_store, video, cache).read_bytes() == film.read_bytes()


def test_a_copy_that_is_found_is_checked_before_its_first_use(
    s3_store: S3Store, video: Video, film: Path, cache: Path, monkeypatch
) -> None:
    path = cached_path(cache, video.video_id)
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(video.size_bytes))
    assert video_file(s3_store, video, cache).read_bytes() == film.read_bytes()
    path.write_bytes(bytes(video.size_bytes))
    assert video_file(s3_store, video, cache).read_bytes() == film.read_bytes()
    monkeypatch.setattr("tasks.video_cache.sha256_of", lambda _: pytest.fail("checked again"))
    assert video_file(s3_store, video, cache) == path


def test_bytes_in_a_directory_that_are_not_the_registered_ones_are_refused(
    tmp_path: Path, film: Path, cache: Path
) -> None:
    store = LocalStore(tmp_path / "store")
    video = register_file(store, film)
    path = video_file(store, video, cache)
    path.chmod(0o600)
    path.write_bytes(bytes(video.size_bytes))
    with pytest.raises(VideoChangedError, match="not those that were registered; delete it and register it again"):
        video_file(store, video, cache)
    path.write_bytes(film.read_bytes())
    assert video_file(store, video, cache) == path


def test_a_copy_that_is_asked_for_again_is_the_same_file_to_who_reads_it(
    s3_store: S3Store, video: Video, cache: Path
) -> None:
    before = stamp_of(video_file(s3_store, video, cache))
    os.utime(cached_path(cache, video.video_id), ns=(1, before.mtime_ns))
    assert stamp_of(video_file(s3_store, video, cache)) == before


def test_the_longest_unused_copies_make_room_and_those_in_use_stay(cache: Path) -> None:
    ages_s = {"1": 9000, "2": 8000, "3": 7000, "4": 10}
    for digit, age_s in ages_s.items():
        path = cached_path(cache, digit * 32)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100))
        os.utime(path, (time.time() - age_s, time.time() - age_s))

    def left() -> list[str]:
        return sorted(path.name[0] for path in (cache / "videos").iterdir())

    make_room(cache, 100, cap_bytes=500)
    assert left() == ["1", "2", "3", "4"]
    make_room(cache, 150, cap_bytes=450)
    assert left() == ["2", "3", "4"]
    make_room(cache, 1000, cap_bytes=500)
    assert left() == ["4"]


def test_the_cap_holds_when_a_video_comes(s3_store: S3Store, video: Video, cache: Path, monkeypatch) -> None:
    old = cached_path(cache, "0" * 32)
    old.parent.mkdir(parents=True)
    old.write_bytes(bytes(1000))
    os.utime(old, (1, 1))
    s3_store.write(f"videos/{'0' * 32}/video.json", b"{}")  # still registered, as far as the store knows
    monkeypatch.setenv("REELMILL_VIDEO_CACHE_BYTES", str(video.size_bytes + 500))
    video_file(s3_store, video, cache)
    assert [path.name for path in old.parent.iterdir()] == [video.video_id]


def test_copies_of_deleted_videos_go(s3_store: S3Store, video: Video, cache: Path) -> None:
    path = video_file(s3_store, video, cache)
    assert drop_unregistered_copies(s3_store, cache) == []
    delete_video(s3_store, video.video_id, cache_dir=cache / "of" / "another" / "machine")
    assert drop_unregistered_copies(s3_store, cache) == [video.video_id]
    assert not path.exists()


def test_whoever_asks_for_a_video_sweeps_now_and_then(
    s3_store: S3Store, video: Video, cache: Path, tmp_path: Path
) -> None:
    def deleted_copy(frames: int) -> Path:
        other = register_file(s3_store, make_video(tmp_path / f"{frames}.mp4", frames=frames))
        path = video_file(s3_store, other, cache)
        delete_video(s3_store, other.video_id, cache_dir=tmp_path / "elsewhere")
        return path

    kept = video_file(s3_store, video, cache)
    gone = deleted_copy(5)
    video_file(s3_store, video, cache)
    assert gone.exists()
    os.utime(cache / ".videos-swept", (1, 1))
    assert video_file(s3_store, video, cache) == kept
    assert not gone.exists()


def test_deleting_a_video_takes_this_machines_copy_too(s3_store: S3Store, video: Video, cache: Path) -> None:
    path = video_file(s3_store, video, cache)
    delete_video(s3_store, video.video_id, cache_dir=cache)
    assert not path.exists()


def test_leftovers_of_dead_downloads_go_by_age(cache: Path) -> None:
    (cache / "videos").mkdir(parents=True)
    (cache / "videos" / ".partial-1").write_bytes(b"x")
    (cache / "incoming" / ".partial-2").mkdir(parents=True)
    (cache / "incoming" / ".partial-2" / "film.mp4").write_bytes(b"x")
    assert drop_leftovers(cache, datetime.now(UTC) - timedelta(hours=1)) == 0
    assert drop_leftovers(cache, datetime.now(UTC) + timedelta(hours=1)) == 2
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert drop_leftovers(cache / "none", datetime.now(UTC)) == 0
