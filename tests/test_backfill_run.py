"""The loop of a backfill on real files: what is packed together, what fails by itself, what is not done twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.backfill_table import counts
from tasks.model_sources import import_folder
from tasks.store import Store, open_store
from tests.backfill_engine import CountingRuns, backfilled
from tests.poison_videos import save_poison
from tests.tiny_models import save_tiny_classifier
from tests.video_files import Recipe, make_video

GOOD = 5


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five good clips, one of them twice, in two folders; poison; and what is no video at all."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "more").mkdir()
    for number in range(GOOD):
        place = folder / "more" if number % 2 else folder
        make_video(place / f"clip-{number}.mp4", Recipe(frames=20 + 2 * number))
    (folder / "copy.mp4").write_bytes((folder / "clip-0.mp4").read_bytes())
    save_poison(folder)
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.mp4").write_text("no video")
    return folder


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name in ("STORE", "CACHE_DIR"):
        monkeypatch.setenv(f"REELMILL_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("REELMILL_TORCH_THREADS", "1")
    store = open_store()
    import_folder(store, save_tiny_classifier(tmp_path / "tiny"), "tiny")
    return store


def asked(source: Path, **fields: object) -> dict[str, object]:
    return {"source": str(source), "models": [{"model_id": "tiny"}], "infer_fps": 5, **fields}


def shards(store: Store) -> dict[str, object]:
    return {info.key: info.modified_at for info in store.list("shards/")}


def test_good_clips_share_a_run_and_poison_fails_alone(store: Store, clips: Path) -> None:
    runs = CountingRuns()
    rows = backfilled(store, asked(clips), runs)
    state = {Path(row.source).name: row for row in rows}
    assert runs.jobs == [GOOD]
    assert counts(rows) | {"skipped": 0, "done": 0} == counts([]) | {"failed": len(rows) - GOOD - 1}
    assert sum(row.state == "done" for row in rows) == GOOD
    pair = {state["copy.mp4"].state, state["clip-0.mp4"].state}
    assert pair == {"done", "skipped"}, "the same bytes are one piece of work"
    assert all(row.reason for row in rows if row.state != "done")
    assert not {"notes.txt", ".hidden.mp4"} & set(state)
    for row in rows:
        if row.state == "done":
            job = json.loads(Path(row.output_uri, "job.json").read_bytes())
            assert (job["job_id"], job["frames_total"]) == (row.job_id, row.frames_total)
            assert row.attempts == 1
    assert not [info.key for info in store.list("jobs/") if info.key.endswith("lease.json")]

    before = shards(store)
    again = backfilled(store, asked(clips), runs)
    assert counts(again) == counts(rows)
    assert shards(store) == before
    assert runs.jobs == [GOOD]


def test_only_what_is_new_is_done_and_a_lost_table_is_found_again(store: Store, clips: Path, tmp_path: Path) -> None:
    runs, folder = CountingRuns(), tmp_path / "growing"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.mp4").write_bytes((clips / "more" / f"clip-{2 * number + 1}.mp4").read_bytes())
    backfilled(store, asked(folder, name="growing"), runs)
    (folder / "new.mp4").write_bytes((clips / "clip-2.mp4").read_bytes())
    before = shards(store)
    rows = backfilled(store, asked(folder, name="growing"), runs)
    assert runs.jobs == [2, 1]
    assert before.items() <= shards(store).items()
    assert counts(rows)["done"] == 3

    store.delete(["backfills/growing/videos.parquet"])
    assert counts(backfilled(store, asked(folder, name="growing"), runs))["done"] == 3
    other = backfilled(store, asked(folder, name="other"), runs)
    assert counts(other)["skipped"] == 3
    assert {row.output_uri for row in other} == {row.output_uri for row in rows}
    assert runs.jobs == [2, 1]


def test_rows_of_a_list_say_otherwise_and_long_videos_go_alone(store: Store, clips: Path, tmp_path: Path) -> None:
    runs = CountingRuns()
    rows = [
        {"path": "clip-0.mp4"},
        {"path": "clip-2.mp4", "infer_fps": "all"},
        {"path": "more/clip-1.mp4", "end_s": 0.4},
        {"path": "clip-4.mp4", "infer_fps": "often"},
        {"path": "clip-4.mp4", "models": [{"model_id": "nobody/knows"}]},
        {"path": "not-there.mp4"},
    ]
    manifest = clips / "list.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    found = backfilled(store, asked(manifest), runs, pack_samples=20)
    assert [row.state for row in found[:3]] == ["done"] * 3
    assert [row.frames_total for row in found[:3]] == [4, 24, 2]
    assert sorted(runs.jobs) == [1, 2]
    reasons = [row.reason for row in found[3:]]
    assert [row.state for row in found[3:]] == ["failed"] * 3
    assert "infer_fps" in reasons[0]
    assert "nobody/knows" in reasons[1]
    assert "no file" in reasons[2]
