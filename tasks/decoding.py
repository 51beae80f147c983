"""A segment's samples as RGB frames, from decode workers that may crash without harm.

The parent's side: nothing here decodes, and av is never imported in this process.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.decode_process import DecodeWorker, DecodeWorkerError, wait_for_any
from tasks.decode_protocol import CHUNK_BYTES, memory_of, seal
from tasks.decode_workers import DecodeWorkers
from tasks.file_stamps import StampedFile
from tasks.frame_buffers import SampleOrReason
from tasks.plans import Plan
from tasks.probing import ATTEMPTS, existing_file, order_for
from tasks.settings import DecodeSettings
from tasks.spans import Span, spans_of
from tasks.spare_memory import MOST_HANDED_ON
from tasks.video_facts import VideoFacts
from tasks.video_refusals import refusal_of

_WAIT_BEFORE_MORE_S = 0.2
"""Who waited so long for frames gets more workers; about what it takes to start one."""
_BUSY_SHARE = 0.25
"""A caller's own time counts against its waiting by so much."""
_LOOK_AROUND_S = 0.1


@dataclass(frozen=True, repr=False)
class ExtractedFrame:
    """One sample of a plan.

    Attributes:
        sample: index into the plan.
        segment: index into the plan's segments.
        pixels: `(height, width, 3)` uint8 RGB as displayed, read-only, in memory shared with the worker, which uses it
            for other frames when the last array over it is gone; None where there is no picture.
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
    path: Path,
    plan: Plan,
    segments: Sequence[int],
    *,
    facts: VideoFacts | None = None,
    settings: DecodeSettings | None = None,
    workers: DecodeWorkers | None = None,
) -> Generator[ExtractedFrame | SegmentEnd, None, None]:
    """Give every sample of the segments named once, and a `SegmentEnd` after each segment's last.

    Segments are cut into spans of whole groups of pictures. Frames of one span come in order; where several workers
    decode, those of different spans come in any order. With one worker everything comes in the order of `segments`.
    More workers than one are started only when the caller has to wait for frames.

    A worker that crashes or hangs costs its span one retry; what a second one doesn't get through is given without
    pixels and `passing`. A damaged frame is given without pixels and permanent. Frames are decoded a little ahead of
    the caller, never far. Raises `VideoUnreadableError` where the file itself is not taken, and `VideoChangedError`
    where it is not the file any more that was opened first, here or by another user of the same `workers`. Workers that
    are not the caller's end with the generator. `facts`: what is known of the video; unless given, every worker finds
    out itself, by decoding the first frame.
    """
    if workers is None:
        with DecodeWorkers(settings) as own_workers:
            yield from extract(path, plan, segments, facts=facts, settings=settings, workers=own_workers)
        return
    file = workers.opened(existing_file(path))
    yield from _Extraction(file, plan, segments, facts, workers, settings or workers.settings).run()


@dataclass
class _Order:
    """What is left of a span: samples from `due` on, of which the worker counts from `start`."""

    span: Span
    due: int
    start: int
    attempts: int = 0


class _Extraction:
    """Hands spans to workers, and on what they give."""

    def __init__(
        self,
        file: StampedFile,
        plan: Plan,
        segments: Sequence[int],
        facts: VideoFacts | None,
        workers: DecodeWorkers,
        settings: DecodeSettings,
    ) -> None:
        self._file = file
        self._plan = plan
        self._size = None if facts is None else (facts.width, facts.height)
        self._about_all = {
            **order_for("decode", file.path, settings),
            "counted": plan.counted_by == "decoding",
            **({} if facts is None else {"size": self._size}),
            **({} if facts is None or facts.container == "avi" else {"codec": facts.codec}),
        }
        self._workers = workers
        self._most = workers.most
        self._segments = iter(dict.fromkeys(segments))
        self._waiting: deque[_Order] = deque()
        self._running: dict[DecodeWorker, _Order] = {}
        self._idle: list[DecodeWorker] = []
        self._samples_left: dict[int, int] = {}
        self._waited_s = 0.0
        self._waited_until_s = time.monotonic()

    def run(self) -> Iterator[ExtractedFrame | SegmentEnd]:
        try:
            while self._find_work() or self._running:
                yield from self._set_to_work()
                for worker in self._wait():
                    try:
                        yield from self._hear(worker)
                    except DecodeWorkerError as error:
                        yield from self._lose(worker, str(error))
        finally:
            for worker in self._running:
                self._workers.end(worker)
            for worker in self._idle:
                self._workers.give_back(worker)

    def _find_work(self) -> bool:
        """Whether a span waits for a worker; the next segment is cut when all spans of the last one are given out."""
        if not self._waiting:
            segment = next(self._segments, None)
            if segment is None:
                return False
            start, stop = self._plan.segments[segment]
            self._samples_left[segment] = stop - start
            self._waiting.extend(
                _Order(span, span.start, span.start) for span in spans_of(self._plan, segment, self._most)
            )
        return True

    def _set_to_work(self) -> Iterator[ExtractedFrame | SegmentEnd]:
        """Give waiting spans to idle workers, and to new ones while the caller has to wait for frames."""
        to_start = 0 if self._running or self._idle else 1
        if self._waited_s > _WAIT_BEFORE_MORE_S:
            # Twice as many each time.
            to_start, self._waited_s = min(len(self._running), self._workers.room()), 0.0
        while (self._idle or to_start > 0) and self._find_work():
            if not self._idle:
                to_start -= 1
                self._idle.append(self._workers.lend(self._file, self._buffers_to_come()))
            worker = self._idle.pop()
            self._running[worker] = self._waiting.popleft()
            try:
                self._send(worker, self._running[worker])
            except DecodeWorkerError as error:
                yield from self._lose(worker, str(error))

    def _buffers_to_come(self) -> int:
        """Buffers that the frames of the waiting spans fill, as far as that is known, up to what a worker is handed."""
        if self._size is None:
            return 0
        frames_each = max(1, CHUNK_BYTES // (math.prod(self._size) * len("RGB")))
        return min(MOST_HANDED_ON, sum(-(-(order.span.stop - order.due) // frames_each) for order in self._waiting))

    def _send(self, worker: DecodeWorker, order: _Order) -> None:
        self._file.check()
        order.start = order.due
        order.attempts += 1
        chosen = slice(order.due, order.span.stop)
        plan = self._plan
        fd = memory_of(plan.pts[chosen].tobytes() + plan.key_pts[chosen].tobytes() + plan.leading[chosen].tobytes())
        try:
            seal(fd)
            worker.ask({**self._about_all, "samples": order.span.stop - order.due}, fd)
        except DecodeWorkerError:
            # One that worked before and died while it had nothing to do: the span had no part in that.
            order.attempts -= worker.started
            raise
        finally:
            os.close(fd)

    def _wait(self) -> list[DecodeWorker]:
        began_s = time.monotonic()
        heard = wait_for_any(self._running, _LOOK_AROUND_S)
        now_s = time.monotonic()
        # A caller that is mostly busy with the frames is not served better by more workers.
        self._waited_s = max(0.0, self._waited_s - _BUSY_SHARE * (began_s - self._waited_until_s))
        if all(worker.started for worker in self._running):
            self._waited_s += now_s - began_s
        self._waited_until_s = now_s
        return heard

    def _hear(self, worker: DecodeWorker) -> Iterator[ExtractedFrame | SegmentEnd]:
        heard = worker.hear()
        if heard is None:
            return
        message, fd = heard
        if message["say"] == "refused":
            raise refusal_of(self._file.path, message)
        order = self._running[worker]
        if message["say"] == "done":
            if order.due != order.span.stop:
                raise DecodeWorkerError(f"the decode worker ended the span {order.span.stop - order.due} samples early")
            self._idle.append(worker)
            del self._running[worker]
            yield from self._end(order.span)
        else:
            yield from self._give(worker.samples_of(message, fd), order)
            worker.credit()

    def _give(self, samples: deque[SampleOrReason], order: _Order) -> Iterator[ExtractedFrame]:
        """Holds on to no frame that was given: its memory is free as soon as the caller lets go of it."""
        while samples:
            number = order.start + samples[0][0]
            if number != order.due or number >= order.span.stop:
                raise DecodeWorkerError(f"the decode worker gave sample {number} where {order.due} was due")
            order.due += 1
            yield self._frame(order, *samples.popleft())

    def _frame(self, order: _Order, sample: int, given: NDArray[np.uint8] | str) -> ExtractedFrame:
        number, segment = order.start + sample, order.span.segment
        return (
            ExtractedFrame(number, segment, None, given)
            if isinstance(given, str)
            else ExtractedFrame(number, segment, given)
        )

    def _lose(self, worker: DecodeWorker, reason: str) -> Iterator[ExtractedFrame | SegmentEnd]:
        """End a worker that failed; what it owed goes to another one, or is given up."""
        self._workers.end(worker)
        order = self._running.pop(worker)
        if order.attempts < ATTEMPTS:
            self._waiting.appendleft(order)
            return
        for lost in range(order.due, order.span.stop):
            yield ExtractedFrame(lost, order.span.segment, None, reason, passing=True)
        yield from self._end(order.span)

    def _end(self, span: Span) -> Iterator[SegmentEnd]:
        self._file.check()
        self._samples_left[span.segment] -= span.stop - span.start
        if not self._samples_left[span.segment]:
            yield SegmentEnd(span.segment)
