"""Imports go one way: flows → tasks → models; deployments may import all of them, nothing imports deployments."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "models": {"models"},
    "tasks": {"models", "tasks"},
    "flows": {"models", "tasks", "flows"},
    "deployments": {"models", "tasks", "flows", "deployments"},
}
TOP_LEVEL = {"flows", "tasks", "models", "deployments", "tests"}


def imported_modules(path: Path) -> set[str]:
    """Every module that a file imports anywhere, functions and type checking included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_a_layer_imports_only_what_lies_below_it(layer: str) -> None:
    files = list((ROOT / layer).rglob("*.py"))
    assert len(files) > 1
    wrong = {
        (str(path.relative_to(ROOT)), module)
        for path in files
        for module in imported_modules(path)
        if (top := module.partition(".")[0]) in TOP_LEVEL and top not in MAY_IMPORT[layer]
    }
    assert not wrong


def test_boto3_is_imported_in_one_place() -> None:
    importers = {
        str(path.relative_to(ROOT))
        for layer in MAY_IMPORT
        for path in (ROOT / layer).rglob("*.py")
        if any(module.partition(".")[0] in {"boto3", "botocore", "s3transfer"} for module in imported_modules(path))
    }
    assert importers == {"tasks/store.py"}


def test_no_other_folder_stands_at_the_top() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    folders = {line.split("/")[0] for line in tracked.stdout.splitlines() if "/" in line}
    assert {folder for folder in folders if not folder.startswith(".")} == TOP_LEVEL


@pytest.mark.parametrize(
    "modules",
    [
        "flows.infer_video, flows.infer_segments, flows.register_upload, flows.cleanup_videos, tasks.job_steps",
        "deployments.cli",
    ],
)
def test_parents_and_the_command_import_neither_torch_nor_transformers(modules: str) -> None:
    program = f"import sys, {modules}\nprint(sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_imports_nothing_heavy_before_it_is_told_what_to_do() -> None:
    heavy = {"prefect", "boto3", "av", "pyarrow", "pandas", "cv2", "numpy"}
    program = f"import sys, deployments.cli\nprint(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_engine_runs_without_prefect() -> None:
    """From planning to publishing: what a benchmark on a bare GPU machine imports."""
    code = "import sys; sys.modules['prefect'] = None; import tests.engine_jobs, models.transformers_detector"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
