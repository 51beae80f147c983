"""Backfills on a real server with real workers: killed in the middle, they go on, and nothing is done twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.backfill_table import counts
from tests.backfill_clips import save_clips
from tests.backfill_served import MODEL, Played, backfill_setup, play
from tests.poison_videos import save_poison
from tests.postgres_server import postgres_server
from tests.requirements import assets, needs
from tests.video_files import Recipe, make_video

pytestmark = pytest.mark.served


def check(played: Played, good: int) -> None:
    """All good clips have their results, all others a reason, and the run says so."""
    assert played.run["state"]["type"] == "COMPLETED", played.run["state"]
    found = counts(played.rows)
    assert (found["done"], found["failed"]) == (good, 10)
    labels = played.run["labels"]
    assert [labels[f"videos_{name}"] for name in ("total", "done", "failed")] == [good + 10, good, 10]
    for row in played.rows:
        if row.state == "failed":
            assert row.reason
            continue
        lists = json.loads(Path(row.output_uri, "predictions.json").read_bytes())
        assert len(lists[MODEL]) == row.frames_total > 0
        assert None not in lists[MODEL]
        assert row.frames_failed == 0


@pytest.mark.long
def test_a_folder_becomes_a_table_of_results(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(4):
        make_video(clips / f"{number}.mp4", Recipe(frames=20 + number))
    save_poison(clips)
    fields = {"source": str(clips), "models": [{"model_id": MODEL}], "infer_fps": 5, "name": "small"}
    with backfill_setup(tmp_path, clips, database_url=None) as setup:
        played = play(setup, tmp_path, fields, kill_at=None, within_s=120)
    check(played, 4)
    assert played.shards.written_twice == []
    assert sum(played.gpu_runs.values()) == 1


@pytest.mark.long
@pytest.mark.timeout(1800)
@needs("assets", "postgres")
def test_300_clips_with_both_workers_killed_in_the_middle(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    videos = assets() / "videos"
    save_clips(clips, [videos / "bikes.mp4", videos / "carphone_pristine.mp4"], 290)
    save_poison(clips)
    fields = {"source": str(clips), "models": [{"model_id": MODEL}], "infer_fps": 2, "name": "weekend"}
    with (
        postgres_server() as database,
        backfill_setup(tmp_path, clips, database_url=database.url, REELMILL_JOB_LEASE_S="20") as setup,
    ):
        played = play(setup, tmp_path, fields, kill_at=100, within_s=1500)
    check(played, 290)
    assert played.run_count == 2
    assert played.shards.written_twice == []
    assert len(played.shards.times) == 290
