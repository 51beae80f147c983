"""A model over a frame stream: batch, run, shard. Knows models and shards; nothing of Prefect and of video files."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.element_columns import ELEMENT_COLUMNS, predicted_rows
from models.errors import PermanentError
from models.vision_model import VisionModel
from tasks.batching import Batch, BatchFrame, FillingBatches, FixedBatches
from tasks.decoding import ExtractedFrame, SegmentEnd
from tasks.frame_stream import StreamItem
from tasks.lanes import Lanes, put_all
from tasks.plans import Plan
from tasks.segment_rows import SegmentRows
from tasks.stage_times import StageTimes

if TYPE_CHECKING:
    import pyarrow as pa

GIVE_UP_AFTER_FRAMES = 32
"""A model that failed on so many frames, and did well on none, is taken to fail on all."""

_log = logging.getLogger(__name__)

ShardSink = Callable[[int, "pa.Table"], None]
"""Takes a segment and its outcomes in columns (`tasks.outcomes`), one for each sample of its range, in order."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether a model failed for want of memory, in the words of torch or of onnxruntime."""
    text = f"{type(error).__name__}: {error}".lower()
    return isinstance(error, MemoryError) or any(
        words in text for words in ("outofmemory", "out of memory", "bad_alloc")
    )


class ModelFailedError(PermanentError):
    """The model fails on every frame; its last error is in the text."""


@dataclass(frozen=True)
class InferenceShare:
    """What a model does for one job.

    Attributes:
        plan: the job's samples.
        id_seed: decides the detections' ids.
        sink: takes each segment when all its frames have an outcome; called by one thread at a time.
        advance: is told how many frames more have an outcome.

    """

    plan: Plan
    id_seed: str
    sink: ShardSink
    advance: Callable[[int], None] = lambda frames: None  # noqa: ARG005


@dataclass
class _OpenSegment:
    """Outcomes of one segment, filled in any order."""

    start: int
    rows: SegmentRows
    ended: bool = False

    @property
    def finished(self) -> bool:
        return self.ended and not self.rows.missing


