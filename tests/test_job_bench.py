"""The benchmark of jobs can be trusted: its arithmetic, its clocks, its videos, and that peers do the same work."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tasks.probing import probe
from tests.benchmarks import __main__ as bench
from tests.benchmarks.decode_files import FILES
from tests.benchmarks.job_files import SOURCE_S, clip_groups, clips, clips_as_one, long_job_video
from tests.benchmarks.job_found import agreement, overlap
from tests.benchmarks.job_models import bench_models
from tests.benchmarks.job_ratios import allowed_bytes, each_more, second_model, whole_to_larger, whole_to_sum
from tests.benchmarks.job_report import job_ratios, second_models
from tests.benchmarks.job_rounds import Measured, best_of, rounds, run_once
from tests.benchmarks.job_sections import powers
from tests.benchmarks.process_time import tree_cpu_s
from tests.smallworld import FIRST_VIDEO_SEED
from tests.smallworld.scenes import CROWD
from tests.smallworld.videos import write_video
from tests.video_files import Recipe, make_video

BURN = "import sys, time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\nsys.stdin.read()"
BURN_BELOW = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The source of all videos, small instead of 1080p."""
    recipe = Recipe(
        frames=SOURCE_S * 30, rate=Fraction(30), width=160, height=96, gop=30, b_frames=2, options={"sc_threshold": "0"}
    )
    folder = tmp_path / "files"
    folder.mkdir()
    make_video(FILES["h264-30"].path(folder, SOURCE_S), recipe)
    return folder


def test_jobs_are_held_against_the_right_parts() -> None:
    assert whole_to_sum(12, 4, [3, 3]) == pytest.approx(1.2)
    assert whole_to_larger(12, 4, [3, 5]) == pytest.approx(1.5)
    assert second_model(14, 10, 5) == pytest.approx(0.8)
    assert each_more(10, 1.0, 30, 2.0) == pytest.approx(0.05)
    assert allowed_bytes(1000, 100) == 2860


def test_the_ratios_of_a_table() -> None:
    """Set-up is left out of the one that says so; a job whose ceiling is missing has none."""
    medians: dict[str, Any] = {
        "decode": {"wall_s": 4.0},
        "forward a": {"wall_s": 4.0},
        "forward b": {"wall_s": 2.0},
        "job a": {"wall_s": 9.0, "setup_s": 1.0},
        "job a + b": {"wall_s": 12.0, "setup_s": 1.5},
        "job a + c": {"wall_s": 12.0, "setup_s": 1.5},
        "job b": {"why": "it failed"},
    }
    found = job_ratios(medians, ["a", "b"])
    assert set(found) == {"job a", "job a + b"}
    assert found["job a"]["to_sum"] == pytest.approx(9 / 8)
    assert found["job a"]["to_sum_without_setup"] == pytest.approx(1.0)
    assert found["job a + b"]["to_larger"] == pytest.approx(2.0)
    assert second_models(medians, ["a", "b"]) == {"job a + b": pytest.approx((10.5 - 8) / 2)}
    assert second_models(medians, ["a"]) == {}


def test_boxes_of_the_same_work_agree_and_others_do_not() -> None:
    ours = {0: [["a", 0.9, 0, 0, 100, 100]], 30: [["b", 0.8, 10, 10, 50, 50], ["b", 0.11, 0, 0, 5, 5]]}
    assert agreement(ours, ours, 0.1) == {"same_frames": True, "boxes": 2, "share": 1.0}
    moved = {**ours, 30: [["b", 0.8, 20, 10, 60, 50]]}
    assert agreement(ours, moved, 0.1)["share"] == 0.5
    named = {**ours, 0: [["b", 0.9, 0, 0, 100, 100]]}
    assert agreement(ours, named, 0.1)["share"] == 0.5
    assert not agreement(ours, {0: ours[0], 31: ours[30]}, 0.1)["same_frames"]
    assert overlap([0, 0, 10, 10], [5, 0, 15, 10]) == pytest.approx(1 / 3)
    assert overlap([0, 0, 10, 10], [10, 0, 20, 10]) == 0


def test_the_median_is_of_the_runs_that_have_the_figure() -> None:
    one = Measured({"work": "ray", "actors": 2, "threads": 1})
    one.runs = [{"wall_s": 3.0, "peak_bytes": 5}, {"wall_s": 1.0}, {"wall_s": 2.0, "found": {}}]
    assert one.medians() == {
        "wall_s": 2.0,
        "peak_bytes": 5,
        "times": 3,
        "why": "",
        "setting": "threads 1, actors 2",
    }
    assert "found" not in one.as_json()["runs"][2]
    assert powers(6) == [1, 2, 4, 6]
    assert powers(1) == [1]


