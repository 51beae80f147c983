"""`reelmill infer` from a file to a result: each exit status, what is written, and what is left of it all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction

import pyarrow.parquet as pq
import pytest

from tests.tiny_models import save_tiny_classifier, save_tiny_detector
from tests.video_files import make_video, with_hole


@pytest.fixture(scope="module")
def place(tmp_path_factory, prefect_cache):
    """A folder with videos and models, and the environment in which commands run there."""
    folder = tmp_path_factory.mktemp("infer")
    whole = make_video(folder / "clip.mp4", frames=100, rate=Fraction(25))
    with_hole(whole, folder / "hole.mp4", at=0.2, size_bytes=whole.stat().st_size // 10)
    save_tiny_detector(folder / "detector")
    save_tiny_classifier(folder / "classifier")
    weights = shutil.copytree(folder / "classifier", folder / "broken") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    (folder / "tmp").mkdir()
    environment = {
        **os.environ,
        "REELMILL_STORE": str(folder / "store"),
        "REELMILL_CACHE_DIR": str(prefect_cache),
        "REELMILL_TORCH_THREADS": "1",
        # A server that isn't there: the command must not ask it.
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "TMPDIR": str(folder / "tmp"),
    }
    return folder, environment


def start(place, *arguments):
    folder, environment = place
    return subprocess.Popen(
        [sys.executable, "-m", "deployments.cli", "infer", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(command):
    """What it printed on stdout and on stderr, and its exit status."""
    return (*command.communicate(timeout=200), command.returncode)


@pytest.fixture(scope="module")
def done(place):
    """Two commands at once; one of them is refused."""
    good = start(
        place, "clip.mp4", "--model", "classifier", "--model", "detector", "--fps", "5",
        "--param", "detector.confidence=0", "--param", "classifier.alias=seen", "--out", "both", "--json",
    )  # fmt: skip
    refused = start(place, "clip.mp4", "--model", "classifier", "--fps", "26", "--out", "none")
    return {"two models": ended(good), "too fast": ended(refused)}


def predictions(place, name):
    return json.loads((place[0] / name / "predictions.json").read_bytes())


def test_two_models_on_one_video(place, done):
    printed, complaint, status = done["two models"]
    assert (status, complaint) == (0, "")

    said = json.loads(printed)
    result = predictions(place, "both")

    assert said["exit_status"] == said["frames_failed"] == 0
    assert said["frames_total"] == 20
    assert said["files"] == [f"both/{name}" for name in ("predictions.json", "predictions.parquet", "job.json")]
    assert list(result) == ["frame_offset", "time_offset", "seen", "detector"]
    assert result["frame_offset"] == list(range(0, 100, 5))
    assert all(element["top"] for element in result["seen"])
    assert all(element["predictions"] for element in result["detector"])
    assert pq.read_table(place[0] / "both" / "predictions.parquet").num_rows == 40


def test_a_bad_request_is_one_sentence_and_writes_nothing(place, done):
    printed, complaint, status = done["too fast"]

    assert (printed, status) == ("", 2)
    assert len(complaint.splitlines()) == 1
    assert "26" in complaint
    assert not (place[0] / "none").exists()


def test_nothing_is_left_in_the_temporary_directory(place, done):
    assert list((place[0] / "tmp").glob("reelmill-*")) == []


def test_the_jobs_can_be_asked_for_afterwards(place, done):
    folder, environment = place
    said = json.loads(done["two models"][0])
    environment = {name: value for name, value in environment.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(folder / "prefect"), "REELMILL_SERVER_HOME": str(folder / "server")}

    def ask(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "deployments.cli", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    (job,) = json.loads(ask("jobs", "--json"))
    assert (job["job_id"], job["state_type"], job["labels"]["frames_done"]) == (said["job_id"], "COMPLETED", 20)
    assert ask("result", said["job_id"]).splitlines()[0] == f"{said['output_uri']}/predictions.json"


@pytest.mark.long
def test_a_model_that_cannot_be_loaded_fails_the_job_and_keeps_the_others_result(place):
    printed, complaint, status = ended(
        start(place, "clip.mp4", "--model", "classifier", "--model", "broken", "--fps", "5", "--out", "half")
    )

    assert status == 1
    assert len(complaint.splitlines()) == 1
    assert "broken" in complaint
    assert "half/predictions.json" in printed.splitlines()
    result = predictions(place, "half")
    assert result["broken"] == [None] * 20
    assert None not in result["classifier"]


@pytest.mark.long
def test_frames_that_are_lost_are_told_by_the_status(place):
    printed, complaint, status = ended(start(place, "hole.mp4", "--model", "classifier", "--fps", "5"))

    assert status == 3
    assert "frames are missing" in complaint
    assert "hole-predictions/job.json" in printed.splitlines()
    result = predictions(place, "hole-predictions")
    assert 0 < result["classifier"].count(None) < 20
