"""What a command or a model imports: what it needs. Each of them in a Python of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_models import save_tiny_detector
from tests.video_files import make_video

HEAVY = ("av", "boto3", "cv2", "numpy", "onnxruntime", "pandas", "prefect", "pyarrow", "torch", "transformers")
COMMANDS = ("infer", "probe", "register", "videos", "delete", "frames", "submit", "status", "result", "jobs", "compare")
REPORT = "import json, sys\nprint('imported', json.dumps([name for name in {names} if name in sys.modules]))"


def imported_by(program: str, *, cwd: Path | None = None) -> set[str]:
    """Which of the heavy modules a program has imported when it ends."""
    asked = f"{program}\n{REPORT.format(names=HEAVY)}"
    done = subprocess.run([sys.executable, "-c", asked], cwd=cwd, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1].removeprefix("imported ")))


def command(*arguments: str) -> str:
    """A program that runs command lines of `reelmill`, each to exit status 0."""
    return f"from deployments.cli import run\nassert run({list(arguments)!r}) == 0"


def test_help_imports_nothing_heavy() -> None:
    programs = [command("--help"), *(command(name, "--help") for name in (*COMMANDS, "models", "up"))]
    assert imported_by("\n".join(programs)) == set()


def test_commands_on_files_import_neither_prefect_nor_torch(tmp_path: Path) -> None:
    make_video(tmp_path / "clip.mp4", frames=5)
    programs = [command("probe", "clip.mp4"), command("frames", "clip.mp4", "--fps", "all", "--out", "frames")]
    assert imported_by("\n".join(programs), cwd=tmp_path) <= {"numpy"}


def test_commands_on_a_store_import_neither_prefect_nor_torch(tmp_path: Path) -> None:
    environment = f"import os\nos.environ['REELMILL_STORE'] = {str(tmp_path / 'store')!r}"
    make_video(tmp_path / "clip.mp4", frames=5)
    programs = [environment, command("register", "clip.mp4"), command("videos"), command("models", "--help")]
    assert imported_by("\n".join(programs), cwd=tmp_path) <= {"numpy", "pyarrow"}


@pytest.mark.parametrize("module", ["models.onnx_models", "models.onnx_segmenters", "models.gaze_chain"])
def test_what_runs_onnx_imports_nothing_of_transformers(module: str) -> None:
    assert not imported_by(f"import {module}") & {"transformers", "prefect", "pandas", "av"}


def test_the_runtime_of_a_transformers_model_brings_no_other(tmp_path: Path) -> None:
    save_tiny_detector(tmp_path)
    program = f"""
import gc, sys
from pathlib import Path
from models.runtime_imports import import_runtime
import_runtime(Path({str(tmp_path)!r}))
assert "transformers.models.rt_detr_v2.modeling_rt_detr_v2" in sys.modules
assert gc.isenabled()
assert gc.get_freeze_count()
"""
    imported = imported_by(program)
    assert {"torch", "transformers"} <= imported
    assert not imported & {"onnxruntime", "cv2", "prefect", "pandas", "pyarrow", "av", "boto3"}


def test_arrow_is_loaded_without_pandas_and_can_still_give_it_its_tables() -> None:
    program = """
import sys
from tasks.arrow_alone import load_arrow
load_arrow()
import numpy as np
import pyarrow as pa
import pyarrow.parquet
table = pa.table({"a": pa.array(np.arange(3)), "b": [1, None, 3]})
assert "pandas" not in sys.modules
assert table.to_pandas()["a"].tolist() == [0, 1, 2]
load_arrow()
import pandas as pd
assert pa.array(pd.Series([1, 2])).to_pylist() == [1, 2]
"""
    assert {"pandas", "pyarrow"} <= imported_by(program)
