"""Decoded frames and wanted samples brought together: what is handed out, and what is given up.

Runs in the decode worker only: imports av, numpy and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tasks.decode_pictures import Picture, PictureError, Pictures

DAMAGED = "the frame depends on a damaged packet"
MISSING = "the decoder gave no frame for this time"


class Sink(Protocol):
    """Takes samples in order: pictures, or a reason why there are none."""

    def frame(self, sample: int, picture: Picture) -> None:
        """Draw the sample's picture and take it; where drawing raises `PictureError`, nothing was taken."""

    def null(self, sample: int, reason: str) -> None:
        """Take note that the sample has no pixels."""


@dataclass
class Wanted:
    """The samples of a segment in order: `pts`, `key_pts` `(m,)` int64 and `leading` `(m,)` bool as in a plan."""

    pts: NDArray[np.int64]
    key_pts: NDArray[np.int64]
    leading: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pts)


@dataclass
class Handout:
    """Brings decoded frames and wanted samples together, by time, in order."""

    wanted: Wanted
    sink: Sink
    pictures: Pictures
    damaged: set[int] = field(default_factory=set)
    """Times of wanted frames that depend on a broken packet."""
    position: int = 0

    @property
    def done(self) -> bool:
        """Whether every sample was handed out or given up."""
        return self.position == len(self.wanted)

    @property
    def next_pts(self) -> int:
        """Time of the first sample that was not."""
        return int(self.wanted.pts[self.position])

    def take(self, frame: VideoFrame, pts: int | None) -> None:
        """Hand out a decoded frame if it is wanted; samples passed over are handed out as missing."""
        if pts is None:
            return
        self.pass_over(pts)
        if self.done or self.next_pts != pts:
            return
        if frame.is_corrupt:
            self.damaged.add(pts)
        if pts in self.damaged:
            self._null()
        else:
            try:
                self.sink.frame(self.position, self.pictures.of(frame))
            except PictureError as error:
                self.sink.null(self.position, str(error))
            self.position += 1

    def pass_over(self, pts: int) -> None:
        """Give up samples before `pts`: frames come in order, so theirs will not."""
        while not self.done and self.next_pts < pts:
            self._null()

    def finish(self) -> None:
        """Give up what is left."""
        while not self.done:
            self._null()

    def _null(self) -> None:
        pts = self.next_pts
        self.sink.null(self.position, DAMAGED if pts in self.damaged else MISSING)
        self.damaged.discard(pts)
        self.position += 1
