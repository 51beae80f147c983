"""A model over a frame stream: batch, run, shard. Knows models and shards; nothing of Prefect and of video files."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from models.element_columns import stamp
from models.elements import Element
from models.errors import PermanentError
from models.vision_model import Frame, VisionModel
from tasks.decoding import ExtractedFrame, SegmentEnd
from tasks.plans import Plan
from tasks.shards import Outcome

GIVE_UP_AFTER_FRAMES = 32
"""A model that failed on so many frames, and did well on none, is taken to fail on all."""

_log = logging.getLogger(__name__)

ShardSink = Callable[[int, Sequence[Outcome]], None]
"""Takes a segment and its outcomes, one for each sample of its range, in order."""


class ModelFailedError(PermanentError):
    """The model fails on every frame; its last error is in the text."""


@dataclass
class _OpenSegment:
    """Outcomes of one segment, filled in any order."""

    start: int
    outcomes: list[Outcome | None]
    ended: bool = False

    @property
    def finished(self) -> bool:
        return self.ended and None not in self.outcomes


class StreamInference:
    """Runs one model over the frames of a stream and hands over each segment when all its frames have an outcome.

    Frames may come in any order. Batches hold frames of one shape and run across segments, so that short segments fill
    them. With `deterministic` a batch is always the same run of a segment's samples, whenever they come: then a
    recomputed shard equals the first on the same device.
    """

    def __init__(
        self,
        model: VisionModel,
        plan: Plan,
        inference_type: str,
        *,
        id_seed: str,
        batch_size: int,
        deterministic: bool,
        sink: ShardSink,
        advance: Callable[[int], None] = lambda frames: None,  # noqa: ARG005
    ) -> None:
        """`id_seed` decides the detections' ids; `advance` is told how many frames more have an outcome."""
        self._model = model
        self._plan = plan
        self._type = inference_type
        self._id_seed = id_seed
        self._batch_size = batch_size
        self._deterministic = deterministic
        self._sink = sink
        self._advance = advance
        self._batches: dict[tuple[int, ...], list[ExtractedFrame]] = {}
        self._fixed_batches: dict[tuple[int, int], list[ExtractedFrame]] = {}
        self._open: dict[int, _OpenSegment] = {}
        self._frames_failed = 0
        self._frames_good = 0

    def run(self, items: Iterable[ExtractedFrame | SegmentEnd]) -> None:
        """Take everything from `items`. Raises `ModelFailedError` when the model fails on frame after frame."""
        for item in items:
            if isinstance(item, SegmentEnd):
                self._end_segment(item.segment)
                continue
            if item.pixels is None:
                self._settle(item, None, item.reason or "no pixels", passing=item.passing)
            elif not self._deterministic:
                self._collect(item, item.pixels)
            if self._deterministic:
                self._collect_fixed(item)
        self._run_waiting()

    def _collect(self, frame: ExtractedFrame, pixels: Frame) -> None:
        batch = self._batches.setdefault(pixels.shape, [])
        batch.append(frame)
        if len(batch) >= self._batch_size:
            self._run_batch(self._batches.pop(pixels.shape))

    def _collect_fixed(self, frame: ExtractedFrame) -> None:
        """Run the samples [b · size, (b + 1) · size) of a segment, less those without pixels, when all have come."""
        start, stop = self._plan.segments[frame.segment]
        number = (frame.sample - start) // self._batch_size
        batch = self._fixed_batches.setdefault((frame.segment, number), [])
        batch.append(frame)
        if len(batch) < min(self._batch_size, stop - start - number * self._batch_size):
            return
        del self._fixed_batches[frame.segment, number]
        for one in sorted(batch, key=lambda one: one.sample):
            if one.pixels is not None:
                self._batches.setdefault(one.pixels.shape, []).append(one)
        self._run_waiting()

    def _end_segment(self, segment: int) -> None:
        self._segment(segment).ended = True
        self._hand_over(segment)

    def _run_waiting(self) -> None:
        while self._batches:
            self._run_batch(self._batches.pop(next(iter(self._batches))))

    def _run_batch(self, frames: Sequence[ExtractedFrame]) -> None:
        """Predict; what fails together is halved, down to the frame that fails alone."""
        pixels = [frame.pixels for frame in frames if frame.pixels is not None]
        started_s = time.perf_counter()
        try:
            elements = self._model.predict(pixels)
        except Exception as error:
            if len(frames) > 1:
                half = len(frames) // 2
                self._run_batch(frames[:half])
                self._run_batch(frames[half:])
            else:
                self._fail(frames[0], error)
            return
        time_s = (time.perf_counter() - started_s) / len(frames)
        for frame, element in zip(frames, elements, strict=True):
            self._settle(frame, self._stamped(frame, element, time_s), None)
        self._frames_good += len(frames)

    def _fail(self, frame: ExtractedFrame, error: Exception) -> None:
        self._frames_failed += 1
        reason = f"{type(error).__name__}: {error}"
        _log.warning("the model failed on frame %s: %s", self._plan.frame_offset[frame.sample], reason)
        if self._frames_good == 0 and self._frames_failed >= GIVE_UP_AFTER_FRAMES:
            raise ModelFailedError(f"the model failed on each of its first {self._frames_failed} frames ({reason}).")
        self._settle(frame, None, reason)

    def _stamped(self, frame: ExtractedFrame, element: Element, time_s: float) -> Element:
        offset = int(self._plan.frame_offset[frame.sample])
        return stamp(self._type, element, time_s=time_s, id_seed=f"{self._id_seed}/{offset}")

    def _settle(
        self, frame: ExtractedFrame, element: Element | None, reason: str | None, *, passing: bool = False
    ) -> None:
        segment = self._segment(frame.segment)
        segment.outcomes[frame.sample - segment.start] = Outcome(
            frame_offset=int(self._plan.frame_offset[frame.sample]),
            time_offset=float(self._plan.time_offset[frame.sample]),
            element=element,
            reason=reason,
            passing=passing,
        )
        self._advance(1)
        self._hand_over(frame.segment)

    def _segment(self, segment: int) -> _OpenSegment:
        if segment not in self._open:
            start, stop = self._plan.segments[segment]
            self._open[segment] = _OpenSegment(start=start, outcomes=[None] * (stop - start))
        return self._open[segment]

    def _hand_over(self, segment: int) -> None:
        if segment in self._open and self._open[segment].finished:
            outcomes = [outcome for outcome in self._open.pop(segment).outcomes if outcome is not None]
            self._sink(segment, outcomes)
