"""`reelmill backfill` from a folder to results, with nothing set up before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import save_tiny_classifier
from tests.video_files import make_video


@pytest.fixture
def backfill(tmp_path: Path, prefect_cache: Path) -> Any:
    """Run the command in a folder with two clips, an empty file and a model."""
    (tmp_path / "clips").mkdir()
    for name in ("a.mp4", "b.mp4"):
        make_video(tmp_path / "clips" / name, frames=30 if name == "a.mp4" else 40)
    (tmp_path / "clips" / "empty.mp4").touch()
    save_tiny_classifier(tmp_path / "classifier")
    environment = {
        **os.environ,
        "REELMILL_STORE": str(tmp_path / "store"),
        "REELMILL_CACHE_DIR": str(prefect_cache),
        "REELMILL_TORCH_THREADS": "1",
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
    }

    def run(*arguments: str) -> tuple[str, str, int]:
        command = [sys.executable, "-m", "deployments.cli", "backfill", *arguments]
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
        return ended.stdout, ended.stderr, ended.returncode

    return run


def test_a_folder_in_one_command(backfill: Any) -> None:
    printed, complaint, status = backfill("clips", "--model", "classifier", "--fps", "5", "--json")
    assert status == 3, complaint
    told = json.loads(printed)
    assert told["counts"] == {"waiting": 0, "registered": 0, "running": 0, "done": 2, "failed": 1, "skipped": 0}
    done = [row for row in told["videos"] if row["state"] == "done"]
    assert all(Path(row["output_uri"], "predictions.json").is_file() for row in done)
    assert all(row["decode_cpu_s"] > 0 for row in done)
    (failed,) = (row for row in told["videos"] if row["state"] == "failed")
    assert "empty" in failed["reason"]
    assert "2 done, 1 failed" in complaint


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("clips", "--model", "nowhere/at/all", "--fps", "5"), "nowhere/at/all"),
        (("clips", "--model", "classifier", "--fps", "often"), "often"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(backfill: Any, arguments: tuple[str, ...], told: str) -> None:
    printed, complaint, status = backfill(*arguments)
    assert (printed, status) == ("", 2)
    assert told in complaint
    assert len(complaint.splitlines()) == 1
