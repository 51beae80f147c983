"""What goes wrong around a backfill's GPU runs, and that what was done by then is not done again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import tasks.backfill_run
from tasks.backfill_dispatch import InlineDispatch, Pack
from tasks.backfill_table import Row, counts, read_table
from tasks.gpu_watch import Part, PrefectUnreachableError, RunCancelledError
from tasks.model_sources import import_folder
from tasks.run_shares import GroupAttempt
from tasks.store import Store, open_store
from tests.backfill_engine import CountingRuns, backfilled
from tests.tiny_models import save_tiny_classifier
from tests.video_files import Recipe, make_video

CLIPS = 4


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name in ("STORE", "CACHE_DIR"):
        monkeypatch.setenv(f"REELMILL_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("REELMILL_TORCH_THREADS", "1")
    monkeypatch.setattr(tasks.backfill_run, "_PAUSE_S", 0.1)
    store = open_store()
    import_folder(store, save_tiny_classifier(tmp_path / "tiny"), "tiny")
    return store


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("clips")
    for number in range(CLIPS):
        make_video(folder / f"{number}.mp4", Recipe(frames=20 + 2 * number))
    return {"source": str(folder), "models": [{"model_id": "tiny"}], "infer_fps": 5, "name": "troubled"}


def shards(store: Store) -> dict[str, object]:
    return {info.key: info.modified_at for info in store.list("shards/")}


class RefusesTwice(InlineDispatch):
    """As while Prefect's server is being restarted."""

    refused = 0

    def start(self, parts: Sequence[Part]) -> Pack:
        if self.refused < 2:
            self.refused += 1
            raise PrefectUnreachableError("Prefect's API did not answer.")
        return super().start(parts)


class CancelledByHand(InlineDispatch):
    """Somebody cancels the first GPU run from the pages."""

    def start(self, parts: Sequence[Part]) -> Pack:
        raise RunCancelledError("the GPU run was cancelled.")


def test_a_server_that_is_away_is_waited_for(store: Store, asked: dict[str, object]) -> None:
    runs = CountingRuns()
    rows = backfilled(store, asked, runs, dispatch_type=RefusesTwice)
    assert counts(rows)["done"] == CLIPS
    assert runs.jobs == [CLIPS]


def test_one_that_stays_away_ends_the_backfill_and_it_goes_on_later(
    store: Store, asked: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    class RefusesAlways(RefusesTwice):
        refused = -1000

    monkeypatch.setattr("tests.backfill_engine.SETTINGS.stall_timeout_s", 0.3)
    with pytest.raises(PrefectUnreachableError):
        backfilled(store, asked, CountingRuns(), dispatch_type=RefusesAlways)
    assert counts(read_table(store, "troubled"))["registered"] == CLIPS
    assert counts(backfilled(store, asked, CountingRuns()))["done"] == CLIPS


def test_a_cancelled_run_fails_its_videos_until_the_next_start(store: Store, asked: dict[str, object]) -> None:
    rows = backfilled(store, asked, CountingRuns(), dispatch_type=CancelledByHand)
    assert {(row.state, row.reason) for row in rows} == {("failed", "the GPU run was cancelled.")}
    assert not [info.key for info in store.list("jobs/") if info.key.endswith("lease.json")]
    assert counts(backfilled(store, asked, CountingRuns()))["done"] == CLIPS


def test_a_run_that_dies_is_started_again_for_what_is_missing(store: Store, asked: dict[str, object]) -> None:
    counted, died = CountingRuns(), []

    def dies_after_one(groups: Sequence[GroupAttempt]) -> bool:
        if died:
            return counted(groups)
        died.append(counted(groups[:1]))
        return False

    rows = backfilled(store, asked, dies_after_one)
    assert counts(rows)["done"] == CLIPS
    assert counted.jobs == [1, CLIPS - 1]


def test_stopped_in_the_middle_it_goes_on_and_does_nothing_twice(store: Store, asked: dict[str, object]) -> None:
    runs = CountingRuns()

    def stop_after_two(rows: list[Row]) -> None:
        if counts(rows)["done"] >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfilled(store, asked, runs, look=stop_after_two, pack_videos=1)
    before = shards(store)
    assert 2 <= len(before) <= CLIPS
    assert counts(backfilled(store, asked, runs, pack_videos=1))["done"] == CLIPS
    assert before.items() <= shards(store).items()
    assert runs.jobs == [1] * CLIPS
