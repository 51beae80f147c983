"""`reelmill frames` through its own door: which files it writes, with which pixels, and what it never does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from deployments.cli import run
from tests.video_files import make_no_video, make_video, read_all_frames, read_barcode, with_hole


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Two seconds at 30 frames a second, yellowish, stored on its side."""
    folder = tmp_path_factory.mktemp("video")
    return make_video(folder / "clip.mp4", rotation=90, stored=lambda shown: np.rot90(tinted(shown)), b_frames=2)


def tinted(pixels):
    return (pixels * [1, 0.9, 0.8]).astype(np.uint8)


def frames(capsys, *arguments, status=0):
    """Run the command; what it printed on stdout and on stderr."""
    assert run(["frames", *map(str, arguments)]) == status
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return printed.out, printed.err


def pixels_of(path):
    with Image.open(path) as picture:
        assert picture.mode == "RGB"
        return np.asarray(picture)


def test_files_hold_the_very_pixels_under_the_offsets_names(capsys, tmp_path, video):
    out, err = frames(capsys, video, "--fps", "7", "--out", tmp_path / "out")

    assert (out, err) == (f"{tmp_path / 'out'}\n", "14 frames\n")
    reference = read_all_frames(video)
    offsets = [i * 30 // 7 for i in range(14)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{offset:09}.png" for offset in offsets]
    for offset in offsets:
        pixels = pixels_of(tmp_path / "out" / f"{offset:09}.png")
        assert read_barcode(pixels) == offset
        assert np.array_equal(pixels, reference[offset])


def test_a_part_as_json(capsys, tmp_path, video):
    part = ("--start-s", "0.5", "--end-s", "0.61")
    said = json.loads(frames(capsys, video, "--fps", "all", *part, "--out", tmp_path, "--json")[0])

    assert said == {
        "frame_offset": [15, 16, 17, 18],
        "time_offset": [0.5, 0.5333, 0.5667, 0.6],
        "files": [str(tmp_path / f"{offset:09}.png") for offset in (15, 16, 17, 18)],
        "reasons": [None] * 4,
    }
    assert len(list(tmp_path.iterdir())) == 4


def test_the_folder_is_named_after_the_video(capsys, tmp_path, video, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert frames(capsys, video, "--fps", "1")[0] == "clip-frames\n"
    assert len(list((tmp_path / "clip-frames").iterdir())) == 2


def test_nothing_is_written_over_unless_it_is_wanted(capsys, tmp_path, video):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "000000000.png").write_text("old")

    assert "--force" in frames(capsys, video, "--fps", "1", "--out", tmp_path, status=2)[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000.png", "notes.txt"]
    assert (tmp_path / "000000000.png").read_text() == "old"

    frames(capsys, video, "--fps", "1", "--out", tmp_path, "--force")
    assert read_barcode(pixels_of(tmp_path / "000000000.png")) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_damaged_frames_have_no_file_and_a_reason(capsys, tmp_path):
    whole = make_video(tmp_path / "whole.mp4", frames=150, gop=30, width=320, height=192)
    video = with_hole(whole, tmp_path / "video.mp4", at=0.4, size_bytes=1500)
    out, err = frames(capsys, video, "--fps", "all", "--out", tmp_path / "out", "--json", status=3)

    said = json.loads(out)
    clean = read_all_frames(whole)
    files = [offset for offset, file in zip(said["frame_offset"], said["files"], strict=True) if file]
    assert 75 < len(files) < 150
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{offset:09}.png" for offset in files]
    assert all(np.array_equal(pixels_of(tmp_path / "out" / f"{n:09}.png"), clean[n]) for n in files)
    assert all((file is None) == bool(reason) for file, reason in zip(said["files"], said["reasons"], strict=True))
    assert err.startswith(f"{150 - len(files)} of 150 frames are missing: the frame depends on a damaged packet")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["0123456789abcdef0123456789abcdef", "--fps", "1"], "its frames are never handed out"),
        (["https://example.com/video.mp4", "--fps", "1"], "download https://example.com/video.mp4"),
        (["missing.mp4", "--fps", "1"], "there is no file missing.mp4"),
        (["VIDEO", "--fps", "0"], "infer_fps"),
        (["VIDEO", "--fps", "31"], "30 frames a second"),
        (["VIDEO", "--fps", "1", "--start-s", "-1"], "--start-s is -1.0"),
        (["VIDEO", "--fps", "1", "--start-s", "nan"], "--start-s is nan"),
        (["VIDEO", "--fps", "1", "--start-s", "1", "--end-s", "1"], "--end-s must be the later one"),
        (["VIDEO", "--fps", "1", "--start-s", "99"], "no sample lies"),
        (["VIDEO"], "--fps"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_leaves_no_folder(capsys, tmp_path, video, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    arguments = [str(video) if argument == "VIDEO" else argument for argument in arguments]

    err = frames(capsys, *arguments, "--out", "out", status=2)[1]
    assert err.startswith("reelmill: ")
    assert said in err
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_video_leaves_no_folder(capsys, tmp_path):
    video = make_no_video(tmp_path, "text")

    assert "is not a video" in frames(capsys, video, "--fps", "1", "--out", tmp_path / "out", status=2)[1]
    assert not (tmp_path / "out").exists()


def test_interrupted_it_leaves_whole_files_only(tmp_path):
    video = make_video(tmp_path / "long.mp4", frames=300, width=640, height=384, gop=60)
    command = [sys.executable, "-m", "deployments.cli", "frames", video, "--fps", "all", "--out", tmp_path / "out"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not list((tmp_path / "out").glob("*.png")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
        assert "Traceback" not in process.stderr.read()
    left = sorted((tmp_path / "out").iterdir())
    assert 0 < len(left) < 300
    assert all(path.suffix == ".png" and read_barcode(pixels_of(path)) == int(path.stem) for path in left)
