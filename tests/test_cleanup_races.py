"""Cleanup beside running jobs and registrations, stopped at the points where it could take what somebody begins to use.

The stores are real, local and S3; only one call of them is held up until the other side has done its part.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.removals import announced
from tasks.shards import finished_shards
from tasks.store import Store
from tasks.video_records import UnknownVideoError
from tasks.videos import Video, delete_video, register_file, register_upload
from tests.cleanups import FOR_TWO_WEEKS, cleanup, is_whole, job, no_notices
from tests.paused_stores import beside, pausing
from tests.video_files import make_video


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("films") / "film.mp4", frames=6)


@pytest.fixture
def video(store: Store, film: Path) -> Video:
    """A video that a cleanup of a week later finds expired."""
    return register_file(store, film)


class TestRegistration:
    """The same bytes are registered again while the first registration expires."""

    def test_before_the_removal_is_announced(self, store: Store, video: Video, film: Path) -> None:
        slow, pause = pausing(store, "write", "removals/")
        with beside(lambda: cleanup(slow)) as report:
            pause.wait()
            register_file(store, film, settings=FOR_TWO_WEEKS)
            pause.go_on()
        assert report.result().removed == []
        assert is_whole(store, video)
        assert no_notices(store)

    def test_after_the_cleanup_has_looked_for_the_last_time(self, store: Store, video: Video, film: Path) -> None:
        slow, pause = pausing(store, "delete", "video.json")
        with beside(lambda: cleanup(slow)) as report:
            pause.wait()
            with beside(lambda: register_file(store, film, settings=FOR_TWO_WEEKS)) as registered:
                time.sleep(0.5)
                assert not registered.done()
                pause.go_on()
        assert [gone.video_id for gone in report.result().removed] == [video.video_id]
        assert is_whole(store, registered.result())

    def test_a_whole_cleanup_between_its_look_and_its_record(self, store: Store, video: Video, film: Path) -> None:
        slow, pause = pausing(store, "write", "index-1.arrow")
        with beside(lambda: register_file(slow, film, settings=FOR_TWO_WEEKS)) as registered:
            pause.wait()
            assert len(cleanup(store).removed) == 1
            pause.go_on()
        assert is_whole(store, registered.result())

    def test_somebody_deletes_it_meanwhile(self, store: Store, video: Video, film: Path) -> None:
        slow, pause = pausing(store, "delete_prefix", video.video_id)
        with beside(lambda: delete_video(slow, video.video_id)):
            pause.wait()
            with beside(lambda: register_file(store, film)) as registered:
                time.sleep(0.5)
                pause.go_on()
        assert is_whole(store, registered.result())

    def test_one_removers_end_does_not_speak_for_another(self, store: Store, video: Video, film: Path) -> None:
        with announced(store, [f"videos/{video.video_id}"]):
            with announced(store, [f"videos/{video.video_id}"]):
                pass
            with beside(lambda: register_file(store, film)) as registered:
                time.sleep(0.5)
                assert not registered.done()
                store.delete_prefix(f"videos/{video.video_id}")
                tidy = [info.key for info in store.list("removals/")]
                store.delete(tidy)
        assert is_whole(store, registered.result())

    def test_a_fragment_that_becomes_a_video(self, store: Store, video: Video, film: Path) -> None:
        store.delete([f"videos/{video.video_id}/video.json"])
        slow, pause = pausing(store, "write", "removals/")
        with beside(lambda: cleanup(slow, timedelta(days=1.5))) as report:
            pause.wait()
            register_file(store, film)
            pause.go_on()
        assert report.result().fragments == []
        assert is_whole(store, video)


def test_an_upload_that_goes_by_age_while_it_is_registered(store: Store, film: Path) -> None:
    upload_id = "0123456789abcdef" * 2
    store.write_file(f"incoming/{upload_id}/film.mp4", film)
    slow, pause = pausing(store, "copy", "incoming/")
    with beside(lambda: register_upload(slow, upload_id)) as registered:
        pause.wait()
        assert cleanup(store, timedelta(days=1.5)).uploads == [upload_id]
        pause.go_on()
    assert is_whole(store, registered.result())


def test_two_registrations_of_one_upload(store: Store, film: Path) -> None:
    upload_id = "0123456789abcdef" * 2
    store.write_file(f"incoming/{upload_id}/film.mp4", film)
    slow, pause = pausing(store, "fetch", "incoming/")
    with beside(lambda: register_upload(slow, upload_id)) as late:
        pause.wait()
        first = register_upload(store, upload_id)
        pause.go_on()
    assert late.result() == first
    assert is_whole(store, first)


class TestJobs:
    """A job that was submitted in time begins while its video expires."""

    def test_before_the_removal_is_announced_the_job_keeps_it(self, store: Store, video: Video) -> None:
        slow, pause = pausing(store, "write", "removals/")
        with beside(lambda: cleanup(slow)) as report:
            pause.wait()
            spec = job(store, video)
            pause.go_on()
        assert report.result().removed == []
        assert is_whole(store, video)
        assert store.stat(spec.plan_key) is not None

    def test_after_that_it_is_told(self, store: Store, video: Video) -> None:
        slow, pause = pausing(store, "delete", "video.json")
        with beside(lambda: cleanup(slow)):
            pause.wait()
            with beside(lambda: job(store, video)) as begun:
                time.sleep(0.5)
                pause.go_on()
        with pytest.raises(UnknownVideoError, match="register it again"):
            begun.result()
        assert store.stat("jobs/job/spec.json") is None
        assert list(store.list("videos/")) == []

    def test_a_whole_cleanup_between_its_look_and_its_lease(self, store: Store, video: Video) -> None:
        slow, pause = pausing(store, "write", "lease.json")
        with beside(lambda: job(slow, video)) as begun:
            pause.wait()
            assert len(cleanup(store).removed) == 1
            pause.go_on()
        with pytest.raises(UnknownVideoError, match="register it again"):
            begun.result()

    def test_shards_that_a_new_job_names_stay(self, store: Store, video: Video, film: Path) -> None:
        folder = self.old_shard(store, video)
        slow, pause = pausing(store, "write", "removals/shards")
        with beside(lambda: cleanup(slow, timedelta(days=15))) as report:
            pause.wait()
            job(store, register_file(store, film), "new")
            pause.go_on()
        assert f"shards/{folder}" not in report.result().retired
        assert finished_shards(store, folder) == {(0, 3)}

    def test_a_job_sees_no_shards_that_are_going(self, store: Store, video: Video) -> None:
        folder = self.old_shard(store, video)
        slow, pause = pausing(store, "delete_prefix", "shards/")
        with beside(lambda: cleanup(slow, timedelta(days=15))) as report:
            pause.wait()
            with beside(lambda: finished_shards(store, folder)) as standing:
                time.sleep(0.5)
                assert not standing.done()
                pause.go_on()
        assert report.result().retired == [f"shards/{folder}"]
        assert standing.result() == set()

    @staticmethod
    def old_shard(store: Store, video: Video) -> str:
        """A shard of which no job is left that knows it, under the fingerprint that `job` gives."""
        (model,) = job(store, video).models
        store.delete_prefix("jobs/job")
        store.write(f"shards/{model.fingerprint}/0-3.parquet", b"x")
        return model.fingerprint
