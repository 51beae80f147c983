"""Which parts share a GPU run, and which run may work on a backfill."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest

from models.backfill_request import BackfillRequest
from tasks.backfill_owner import BackfillRunningError, OtherRequestError, claim, frozen_request, name_of
from tasks.backfill_packs import packed, samples_of
from tasks.gpu_watch import Part
from tasks.leases import LeaseKeeper, write_lease
from tasks.model_sources import import_folder, resolve_models
from tasks.plans import plan_from_bytes
from tasks.store import Store, open_store
from tasks.videos import register_file
from tests.engine_jobs import prepared
from tests.tiny_models import save_tiny_classifier
from tests.video_files import Recipe, make_video

TINY = {"model_id": "tiny"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))
    store = open_store(str(tmp_path / "store"))
    import_folder(store, save_tiny_classifier(tmp_path / "tiny"), "tiny")
    return store


def part(store: Store, tmp_path: Path, seconds: int, *models: dict[str, object]) -> Part:
    path = make_video(tmp_path / f"{seconds}.mp4", Recipe(frames=10 * seconds, rate=Fraction(10)))
    spec = prepared(store, register_file(store, path), models or [TINY], "all")
    return Part(spec, spec.groups[0], plan_from_bytes(store.read(spec.plan_key)))


def test_short_ones_go_together_and_long_ones_alone(store: Store, tmp_path: Path) -> None:
    short = [part(store, tmp_path, seconds) for seconds in (1, 2, 3, 4)]
    assert [samples_of(one) for one in short] == [10, 20, 30, 40]
    long = part(store, tmp_path, 9)
    full, rest = packed([*short[:2], long, *short[2:]], most_samples=60, most_parts=10)
    assert full == [[long], short[:3]]
    assert rest == short[3:]
    assert packed(rest, most_samples=60, most_parts=10, flush=True) == ([rest], [])
    assert packed(short, most_samples=1000, most_parts=2) == ([short[:2], short[2:]], [])
    assert packed([], most_samples=60, most_parts=10, flush=True) == ([], [])


def test_only_parts_of_one_pool_and_one_set_of_networks_go_together(store: Store, tmp_path: Path) -> None:
    usual = part(store, tmp_path, 1)
    renamed = part(store, tmp_path, 2, TINY | {"alias": "other"})
    elsewhere = part(store, tmp_path, 3, TINY | {"pool": "gpu-b"})
    otherwise = part(store, tmp_path, 4, TINY | {"inference_params": {"top_k": 2}})
    full, _ = packed([usual, renamed, elsewhere, otherwise], most_samples=1000, most_parts=9, flush=True)
    assert full == [[usual, renamed], [elsewhere], [otherwise]]


def test_a_name_stands_for_one_request_with_its_models_as_they_were(store: Store) -> None:
    request = BackfillRequest(source="/clips", models=[TINY], name="nightly")

    def resolve() -> list:
        return resolve_models(store, request.models)

    models = frozen_request(store, "nightly", request, resolve)
    assert frozen_request(store, "nightly", request.model_copy(update={"in_flight": 9}), list) == models
    with pytest.raises(OtherRequestError, match="another name"):
        frozen_request(store, "nightly", request.model_copy(update={"infer_fps": 3.0}), resolve)


def test_a_name_is_made_of_source_and_request() -> None:
    request = BackfillRequest(source="/clips", models=[TINY])
    assert name_of(request) == name_of(request.model_copy(update={"in_flight": 9, "again": "all"}))
    assert name_of(request) != name_of(request.model_copy(update={"infer_fps": 3.0}))
    assert name_of(request) != name_of(request.model_copy(update={"source": "/other"}))


def test_one_run_works_on_a_backfill_and_a_dead_one_is_followed(store: Store) -> None:
    assert claim(store, "nightly", "first", lease_s=0.5) is None
    assert claim(store, "nightly", "first", lease_s=0.5) is None, "started again under its own id"
    with LeaseKeeper(store, "first", 0.5), pytest.raises(BackfillRunningError, match="first"):
        claim(store, "nightly", "second", lease_s=0.5)
    write_lease(store, "first", None, 0.5)
    began_s = time.monotonic()
    assert claim(store, "nightly", "second", lease_s=0.5) == "first"
    assert 0.3 < time.monotonic() - began_s < 5


def test_of_many_claims_at_once_one_gets_through(store: Store) -> None:
    told: list[object] = []

    def take(run_id: str) -> None:
        with LeaseKeeper(store, run_id, 1.0):
            try:
                told.append(claim(store, "nightly", run_id, lease_s=1.0))
                time.sleep(2.5)
            except BackfillRunningError as error:
                told.append(error)

    threads = [threading.Thread(target=take, args=(f"run-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.count(None) == 1
    assert sum(isinstance(one, BackfillRunningError) for one in told) == 3
