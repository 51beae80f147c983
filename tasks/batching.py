"""Frames of a stream → batches of one shape. Knows nothing of models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.vision_model import Frame
from tasks.decoding import ExtractedFrame


@dataclass(frozen=True)
class BatchFrame:
    """One frame of a batch.

    Attributes:
        share: which of the run's shares it belongs to.
        segment: index into the segments of the share's plan.
        sample: index into that plan.
        pixels: `(height, width, 3)` uint8 RGB.

    """

    share: int
    segment: int
    sample: int
    pixels: Frame

    def __repr__(self) -> str:
        return f"BatchFrame(share={self.share}, segment={self.segment}, sample={self.sample}, {self.pixels.shape})"


Batch = Sequence[BatchFrame]


class FillingBatches:
    """Full batches, across segments and videos, so that short ones fill them too."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._filling: dict[tuple[int, ...], list[BatchFrame]] = {}

    def add(self, share: int, frame: ExtractedFrame) -> Iterator[Batch]:
        """Take a frame; yields the batch that it fills."""
        if frame.pixels is None:
            return
        batch = self._filling.setdefault(frame.pixels.shape, [])
        batch.append(BatchFrame(share, frame.segment, frame.sample, frame.pixels))
        if len(batch) >= self._size:
            yield self._filling.pop(frame.pixels.shape)

    def limit(self, size: int) -> None:
        """Make no larger batches from now on; any thread may say so."""
        self._size = max(1, min(self._size, size))

    def rest(self) -> Iterator[Batch]:
        """Yield what is not full when no more comes."""
        while self._filling:
            yield self._filling.pop(next(iter(self._filling)))


class FixedBatches:
    """Batches that are always the same run of a segment's samples, whenever those come.

    So a shard that is computed again equals the first on the same device.
    """

    def __init__(self, size: int, segments: Sequence[Sequence[tuple[int, int]]]) -> None:
        """`segments` holds each share's ranges of samples."""
        self._size = size
        self._segments = segments
        self._filling: dict[tuple[int, int, int], list[ExtractedFrame]] = {}

    def add(self, share: int, frame: ExtractedFrame) -> Iterator[Batch]:
        """Take a frame, with pixels or without; when all samples [b · size, (b + 1) · size) have come, yield them."""
        start, stop = self._segments[share][frame.segment]
        number = (frame.sample - start) // self._size
        batch = self._filling.setdefault((share, frame.segment, number), [])
        batch.append(frame)
        if len(batch) < min(self._size, stop - start - number * self._size):
            return
        del self._filling[share, frame.segment, number]
        of_shape: dict[tuple[int, ...], list[BatchFrame]] = {}
        for one in sorted(batch, key=lambda one: one.sample):
            if one.pixels is not None:
                alike = of_shape.setdefault(one.pixels.shape, [])
                alike.append(BatchFrame(share, one.segment, one.sample, one.pixels))
        yield from of_shape.values()

    def limit(self, size: int) -> None:
        """Keep them as they are: another run has to come to the same ones."""

    def rest(self) -> Iterator[Batch]:
        """Yield nothing: what is not complete belongs to segments that have not ended."""
        yield from ()
