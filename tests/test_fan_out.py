"""One long video over several GPU runs: every segment once in all, and the result of a single run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.request import InferenceParams
from tasks.job_spec import groups_by_pool
from tasks.resolved_models import ResolvedModel, StoreSource
from tasks.run_shares import GroupAttempt
from tasks.store import open_store
from tasks.videos import register_file
from tests.engine_jobs import prepared, published, run_group
from tests.smallworld import WEIGHTS
from tests.video_files import Recipe, make_video

MODELS = [{"model_id": str(WEIGHTS / "classifier")}]


def resolved(key: str, pool: str | None = None) -> ResolvedModel:
    return ResolvedModel(
        key=key,
        model_id=key,
        model_version="1",
        inference_type="classification",
        source=StoreSource(prefix="models/x", folder_hash="0"),
        weights_hash="0",
        params=InferenceParams(),
        precision="auto",
        pool=pool,
    )


@pytest.mark.parametrize(
    ("segments", "gpu_runs", "parts"),
    [
        (7, 1, [range(7)]),
        (7, 3, [range(2), range(2, 4), range(4, 7)]),
        (2, 8, [range(1), range(1, 2)]),
        (1, 2, [range(1)]),
    ],
)
def test_runs_share_the_segments_evenly(segments: int, gpu_runs: int, parts: list[range]) -> None:
    groups = groups_by_pool([resolved("a"), resolved("b", "other"), resolved("c")], segments, "gpu", gpu_runs)
    assert [group.number for group in groups] == list(range(2 * len(parts)))
    for pool, keys in (("gpu", ("a", "c")), ("other", ("b",))):
        of_pool = [group for group in groups if group.pool == pool]
        assert [group.segments for group in of_pool] == [tuple(part) for part in parts]
        assert {group.model_keys for group in of_pool} == {keys}


def test_three_runs_at_once_give_what_one_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("REELMILL_DECODE_SEGMENT_S", "0.8")
    monkeypatch.setenv("REELMILL_DETERMINISTIC", "true")
    path = make_video(tmp_path / "long.mp4", Recipe(frames=180, gop=12))
    found = []
    for name, gpu_runs in (("one", 1), ("three", 3)):
        monkeypatch.setenv("REELMILL_STORE", str(tmp_path / name))
        store = open_store(str(tmp_path / name))
        spec = prepared(store, register_file(store, path), MODELS, 10, gpu_runs=gpu_runs)
        assert len(spec.groups) == gpu_runs
        parts = [GroupAttempt(job_id=spec.job_id, group=group.number) for group in spec.groups]
        with ThreadPoolExecutor(gpu_runs) as runs:
            frames = [
                sum(
                    len(range(*share.plan.segments[segment]))
                    for share in run.shares
                    for segment in share.group.segments
                )
                for run in runs.map(run_group, parts)
            ]
        assert sum(frames) == spec.frames_total == 60
        found.append(published(store, spec))
    one, three = found
    assert [run["group"] for run in three.job["gpu_runs"]] == [0, 1, 2]
    assert three.predictions["frame_offset"] == one.predictions["frame_offset"]
    told = [[element["predictions"] for element in result.predictions["classifier"]] for result in found]
    assert told[0] == told[1]