def test_cpu_time_of_childrens_children_counts_while_they_live_and_after() -> None:
    before_s = tree_cpu_s(os.getpid())
    command = [sys.executable, "-c", BURN_BELOW]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alive_s = tree_cpu_s(os.getpid()) - before_s
        child.communicate()
    after_s = tree_cpu_s(os.getpid()) - before_s
    assert 0.5 <= alive_s <= after_s < 5


def test_the_long_video_is_the_source_again_and_again(files: Path) -> None:
    facts, index = probe(long_job_video(files, 150))
    assert facts.frame_count == 150 * 30
    assert facts.duration_s == pytest.approx(150)
    assert facts.constant_rate
    assert len(index.key_pts) == 150


def test_no_two_clips_are_the_same_and_one_video_holds_their_frames(files: Path) -> None:
    made = clips(files, 60)
    assert clip_groups(56) == clip_groups(0), "two clips of the same pictures"
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in made}) == 60
    assert [probe(path)[0].frame_count for path in (made[0], made[55], made[59])] == [150, 150, 150]
    assert probe(clips_as_one(files, 60))[0].frame_count == 60 * 150


def test_a_contestant_that_crashes_is_told_and_ends_nothing(files: Path) -> None:
    told: list[str] = []
    broken = {"work": "decode", "path": str(files / "none.mp4"), "fps": 1, "workers": 1}
    whole = {"work": "decode", "path": str(FILES["h264-30"].path(files, SOURCE_S)), "fps": 1, "workers": 1}
    measured = rounds({"broken": broken, "whole": whole}, 1, told.append)
    assert "none.mp4" in measured["broken"].medians()["why"]
    figures = measured["whole"].medians()
    assert figures["frames"] == SOURCE_S
    assert figures["cpu_s"] > 0
    assert figures["startup_s"] > 0.1
    assert figures["peak_bytes"] > 10_000_000
    assert len(told) == 2
    best, seen = best_of({"broken": broken, "whole": whole}, told.append)
    assert best is whole
    assert set(seen) == {"broken", "whole"}
    with pytest.raises(RuntimeError, match="none of these ran"):
        best_of({"broken": broken}, told.append)


PEERS = {
    "pipeline, read": {"work": "pipeline", "way": "read"},
    "pipeline, grab": {"work": "pipeline", "way": "grab"},
    "pipeline, seek": {"work": "pipeline", "way": "seek"},
    "ray, read": {"work": "ray", "way": "read", "actors": 1, "threads": 1, "cores": 2},
    "ray, seek": {"work": "ray", "way": "seek", "actors": 1, "threads": 1, "cores": 2},
}


@pytest.mark.long
def test_peers_find_what_a_job_finds(tmp_path: Path) -> None:
    model, video = bench_models(tmp_path)["detector"], tmp_path / "video.mp4"
    write_video(video, CROWD, FIRST_VIDEO_SEED, frames=150, rate=Fraction(30), gop=30)
    common = {"fps": 5, "end_s": 4, "device": "cpu"}
    job = {"videos": [str(video)], "requests": [[model.order]], "folder": str(tmp_path), "rehearse": False}
    ours = run_once({**common, **job, "work": "job", "look": "class"})
    assert ours.get("why") is None
    for name, peer in PEERS.items():
        if peer["work"] == "ray" and find_spec("ray") is None:
            continue
        found = tmp_path / f"{name}.json"
        theirs = run_once({**common, **peer, "path": str(video), "model": model.order, "found": str(found)})
        assert theirs.get("why") is None, name
        assert ours["frames"] == theirs["frames"] == 20
        told = agreement(
            _numbered(ours["found"]), _numbered(json.loads(found.read_bytes())), model.params["confidence"]
        )
        assert told["same_frames"], name
        assert told["boxes"] > 50
        assert told["share"] > 0.95, name


def _numbered(found: dict[str, Any]) -> dict[int, Any]:
    return {int(number): boxes for number, boxes in found.items()}


@pytest.mark.long
def test_the_smallest_benchmark_runs_through(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REELMILL_ASSETS", raising=False)
    out = tmp_path / "out"
    asked = f"--rates 1 --minutes 1 --samples 8 --clips 2 --growth-samples 16 --out {out} --cache {files}"
    bench.main([*asked.split(), "--repeats", "1", "--peer-repeats", "1", "--parts", "job", "clips", "growth"])
    bench.main([*asked.split(), "--report-only"])
    found = json.loads((out / "jobs.json").read_text())
    assert set(found) == {"ceilings", "clips", "growth"}
    for medians in (found["ceilings"]["rates"]["1"]["medians"], found["clips"]["medians"], found["growth"]["medians"]):
        assert not [figures["why"] for figures in medians.values() if figures["why"]]
    assert "÷ sum of ceilings" in (out / "jobs.txt").read_text()
    assert (out / "jobs.png").stat().st_size > 10_000
