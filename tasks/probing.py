"""A video's facts and the index of its frames, from a decode worker that may crash without harm.

The parent's side: nothing here decodes, and av is never imported in this process.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tasks.decode_process import DecodeWorker, DecodeWorkerError
from tasks.decode_protocol import ChannelClosedError, map_memory
from tasks.decode_workers import DecodeWorkers
from tasks.sampling import VideoIndex, duration, find_rate
from tasks.settings import DecodeSettings
from tasks.video_facts import VideoFacts
from tasks.video_refusals import VideoUnreadableError, refusal_of

ATTEMPTS = 2
"""Workers that may fail at an order before it is given up."""


def probe(
    path: Path, settings: DecodeSettings | None = None, *, workers: DecodeWorkers | None = None
) -> tuple[VideoFacts, VideoIndex]:
    """Read a video's facts and the index of its frames, in a worker: one of `workers`, or one that ends with this call.

    Raises `VideoUnreadableError` or one of its kinds for what is no video that we take, `VideoChangedError` where the
    file is written to meanwhile, and `DecodeWorkerError` where two workers in a row did not survive the file.
    """
    if workers is None:
        with DecodeWorkers(settings) as own_workers:
            return probe(path, settings, workers=own_workers)
    settings = settings or workers.settings
    path = existing_file(path)
    file = workers.opened(path, afresh=True)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with workers.lent(file) as worker:
                found = read_index(worker, path, settings)
                file.check()
                return found
        except DecodeWorkerError as error:
            if attempt == ATTEMPTS:
                raise DecodeWorkerError(
                    f"{path.name} could not be read: {error}; try again, or convert the file."
                ) from error
    raise AssertionError("unreachable")


def existing_file(path: Path) -> Path:
    """The absolute path of an ordinary file. Raises `VideoUnreadableError` where there is none."""
    path = path.expanduser().absolute()
    if not path.is_file():
        raise VideoUnreadableError(f"there is no file {path}; check the path.")
    return path


def order_for(what: str, path: Path, settings: DecodeSettings) -> dict[str, Any]:
    """An order to a decode worker about a file, with the limits that it has to keep."""
    return {"do": what, "path": str(path), "max_pixels": settings.max_pixels, "threads": 1}


def read_index(worker: DecodeWorker, path: Path, settings: DecodeSettings) -> tuple[VideoFacts, VideoIndex]:
    """Ask a worker for facts and index. Raises `VideoUnreadableError` or one of its kinds, and `DecodeWorkerError`."""
    worker.ask(order_for("index", path, settings))
    message, fd = worker.answer()
    if message["say"] == "refused":
        raise refusal_of(path, message)
    if fd is None:
        raise DecodeWorkerError(f"the decode worker said {message['say']!r} where an index was due")
    frames, keys = message["frames"], message["keys"]
    try:
        memory = map_memory(fd, 9 * frames + 8 * keys)
    except ChannelClosedError as error:
        raise DecodeWorkerError(str(error)) from error
    facts = message["facts"]
    average_rate = Fraction(facts.pop("average_rate")) if facts["average_rate"] else None
    counted = facts["counted_by"] == "decoding"
    time_base = Fraction(facts.pop("time_base"))
    index = VideoIndex(
        pts=np.frombuffer(memory, np.int64, frames, 0),
        key_pts=np.frombuffer(memory, np.int64, keys, 8 * frames),
        leading=np.frombuffer(memory, np.bool_, frames, 8 * (frames + keys)),
        time_base=1 / (average_rate or Fraction(1)) if counted else time_base,
        average_rate=average_rate,
        last_duration=facts.pop("last_duration"),
        counted_by=facts["counted_by"],
    )
    rate = find_rate(index)
    return VideoFacts(
        **facts,
        rate=str(rate.fps),
        constant_rate=rate.constant,
        frame_count=frames,
        duration_s=float(duration(index, rate)),
    ), index
