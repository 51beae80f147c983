"""Which frames of a benchmark file are wanted, and how frames that came are told apart from others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
BATCH = 16
"""Frames that batch interfaces are asked for at once: all at once would fill the memory."""
_PAGE_BYTES = 4096
_MOST_LEVELS_OFF = 4.0
"""Readers convert colours in slightly different ways; a frame further off than this is another picture."""


@dataclass(frozen=True)
class Sampling:
    """The frames wanted of a file of a constant rate."""

    path: Path
    fps: int
    """The file's frames a second."""
    numbers: range
    """Numbers of the frames wanted, in presentation order from 0."""
    width: int
    height: int

    @property
    def batches(self) -> Iterator[range]:
        """The numbers, at most `BATCH` at a time."""
        return (self.numbers[first : first + BATCH] for first in range(0, len(self.numbers), BATCH))


Mode = Callable[[Sampling], Iterator[Pixels]]


def signature(frame: Pixels) -> Pixels:
    """One byte of every page of the frame: so each page is touched, and the frame is known again."""
    return frame.reshape(-1)[::_PAGE_BYTES].copy()


@dataclass(frozen=True)
class Verdict:
    """Whether a reader gave the frames wanted."""

    right: bool
    identical: float
    """The share of frames (0…1) whose bytes looked at are those of sequential decoding by PyAV."""
    why: str = ""


def judged(signatures: NDArray[np.uint8], numbers: range, reference: NDArray[np.uint8]) -> Verdict:
    """Hold frames against sequential decoding: each must be nearer to its own frame than to its neighbours.

    `signatures` is `(samples, bytes)`, `reference` `(frames, bytes)` of all frames of the file.
    """
    if len(signatures) != len(numbers):
        return Verdict(False, 0.0, f"{len(signatures)} frames of {len(numbers)}")
    if signatures.shape[1:] != reference.shape[1:]:
        return Verdict(False, 0.0, "frames of another size")
    identical = 0
    wrong = []
    for number, got in zip(numbers, signatures.astype(np.int16), strict=True):
        near = range(max(0, number - 1), min(len(reference), number + 2))
        off = {other: float(np.abs(got - reference[other]).mean()) for other in near}
        identical += off[number] == 0
        if off[number] > _MOST_LEVELS_OFF or off[number] > min(off.values()):
            wrong.append(number)
    share = identical / len(numbers)
    return Verdict(not wrong, share, f"{len(wrong)} wrong frames, the first for number {wrong[0]}" if wrong else "")
