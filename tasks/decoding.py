"""A segment's samples as RGB frames, from decode workers that may crash without harm.

The parent's side: nothing here decodes, and av is never imported in this process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.decode_process import DecodeWorker, DecodeWorkerError
from tasks.decode_protocol import ChannelClosedError, memory_of, seal
from tasks.plans import Plan
from tasks.probing import ATTEMPTS, existing_file, order_for
from tasks.settings import DecodeSettings
from tasks.video_refusals import refusal_of


@dataclass(frozen=True, repr=False)
class ExtractedFrame:
    """One sample of a plan.

    Attributes:
        sample: index into the plan.
        segment: index into the plan's segments.
        pixels: `(height, width, 3)` uint8 RGB as displayed, read-only, in memory shared with the worker that is freed
            with the last array over it; None where there is no picture.
        reason: why there is none.
        passing: whether another try may give it.

    """

    sample: int
    segment: int
    pixels: NDArray[np.uint8] | None
    reason: str | None = None
    passing: bool = False

    def __repr__(self) -> str:
        shape = None if self.pixels is None else self.pixels.shape
        return f"ExtractedFrame(sample={self.sample}, segment={self.segment}, pixels={shape}, reason={self.reason!r})"


@dataclass(frozen=True)
class SegmentEnd:
    """All samples of the segment have been given."""

    segment: int


def extract(
    path: Path, plan: Plan, segments: Sequence[int], *, settings: DecodeSettings | None = None
) -> Iterator[ExtractedFrame | SegmentEnd]:
    """Give every sample of the segments named, in order, with a `SegmentEnd` after each segment's last.

    A worker that crashes or hangs costs its segment one retry; what a second one doesn't get through is given without
    pixels and `passing`. A damaged frame is given without pixels and permanent. Frames are decoded a little ahead of
    the caller, never far. Raises `VideoUnreadableError` where the file itself is not taken. The worker ends with the
    generator.
    """
    settings = settings or DecodeSettings()
    path = existing_file(path)
    worker: DecodeWorker | None = None
    try:
        for segment in segments:
            sample, stop = plan.segments[segment]
            reason = ""
            for _ in range(ATTEMPTS):
                if sample == stop:
                    break
                worker = worker or DecodeWorker(settings)
                try:
                    for frame in _decode(worker, path, plan, segment, (sample, stop), settings):
                        sample = frame.sample + 1
                        yield frame
                    break
                except DecodeWorkerError as error:
                    reason = str(error)
                    worker.close()
                    worker = None
            for lost in range(sample, stop):
                yield ExtractedFrame(lost, segment, None, reason, passing=True)
            yield SegmentEnd(segment)
    finally:
        if worker is not None:
            worker.close()


def _decode(
    worker: DecodeWorker, path: Path, plan: Plan, segment: int, samples: tuple[int, int], settings: DecodeSettings
) -> Iterator[ExtractedFrame]:
    """The samples of the half-open range, from one worker. Raises `DecodeWorkerError` where it fails."""
    start, stop = samples
    _send_wanted(worker, path, plan, samples, settings)
    due = start
    while True:
        message, fd = worker.answer()
        if message["say"] == "refused":
            raise refusal_of(path, message)
        if message["say"] == "done":
            break
        for frame in _frames_of(worker, message, fd, start, segment):
            if frame.sample != due or due >= stop:
                raise DecodeWorkerError(f"the decode worker gave sample {frame.sample} where {due} was due")
            due += 1
            yield frame
        worker.ask({"do": "credit", "free": worker.buffers.returned()})
    if due != stop:
        raise DecodeWorkerError(f"the decode worker ended the segment {stop - due} samples early")


def _send_wanted(
    worker: DecodeWorker, path: Path, plan: Plan, samples: tuple[int, int], settings: DecodeSettings
) -> None:
    chosen = slice(*samples)
    fd = memory_of(plan.pts[chosen].tobytes() + plan.key_pts[chosen].tobytes() + plan.leading[chosen].tobytes())
    try:
        seal(fd)
        order = {**order_for("decode", path, settings), "counted": plan.counted_by == "decoding"}
        worker.ask({**order, "samples": samples[1] - samples[0]}, fd)
    finally:
        os.close(fd)


def _frames_of(
    worker: DecodeWorker, message: dict[str, Any], fd: int | None, start: int, segment: int
) -> Iterator[ExtractedFrame]:
    try:
        samples = worker.buffers.samples_of(message, fd)
    except ChannelClosedError as error:
        raise DecodeWorkerError(str(error)) from error
    while samples:
        sample, given = samples.popleft()
        if isinstance(given, str):
            yield ExtractedFrame(start + sample, segment, None, given)
        else:
            yield ExtractedFrame(start + sample, segment, given)
