"""A video's facts and the index of its frames, from a decode worker that may crash without harm.

The parent's side: nothing here decodes, and av is never imported in this process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.decode_process import DecodeWorker, DecodeWorkerError
from tasks.decode_protocol import ChannelClosedError
from tasks.decode_workers import DecodeWorkers
from tasks.frame_rates import find_rate
from tasks.index_parts import IndexParts, UnorderedTimesError, counted_index, frames_cut_off, timed_index
from tasks.sampling import duration
from tasks.settings import DecodeSettings
from tasks.video_facts import VideoFacts
from tasks.video_index import VideoIndex
from tasks.video_refusals import VideoUnreadableError, refusal_of, shown_name

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
                    f"{shown_name(path)} could not be read: {error}; try again, or convert the file."
                ) from error
    raise AssertionError("unreachable")


def existing_file(path: Path) -> Path:
    """The absolute path of an ordinary file. Raises `VideoUnreadableError` where there is none."""
    path = path.expanduser().absolute()
    if not path.is_file():
        raise VideoUnreadableError(f"there is no file {shown_name(path, whole=True)}; check the path.")
    return path


def order_for(what: str, path: Path, settings: DecodeSettings) -> dict[str, Any]:
    """An order to a decode worker about a file, with the limits that it has to keep."""
    return {"do": what, "path": str(path), "max_pixels": settings.max_pixels, "threads": 1}


def read_index(worker: DecodeWorker, path: Path, settings: DecodeSettings) -> tuple[VideoFacts, VideoIndex]:
    """Ask a worker for facts and index. Raises `VideoUnreadableError` or one of its kinds, and `DecodeWorkerError`."""
    order = order_for("index", path, settings)
    try:
        return _ask_for_index(worker, order, path)
    except UnorderedTimesError:
        return _ask_for_index(worker, {**order, "counting": True}, path)


def _ask_for_index(worker: DecodeWorker, order: dict[str, Any], path: Path) -> tuple[VideoFacts, VideoIndex]:
    worker.ask(order)
    parts = IndexParts()
    while True:
        message, fd = worker.answer()
        if message["say"] == "refused":
            raise refusal_of(path, message)
        if message["say"] == "index":
            break
        try:
            parts.take_in(message, fd)
        except ChannelClosedError as error:
            raise DecodeWorkerError(str(error)) from error
    facts, times = message["facts"], message["times"]
    if facts["counted_by"] == "decoding":
        index, lost = counted_index(facts["container"], times), 0
    else:
        index, lost = timed_index(facts["container"], times, parts)
    rate = find_rate(index)
    return VideoFacts(
        **facts,
        rate=str(rate.fps),
        constant_rate=rate.constant,
        frame_count=index.frame_count,
        frames_missing=lost + frames_cut_off(times, index, rate),
        duration_s=float(duration(index, rate)),
    ), index
