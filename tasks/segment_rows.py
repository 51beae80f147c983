"""The outcomes of one segment while they come, in any order, and the table that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.outcomes import rows_table

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


class SegmentRows:
    """A row of a predicted batch for each of n frames, or the reason why there is none.

    Batches are kept as they come and taken apart once, when all is there; one that lies across two segments is held by
    both. Not safe for threads by itself.
    """

    def __init__(self, inference_type: str, frame_offset: NDArray[np.int64], time_offset: NDArray[np.float64]) -> None:
        """Take the frames `(n,)` and their times; nothing of them has come."""
        self._type, self._frame_offset, self._time_offset = inference_type, frame_offset, time_offset
        count = len(frame_offset)
        self._reasons: list[str | None] = [None] * count
        self._passing = [False] * count
        self._places = np.full(count, -1)
        self._batches: list[pa.RecordBatch] = []
        self._starts: dict[int, int] = {}
        self._rows = 0
        self.missing = count
        """How many frames have no outcome yet."""

    def put(self, frame: int, batch: pa.RecordBatch, row: int) -> None:
        """Let row `row` of `batch` be what there is of the segment's frame number `frame`."""
        if id(batch) not in self._starts:  # it stays as long as this object, so that its id names no other
            self._starts[id(batch)] = self._rows
            self._batches.append(batch)
            self._rows += len(batch)
        self._places[frame] = self._starts[id(batch)] + row
        self.missing -= 1

    def put_null(self, frame: int, reason: str, *, passing: bool) -> None:
        """Let the frame be a null."""
        self._reasons[frame], self._passing[frame] = reason, passing
        self.missing -= 1

    def table(self) -> pa.Table:
        """Give the columns that `tasks.outcomes` describes, a row for each frame, in order."""
        assert not self.missing, "every frame has its outcome first"
        return rows_table(
            self._type,
            frame_offset=self._frame_offset,
            time_offset=self._time_offset,
            rows=self._batches,
            places=self._places,
            reasons=self._reasons,
            passing=self._passing,
        )
