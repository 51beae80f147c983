"""Cleanup over both homes of the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.expiry import clean_up, report_text
from tasks.leases import write_lease
from tasks.settings import UploadSettings
from tasks.store import Store
from tasks.video_cache import cached_path
from tasks.videos import Video, register_file
from tests.video_files import make_video


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("films")
    return [make_video(folder / f"film{number}.mp4", frames=4 + number) for number in range(2)]


@pytest.fixture
def videos(store: Store, films: list[Path]) -> list[Video]:
    """Two registered videos with a plan each."""
    made = [register_file(store, film) for film in films]
    for video in made:
        store.write(f"videos/{video.video_id}/plans/0.arrow", b"plan")
    return made


def nobody(video_id: str) -> bool:
    return False


def keys(store: Store, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


def after(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_nothing_goes_before_its_time(store: Store, videos: list[Video]) -> None:
    before = keys(store)
    report = clean_up(store, is_tagged=nobody, now=after(6.9))
    assert (report.removed, report.held, report.fragments, report.uploads) == ([], [], [], [])
    assert keys(store) == before


def test_expired_videos_go_with_plans_and_copies_and_nothing_else(store: Store, videos: list[Video], cache) -> None:
    for key in ("shards/1/0-4.parquet", "results/1/job.json", "models/m/config.json", "jobs/1/spec.json"):
        store.write(key, b"x")
    copy = cached_path(cache, videos[0].video_id)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"x")
    report = clean_up(store, is_tagged=nobody, now=after(7.01))
    assert {video.video_id for video in report.removed} == {video.video_id for video in videos}
    assert report.copies == [videos[0].video_id]
    assert not copy.exists()
    assert keys(store) == ["jobs/1/spec.json", "models/m/config.json", "results/1/job.json", "shards/1/0-4.parquet"]
    again = clean_up(store, is_tagged=nobody, now=after(7.01))
    assert (again.removed, again.copies) == ([], [])


def test_a_dry_run_says_the_same_and_removes_nothing(store: Store, videos: list[Video]) -> None:
    before = keys(store)
    dry = clean_up(store, is_tagged=nobody, dry_run=True, now=after(7.01))
    assert keys(store) == before
    assert dry.removed == clean_up(store, is_tagged=nobody, now=after(7.01)).removed
    assert report_text(dry).startswith("Would remove 2 expired videos")


@pytest.mark.parametrize("by", ["tag", "lease"])
def test_a_living_job_holds_its_video_for_a_day(store: Store, videos: list[Video], by: str) -> None:
    kept, gone = videos
    tagged = {kept.video_id} if by == "tag" else set()
    if by == "lease":
        write_lease(store, "job", kept.video_id, lease_s=30 * 86400)
    report = clean_up(store, is_tagged=tagged.__contains__, now=after(7.5))
    assert [video.video_id for video in report.held] == [kept.video_id]
    assert [video.video_id for video in report.removed] == [gone.video_id]
    assert len(keys(store, f"videos/{kept.video_id}/")) == 4
    report = clean_up(store, is_tagged=tagged.__contains__, now=after(8.01))
    assert [video.video_id for video in report.removed] == [kept.video_id]
    assert keys(store, "videos/") == []


def test_a_dead_jobs_lease_holds_nothing(store: Store, videos: list[Video]) -> None:
    write_lease(store, "dead", videos[0].video_id, lease_s=900)
    assert len(clean_up(store, is_tagged=nobody, now=after(7.01)).removed) == 2


def test_a_renewed_video_stays(store: Store, videos: list[Video], films: list[Path]) -> None:
    register_file(store, films[0], settings=UploadSettings(keep_days=14))
    report = clean_up(store, is_tagged=nobody, now=after(7.01))
    assert [video.video_id for video in report.removed] == [videos[1].video_id]


def test_what_a_broken_off_deletion_left_goes_too(store: Store, videos: list[Video]) -> None:
    store.delete([f"videos/{videos[0].video_id}/video.json"])
    assert clean_up(store, is_tagged=nobody, now=after(0.5)).fragments == []
    assert clean_up(store, is_tagged=nobody, now=after(1.5)).fragments == [videos[0].video_id]
    assert keys(store, f"videos/{videos[0].video_id}/") == []
    assert len(keys(store, f"videos/{videos[1].video_id}/")) == 4


def test_a_record_that_cannot_be_read_has_a_videos_full_time(store: Store, videos: list[Video]) -> None:
    store.write(f"videos/{videos[0].video_id}/video.json", b"{}")
    assert clean_up(store, is_tagged=nobody, now=after(6)).fragments == []
    assert clean_up(store, is_tagged=nobody, now=after(8.1)).fragments == [videos[0].video_id]


def test_uploads_that_nobody_registered_go_after_a_day(store: Store) -> None:
    store.write("incoming/1/film.mp4", b"x")
    assert clean_up(store, is_tagged=nobody, now=after(0.9)).uploads == []
    assert clean_up(store, is_tagged=nobody, now=after(1.1), dry_run=True).uploads == ["1"]
    assert clean_up(store, is_tagged=nobody, now=after(1.1)).uploads == ["1"]
    assert keys(store) == []


def test_an_empty_store(store: Store) -> None:
    assert report_text(clean_up(store, is_tagged=nobody)).startswith("Removed 0 expired videos")


def test_the_report_names_every_video(store: Store, videos: list[Video]) -> None:
    text = report_text(clean_up(store, is_tagged={videos[0].video_id}.__contains__, now=after(7.5)))
    assert f"| `{videos[0].video_id}` | film0.mp4 |" in text
    assert text.count("| held |") == text.count("| removed |") == 1