class StreamInference:
    """Runs one model over the frames of a stream and hands over each segment when all its frames have an outcome.

    Frames may come in any order. Batches hold frames of one shape and run across segments and shares, so that short
    ones fill them. With `deterministic` a batch is always the same run of a segment's samples, whenever they come: then
    a recomputed shard equals the first on the same device.

    `lanes` batches are predicted at the same time, by threads of their own; a further one hands over segments, so
    that no lane waits for the store. Where `cores` is given, a lane holds one of them while it predicts.
    """

    def __init__(
        self,
        model: VisionModel,
        shares: Sequence[InferenceShare],
        inference_type: str,
        *,
        batch_size: int,
        deterministic: bool,
        lanes: int = 1,
        cores: AbstractContextManager[object] | None = None,
        times: StageTimes | None = None,
    ) -> None:
        self._model = model
        self._shares = shares
        self._type = inference_type
        self._lane_count = lanes
        self._cores = cores or nullcontext()
        self._times = times or StageTimes()
        self._batches: FillingBatches | FixedBatches = (
            FixedBatches(batch_size, [share.plan.segments for share in shares])
            if deterministic
            else FillingBatches(batch_size)
        )
        self._lock = threading.Lock()
        self._open: dict[tuple[int, int], _OpenSegment] = {}
        self._frames_failed = 0
        self._frames_good = 0

    def run(self, items: Iterable[tuple[int, StreamItem]]) -> None:
        """Take everything from `items`, each with the number of its share.

        Raises `ModelFailedError` when the model fails on frame after frame, and what a sink raises.
        """
        with (
            Lanes(1, self._hand_over) as self._writer,
            Lanes(self._lane_count, self._infer, waited=self._starved) as lanes,
        ):
            for share, item in items:
                if isinstance(item, SegmentEnd):
                    self._end_segment(share, item.segment)
                    continue
                if item.pixels is None:
                    self._settle_without_pixels(share, item)
                put_all(lanes, self._batches.add(share, item))
                del item  # its memory is the decoder's again as soon as its batch is through
            put_all(lanes, self._batches.rest())

    def _starved(self, seconds: float) -> None:
        self._times.add("waiting_for_frames", seconds / self._lane_count)

    def _infer(self, frames: Batch) -> None:
        """Predict; what fails together is halved, down to the frame that fails alone."""
        started_s = time.perf_counter()
        try:
            with self._cores:
                started_s = time.perf_counter()
                rows = predicted_rows(self._model, self._type, [frame.pixels for frame in frames])
                taken_s = time.perf_counter() - started_s
        except Exception as error:
            if len(frames) > 1:
                half = len(frames) // 2
                if is_out_of_memory(error):
                    self._batches.limit(half)
                self._infer(frames[:half])
                self._infer(frames[half:])
            else:
                self._fail(frames[0], error)
            return
        self._times.add("inferring", taken_s / self._lane_count)
        seeds = [self._id_seed(frame) for frame in frames]
        stamped = ELEMENT_COLUMNS[self._type].stamped(rows, taken_s / len(frames), seeds)
        with self._lock:
            self._frames_good += len(frames)
        for row, frame in enumerate(frames):
            self._settle(frame.share, frame.segment, frame.sample, (stamped, row))

    def _fail(self, frame: BatchFrame, error: Exception) -> None:
        offset = self._shares[frame.share].plan.frame_offset[frame.sample]
        reason = f"{type(error).__name__}: {error}"
        _log.warning("the model failed on frame %s: %s", offset, reason)
        with self._lock:
            self._frames_failed += 1
            hopeless = self._frames_good == 0 and self._frames_failed >= GIVE_UP_AFTER_FRAMES
        if hopeless:
            raise ModelFailedError(f"the model failed on each of its first {self._frames_failed} frames ({reason}).")
        self._settle(frame.share, frame.segment, frame.sample, None, reason)

    def _id_seed(self, frame: BatchFrame) -> str:
        share = self._shares[frame.share]
        return f"{share.id_seed}/{int(share.plan.frame_offset[frame.sample])}"

    def _settle_without_pixels(self, share: int, frame: ExtractedFrame) -> None:
        reason = frame.reason or "no pixels"
        self._settle(share, frame.segment, frame.sample, None, reason, passing=frame.passing)

    def _settle(
        self,
        share: int,
        segment: int,
        sample: int,
        found: tuple[pa.RecordBatch, int] | None,
        reason: str = "",
        *,
        passing: bool = False,
    ) -> None:
        """Note a row of a stamped batch, or why there is none."""
        with self._lock:
            opened = self._segment(share, segment)
            if found is not None:
                opened.rows.put(sample - opened.start, *found)
            else:
                opened.rows.put_null(sample - opened.start, reason, passing=passing)
            finished = opened.finished
        self._shares[share].advance(1)
        if finished:
            self._put_to_writer(share, segment)

    def _end_segment(self, share: int, segment: int) -> None:
        with self._lock:
            opened = self._segment(share, segment)
            opened.ended = True
            finished = opened.finished
        if finished:
            self._put_to_writer(share, segment)

    def _segment(self, share: int, segment: int) -> _OpenSegment:
        if (share, segment) not in self._open:
            plan = self._shares[share].plan
            start, stop = plan.segments[segment]
            rows = SegmentRows(self._type, plan.frame_offset[start:stop], plan.time_offset[start:stop])
            self._open[share, segment] = _OpenSegment(start, rows)
        return self._open[share, segment]

    def _put_to_writer(self, share: int, segment: int) -> None:
        with self._times.at("waiting_for_writer"):
            self._writer.put((share, segment))

    def _hand_over(self, place: tuple[int, int]) -> None:
        with self._lock:
            opened = self._open.pop(place)
        share, segment = place
        with self._times.at("writing"):
            self._shares[share].sink(segment, opened.rows.table())
