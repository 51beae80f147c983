"""Every frame of a video: when it is shown, and where decoding for it can start. Knows nothing of codecs or files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CountedBy = Literal["index", "decoding"]
BLOCK_FRAMES = 2**14
"""Work over all frames goes block by block: a ten-hour video has a million of them."""


@dataclass(frozen=True, repr=False)
class VideoIndex:
    """Every frame of a video in presentation order, and where decoding can start.

    Attributes:
        pts: `(n,)` int64, presentation times in `time_base`, strictly increasing. Where the frames were counted by
            decoding: 0, 1, 2 … in units of one frame.
        key_pts: `(k,)` int64, presentation times of the keyframes that decoding can start at, increasing; also of
            those that an edit list hides.
        leading: `(n,)` bool, true for a frame that is decoded after a keyframe and shown before it.
        time_base: seconds of one tick.
        average_rate: what the container says the rate is, if it says anything; only a candidate.
        last_duration: ticks that the last frame is shown, 0 where the container doesn't say.
        ticks_are_frames: the container's clock ticks at the rate of the video, so that a tick without a frame is one
            that was left out.
        counted_by: `index` where the container's times are used, `decoding` where frames were decoded and counted.

    """

    pts: NDArray[np.int64]
    key_pts: NDArray[np.int64]
    leading: NDArray[np.bool_]
    time_base: Fraction
    average_rate: Fraction | None = None
    last_duration: int = 0
    counted_by: CountedBy = "index"
    ticks_are_frames: bool = False

    def __post_init__(self) -> None:
        if self.pts.ndim != 1 or self.pts.shape != self.leading.shape or self.key_pts.ndim != 1:
            raise ValueError(f"expected pts (n,), leading (n,), key_pts (k,), got {self!r}")
        if not len(self.pts) or self.time_base <= 0:
            raise ValueError(f"expected at least one frame and a positive time base, got {self!r}")
        if not increases(self.pts):
            raise ValueError("expected pts to increase strictly")

    def __repr__(self) -> str:
        return (
            f"VideoIndex(pts={self.pts.shape}, key_pts={self.key_pts.shape}, leading={self.leading.shape}, "
            f"time_base={self.time_base}, average_rate={self.average_rate}, counted_by={self.counted_by!r})"
        )

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return len(self.pts)


def blocks(length: int) -> Iterator[slice]:
    """Consecutive slices that together cover `length` entries."""
    for start in range(0, length, BLOCK_FRAMES):
        yield slice(start, min(length, start + BLOCK_FRAMES))


def increases(values: NDArray[np.int64]) -> bool:
    """Whether each value is greater than the one before."""
    return all(bool((values[b.start + 1 : b.stop + 1] > values[b]).all()) for b in blocks(len(values) - 1))
