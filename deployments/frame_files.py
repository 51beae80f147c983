"""The frames of a plan as PNG files, each pixel as models see it. Knows nothing of commands and their words."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import PermanentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tasks.decode_workers import DecodeWorkers
    from tasks.plans import Plan

_DIGITS = 9
"""Of a name, whatever the length of the video: names sort, and the same frame has the same name in every folder."""
_MOST_THREADS = 4
_COMPRESSION = 1
"""Of 9: files are a sixth larger than at the usual 6, and are written in half the time."""


class FolderNotEmptyError(PermanentError):
    """Files that are there might be overwritten, or be taken for frames."""


@dataclass(frozen=True)
class FrameFile:
    """Where a sample's frame lies, or why it lies nowhere."""

    path: Path | None
    reason: str | None = None


def frame_path(folder: Path, frame_offset: int) -> Path:
    """`folder/000000123.png` for the frame at 123."""
    return folder / f"{frame_offset:0{_DIGITS}}.png"


def make_folder(folder: Path, *, force: bool = False) -> None:
    """Make a folder for frames. Raises `FolderNotEmptyError` where something lies in it, unless `force`."""
    folder.mkdir(parents=True, exist_ok=True)
    if not force and next(folder.iterdir(), None) is not None:
        raise FolderNotEmptyError(
            f"the folder {folder} is not empty; name another one with --out, or say --force to write into it "
            "and over frames of the same name."
        )


def write_frames(
    video: Path, plan: Plan, folder: Path, *, workers: DecodeWorkers, wrote: Callable[[], None]
) -> Sequence[FrameFile]:
    """Write every frame of `plan` into `folder`; `wrote` is called once for each sample, in any order.

    Returns a `FrameFile` for each sample; a file is there whole or not at all. Raises `OSError`, and as `extract` does.
    """
    from tasks.decoding import ExtractedFrame, extract

    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    files = [FrameFile(frame_path(folder, int(offset))) for offset in plan.frame_offset]
    writing: deque[Future[None]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in extract(video, plan, range(len(plan.segments)), workers=workers):
            if not isinstance(item, ExtractedFrame):
                continue
            if item.pixels is None:
                files[item.sample] = FrameFile(None, item.reason)
                wrote()
                continue
            while len(writing) > threads:
                writing.popleft().result()
                wrote()
            writing.append(pool.submit(write_png, frame_path(folder, int(plan.frame_offset[item.sample])), item.pixels))
        for written in writing:
            written.result()
            wrote()
    return files


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write `(h, w, 3)` RGB; what is written stands under another name until it is whole."""
    from PIL import Image

    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        Image.fromarray(pixels).save(unfinished, "PNG", compress_level=_COMPRESSION)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
