"""`reelmill frames`: the frames that models would see, as PNG files."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli_errors import FAILED, INCOMPLETE
from deployments.cli_output import note, say, say_json
from models.errors import PermanentError

if TYPE_CHECKING:
    from deployments.frame_files import FrameFile
    from tasks.plans import Plan

_VIDEO_ID = re.compile(r"[0-9a-f]{32}")


class NoVideoFileError(PermanentError):
    """VIDEO is no file that frames can be read from."""


class BadPartError(PermanentError):
    """`--start-s` and `--end-s` enclose nothing."""


def add_commands(app: typer.Typer) -> None:
    """Add `frames`."""
    app.command()(frames)


def frames(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video file.")],
    *,
    fps: Annotated[str, typer.Option("--fps", metavar="F", help="Frames in a second: 5, 0.5, 1/3, or all.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the files go; ./NAME-frames if left out.")
    ] = None,
    start_s: Annotated[
        float | None, typer.Option("--start-s", metavar="S", help="Leave out samples before it.")
    ] = None,
    end_s: Annotated[
        float | None, typer.Option("--end-s", metavar="S", help="Leave out samples at or after it.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that isn't empty, over frames of the same name.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> int:
    """Write the frames that a rate gives as PNG files, pixel by pixel what models see, named by frame_offset.

    Exit status: 0 done, 1 failed, 2 a bad request, 3 done with frames missing.
    """
    from deployments.frame_files import make_folder, write_frames
    from deployments.job_bar import counting_bar
    from deployments.signals import signals_interrupt
    from models.request import parse_fps
    from tasks.decode_workers import DecodeWorkers
    from tasks.plans import make_plan
    from tasks.probing import probe

    rate = parse_fps(fps)
    check_part(start_s, end_s)
    path = video_file(video)
    folder = out or Path(f"{path.stem}-frames")
    with signals_interrupt(), DecodeWorkers() as workers:
        _, index = probe(path, workers=workers)
        plan = make_plan(index, infer_fps=rate, start_s=start_s, end_s=end_s)
        make_folder(folder, force=force)
        with counting_bar("writing", len(plan)) as wrote:
            files = write_frames(path, plan, folder, workers=workers, wrote=wrote)
    return report(plan, files, folder, as_json=as_json)


def check_part(start_s: float | None, end_s: float | None) -> None:
    """Raise `BadPartError` where no sample can lie in [start_s, end_s)."""
    start = start_s or 0.0
    if not (math.isfinite(start) and start >= 0):
        raise BadPartError(f"--start-s is {start_s}; give seconds from 0 on.")
    if end_s is not None and not (math.isfinite(end_s) and end_s > start):
        raise BadPartError(f"--end-s is {end_s} and --start-s is {start}; --end-s must be the later one.")


def video_file(video: str) -> Path:
    """VIDEO as a path. Raises `NoVideoFileError`, for the id of a registered video too: uploads are write-only."""
    path = Path(video).expanduser()
    if path.is_file():
        return path
    if video.startswith(("https://", "http://")):
        raise NoVideoFileError(f"frames are read from a file, not from a URL; download {video} and name the file.")
    if _VIDEO_ID.fullmatch(video):
        raise NoVideoFileError(
            f"{video} is no file; if it is a registered video, its frames are never handed out: name the file itself."
        )
    raise NoVideoFileError(f"there is no file {video}; check the path.")


def report(plan: Plan, files: Sequence[FrameFile], folder: Path, *, as_json: bool) -> int:
    """Say where the frames are and which are missing; the exit status."""
    if as_json:
        say_json(
            {
                "frame_offset": plan.frame_offset.tolist(),
                "time_offset": plan.time_offset.tolist(),
                "files": [file.path for file in files],
                "reasons": [file.reason for file in files],
            }
        )
    else:
        say(str(folder))
    reasons = Counter(file.reason for file in files if file.path is None)
    missing = reasons.total()
    if not missing:
        note(f"{len(files)} frame{'' if len(files) == 1 else 's'}")
        return 0
    said = "; ".join(f"{reason}{f' ({count})' if len(reasons) > 1 else ''}" for reason, count in reasons.most_common())
    note(f"{missing} of {len(files)} frames are missing: {said}.")
    return INCOMPLETE if missing < len(files) else FAILED
