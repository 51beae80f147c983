"""The ffmpeg command as a reader: raw frames through a pipe, its own start on the clock."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np

from tests.benchmarks.decode_sampling import Mode, Pixels, Sampling

_PIPE_BYTES = 2**20
_RAW_RGB = ("-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1")


def ffmpeg_modes() -> dict[str, Mode]:
    """One run that selects by number, or a run for each sample that starts near it. `ImportError` without ffmpeg."""
    if shutil.which("ffmpeg") is None:
        raise ImportError("there is no ffmpeg command")
    return {"select": _selecting, "-ss": _seeking}


def _selecting(wanted: Sampling) -> Iterator[Pixels]:
    step = wanted.numbers.step
    chosen = () if step == 1 else ("-vf", f"select=not(mod(n\\,{step}))")
    yield from _raw_frames(("-i", str(wanted.path), *chosen, "-frames:v", str(len(wanted.numbers))), wanted)


def _seeking(wanted: Sampling) -> Iterator[Pixels]:
    for number in wanted.numbers:
        # Half a frame early, so that rounded times don't hide the frame.
        start_s = max(0.0, (number - 0.5) / wanted.fps)
        yield from _raw_frames(("-ss", f"{start_s:.6f}", "-i", str(wanted.path), "-frames:v", "1"), wanted)


def _raw_frames(arguments: tuple[str, ...], wanted: Sampling) -> Iterator[Pixels]:
    """Frames of one run, in one buffer. Raises `CalledProcessError`."""
    quiet = ("ffmpeg", "-v", "error", "-nostdin", "-filter_threads", "1", "-threads", "1")
    frame = np.empty((wanted.height, wanted.width, 3), np.uint8)
    flat = memoryview(frame).cast("B")
    with subprocess.Popen([*quiet, *arguments, *_RAW_RGB], stdout=subprocess.PIPE, bufsize=0) as process:
        pipe = process.stdout
        assert pipe is not None
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        filled = 0
        while got := pipe.readinto(flat[filled:]):  # type: ignore[attr-defined]
            filled += got
            if filled == len(flat):
                yield frame
                filled = 0
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
