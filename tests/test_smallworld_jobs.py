"""Fine-tuned models of our own in whole jobs, held against the truth of the small world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.probing import probe
from tests.engine_jobs import JobResult, run_job
from tests.smallworld import FIRST_VIDEO_SEED, WEIGHTS
from tests.smallworld.judging import Scores, judge
from tests.smallworld.scenes import CROWD, PAIR, SINGLE, Kind
from tests.smallworld.videos import write_video

LEAST = {
    "detection mAP50": 0.93,
    "instance mAP50": 0.85,
    "semantic mIoU": 0.9,
    "classification top-1": 0.97,
    "caption first of 20": 0.92,
}
SIX: list[dict[str, Any]] = [
    {"model_id": str(WEIGHTS / "detector")},
    {"model_id": str(WEIGHTS / "instance"), "inference_type": "instance-segmentation"},
    {"model_id": str(WEIGHTS / "semantic")},
    {"model_id": str(WEIGHTS / "classifier")},
    {"model_id": str(WEIGHTS / "clip"), "inference_type": "clip-embed-image"},
    {
        "model_id": str(WEIGHTS / "clip"),
        "inference_type": "clip-compare",
        "inference_params": {"prompts": {"round": "a red circle", "pointed": "a blue star"}, "zero_shot": True},
    },
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("REELMILL_STORE", str(tmp_path / "store"))
    return tmp_path


@pytest.fixture
def six(folder: Path) -> JobResult:
    video = write_video(folder / "crowd.mp4", CROWD, FIRST_VIDEO_SEED + 500, frames=30)
    return run_job(folder / "store", video.path, SIX, infer_fps=5)


def test_six_models_of_six_types_speak_of_the_same_frames(six: JobResult) -> None:
    predictions = six.predictions
    keys = [key for key in predictions if key not in ("frame_offset", "time_offset")]
    assert keys == ["detector", "instance", "semantic", "classifier", "clip", "clip-compare"]
    assert predictions["frame_offset"] == [0, 5, 10, 15, 20, 25]
    assert {len(one) for one in predictions.values()} == {6}
    assert not any(element is None for key in keys for element in predictions[key])
    assert six.job["state"] == "COMPLETED"


def test_the_parquet_has_a_row_for_each_frame_and_model(six: JobResult) -> None:
    rows = six.rows()
    keys = [key for key in six.predictions if key not in ("frame_offset", "time_offset")]
    assert {(row["frame_offset"], row["model"]) for row in rows} == {
        (frame, key) for frame in six.predictions["frame_offset"] for key in keys
    }
    assert len(rows) == 36
    assert all(row["status"] == "ok" for row in rows)
    by_place = {(row["model"], row["frame_offset"]): row for row in rows}
    for index, frame in enumerate(six.predictions["frame_offset"]):
        embedding = six.predictions["clip"][index]
        assert by_place["clip", frame]["embedding"] == embedding
        boxes = six.predictions["detector"][index]["predictions"]
        assert [box["x"] for box in by_place["detector", frame]["predictions"]] == [box["x"] for box in boxes]
        masks = six.predictions["semantic"][index]["predictions"]
        assert by_place["semantic", frame]["segmentation"]["segmentation_mask"] == masks["segmentation_mask"]


def test_one_model_that_fails_leaves_the_results_of_the_others(folder: Path) -> None:
    video = write_video(folder / "single.mp4", SINGLE, FIRST_VIDEO_SEED + 501, frames=10)
    broken = folder / "broken"
    broken.mkdir()
    for file in (WEIGHTS / "detector").iterdir():
        data = file.read_bytes()
        (broken / file.name).write_bytes(data[: len(data) // 2] if file.suffix == ".safetensors" else data)
    models = [{"model_id": str(WEIGHTS / "classifier")}, {"model_id": str(broken)}]

    result = run_job(folder / "store", video.path, models)

    assert result.job["state"] == "FAILED"
    assert result.job["models_failed"] == ["broken"]
    assert "cannot be loaded" in result.job["models"][1]["error"]
    assert all(element is not None for element in result.predictions["classifier"])
    assert result.predictions["broken"] == [None] * 10


VARIANTS: list[dict[str, Any]] = [{}, {"rotation": 90}, {"variable": True}]


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "videos", "frames", "every"), [(CROWD, 40, 21, 2), (SINGLE, 200, 6, 5), (PAIR, 200, 6, 5)]
)
def test_scores_hold_on_fresh_seeds_and_on_turned_and_uneven_copies(
    folder: Path, kind: Kind, videos: int, frames: int, every: int
) -> None:
    tables = []
    for variant in VARIANTS:
        scores = Scores()
        for seed in range(FIRST_VIDEO_SEED, FIRST_VIDEO_SEED + videos):
            judge(scores, folder, kind, seed, frames=frames, every=every, **variant)
        tables.append(scores.table())
        print(kind.name, variant, {name: round(value, 4) for name, value in tables[-1].items()})
    for name, value in tables[0].items():
        assert value >= LEAST[name]
        assert [table[name] for table in tables[1:]] == pytest.approx([value] * 2, abs=0.01)


def test_a_few_fresh_videos_are_seen_well(folder: Path) -> None:
    """The short form of the scores: three videos, floors a little lower than those of many."""
    scores = Scores()
    for seed in range(FIRST_VIDEO_SEED + 100, FIRST_VIDEO_SEED + 103):
        judge(scores, folder, CROWD, seed, frames=9, every=2)
    for seed in range(FIRST_VIDEO_SEED + 100, FIRST_VIDEO_SEED + 106):
        judge(scores, folder, SINGLE, seed, frames=2, every=2)
        judge(scores, folder, PAIR, seed, frames=2, every=2)
    table = scores.table()
    assert table.keys() == LEAST.keys()
    assert all(value >= LEAST[name] - 0.2 for name, value in table.items()), table


def test_turned_copies_are_read_as_they_are_shown(folder: Path) -> None:
    path = folder / "turned.mp4"
    write_video(path, CROWD, FIRST_VIDEO_SEED + 502, frames=3, rotation=90)
    facts, _ = probe(path)
    assert (facts.width, facts.height, facts.rotation) == (CROWD.width_px, CROWD.height_px, 90)
