"""The command through its own door: what it prints, where, and its exit status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from fractions import Fraction

import pytest

from deployments.cli import run
from tests.video_files import make_audio_only, make_no_video, make_video, truncated


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    """A store, a cache and a server home of the test's own, and no Prefect server."""
    monkeypatch.setenv("REELMILL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("REELMILL_SERVER_HOME", str(tmp_path / "server"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("REELMILL_DEBUG", raising=False)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Two seconds at 25 frames a second."""
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4", frames=50, rate=Fraction(25))


def answer(capsys, *arguments, status=0):
    """What a command printed on stdout, having ended with `status` and, where that is 0, without a complaint."""
    got = run([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert got == status, printed.err
    return printed.out


def complaint(capsys, *arguments, status=2):
    """The one sentence on stderr of a command that ends with `status`."""
    got = run([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert got == status, printed
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("reelmill: ")
    assert "Traceback" not in printed.err
    return lines[0].removeprefix("reelmill: ")


def in_a_process(*arguments, home):
    """The command as a process of its own, which knows no Prefect server that this test run may have."""
    return subprocess.run(
        [sys.executable, "-m", "deployments.cli", *map(str, arguments)],
        env={**os.environ, "PREFECT_HOME": str(home / "prefect")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_probe_says_how_many_frames_are_missing(capsys, tmp_path):
    whole = make_video(tmp_path / "whole.mp4", frames=90, container_options={"movflags": "faststart"})
    cut = truncated(whole, tmp_path / "cut.mp4", 0.6)
    known = json.loads(answer(capsys, "probe", cut, "--json"))
    assert known["frame_count"] + known["frames_missing"] == 90
    assert 20 < known["frames_missing"] < 60
    assert f"; {known['frames_missing']} missing: the file is damaged or cut off" in answer(capsys, "probe", cut)
    assert "missing" not in answer(capsys, "probe", whole)


def test_help_comes_within_a_second():
    start_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "deployments.cli", "--help"], capture_output=True, text=True, check=True, timeout=30
    )
    elapsed_s = time.monotonic() - start_s

    for one in ("infer", "probe", "frames", "register", "submit", "status", "result", "models", "videos", "jobs", "up"):
        assert re.search(rf"\b{one}\b", done.stdout)
    assert elapsed_s < 1.0 or os.getloadavg()[0] > 2.0


def test_probe_shows_facts_and_samples(capsys, video):
    shown = answer(capsys, "probe", video, "--fps", "2")

    assert "25 frames/s, constant" in shown
    assert "frame_offset  0, 12, 25, 37" in shown
    assert "time_offset   0.0, 0.48, 1.0, 1.48" in shown


def test_probe_prints_json_with_every_sample(capsys, video):
    said = json.loads(answer(capsys, "probe", video, "--fps", "all", "--json"))

    assert said["frame_offset"] == list(range(50))
    assert len(said["time_offset"]) == 50
    assert (said["rate"], said["frame_count"], said["codec"]) == ("25", 50, "h264")


def test_probe_says_which_libraries_decode(capsys):
    said = json.loads(answer(capsys, "probe", "--versions", "--json"))

    assert said["PyAV"]
    assert said["libavcodec"].count(".") == 2


def test_a_rate_above_the_videos_names_both(capsys, video):
    assert re.search(r"\b25\b.*\b26\b", complaint(capsys, "probe", video, "--fps", "26"))


@pytest.mark.parametrize("fps", ["0", "-1", "nan", "inf", "fast", "1/0", ""])
def test_rates_that_are_none_are_refused(capsys, video, fps):
    assert "infer_fps" in complaint(capsys, "probe", video, f"--fps={fps}")
    assert "infer_fps" in complaint(capsys, "infer", video, "--model", "any", f"--fps={fps}")


@pytest.mark.parametrize("kind", ["text", "zip", "playlist", "picture", "sound", "empty"])
def test_files_that_are_no_video_are_refused(capsys, tmp_path, kind):
    assert complaint(capsys, "register", make_no_video(tmp_path, kind))


def test_damaged_and_missing_files_are_refused(capsys, tmp_path, video):
    assert complaint(capsys, "register", truncated(video, tmp_path / "cut.mp4", 0.3))
    assert complaint(capsys, "register", make_audio_only(tmp_path / "audio.mp4"))
    assert "no file" in complaint(capsys, "register", tmp_path / "missing.mp4")
    assert "no file" in complaint(capsys, "probe", tmp_path / "missing.mp4").lower()
    assert "no file" in complaint(capsys, "infer", tmp_path / "missing.mp4", "--model", "any", "--fps", "1")


def test_an_extension_that_is_not_taken_is_refused(capsys, tmp_path, video):
    other = tmp_path / "clip.ts"
    other.write_bytes(video.read_bytes())

    assert "mp4" in complaint(capsys, "register", other)


def test_videos_are_registered_listed_and_deleted(capsys, video):
    video_id = answer(capsys, "register", video).strip()
    assert re.fullmatch("[0-9a-f]{32}", video_id)
    assert answer(capsys, "register", video).strip() == video_id

    listed = json.loads(answer(capsys, "videos", "--json"))
    assert [item["video_id"] for item in listed] == [video_id]
    table = answer(capsys, "videos")
    assert video_id in table
    assert "clip.mp4" in table

    assert video_id in answer(capsys, "delete", video_id, "--yes")
    assert json.loads(answer(capsys, "videos", "--json")) == []
    assert video_id in complaint(capsys, "delete", video_id, "--yes")


def test_copies_of_videos_that_are_gone_are_swept(capsys, tmp_path):
    copy = tmp_path / "cache" / "videos" / ("0" * 32)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"x")
    assert answer(capsys, "sweep-cache") == "removed 1 copies\n"
    assert not copy.exists()
    assert answer(capsys, "sweep-cache") == "removed 0 copies\n"


def test_delete_asks_and_does_nothing_where_nobody_can_be_asked(capsys, video, monkeypatch):
    video_id = answer(capsys, "register", video).strip()
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115, PTH123

    assert "--yes" in complaint(capsys, "delete", video_id)
    assert video_id in answer(capsys, "videos")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fps", "1"], "--model"),
        (["--model", "a"], "--fps"),
        (["--model", "a:detection", "--fps", "1"], "take one of: object-detection"),
        (["--model", "/no/such/folder", "--fps", "1"], "no folder /no/such/folder"),
        (["--model", "a", "--fps", "1", "--param", "a.confidence=1.5"], "confidence"),
        (["--model", "a", "--fps", "1", "--param", "a.confidence=high"], "confidence"),
        (["--model", "a", "--fps", "1", "--param", "b.confidence=0.5"], "names no --model"),
        (["--model", "a", "--fps", "1", "--nonsense"], "--nonsense"),
    ],
)
@pytest.mark.parametrize("command", ["infer", "submit"])
def test_words_that_cannot_be_meant_are_refused_before_anything_starts(capsys, video, command, arguments, said):
    assert said in complaint(capsys, command, video, *arguments)


def test_without_a_server_submit_says_how_to_get_one(tmp_path, video):
    done = in_a_process("submit", video, "--model", "a", "--fps", "1", home=tmp_path)

    assert done.returncode == 2
    assert done.stderr.startswith("reelmill: no Prefect server is known here; start one with `reelmill up`")


def test_without_a_server_jobs_come_from_the_store(tmp_path):
    assert json.loads(in_a_process("jobs", "--json", home=tmp_path).stdout) == []
    for command in ("status", "result"):
        done = in_a_process(command, "0" * 32, home=tmp_path)
        assert done.returncode == 2
        assert "no job" in done.stderr


def test_a_server_that_does_not_answer_is_named(capsys, video, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")

    assert "127.0.0.1:9" in complaint(capsys, "jobs", status=1)
    assert "127.0.0.1:9" in complaint(capsys, "submit", video, "--model", "a", "--fps", "1", status=1)


def test_results_are_compared(capsys, tmp_path):
    element = {"image": {"width": 4, "height": 4}, "predictions": [{"class": "a", "class_id": 0, "confidence": 0.5}]}
    result = {"frame_offset": [0], "time_offset": [0.0], "m": [element | {"top": "a", "confidence": 0.5}]}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "predictions.json").write_text(json.dumps(result))

    assert "frame_offset: equal" in answer(capsys, "compare", tmp_path / "a", tmp_path / "b")
    assert json.loads(answer(capsys, "compare", tmp_path / "a", tmp_path / "b", "--json"))["frames_common"] == 1
    assert complaint(capsys, "compare", tmp_path / "a", tmp_path / "c")


def test_a_store_without_its_bucket_is_one_sentence(capsys, video, s3_environment, monkeypatch):
    monkeypatch.setenv("REELMILL_STORE", "s3://no-such-bucket-here")

    assert "no-such-bucket-here" in complaint(capsys, "register", video)


def test_debug_shows_where_an_error_came_from(tmp_path):
    done = in_a_process("--debug", "register", tmp_path / "none.mp4", home=tmp_path)

    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "FileMissingError" in done.stderr
