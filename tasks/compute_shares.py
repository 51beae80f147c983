"""How the cores of a machine are shared out among decoders and models. Pure numbers."""

from __future__ import annotations

import os
from dataclasses import dataclass

_MOST_DECODERS = 16
"""More than any GPU run of one video was seen to need."""
_MOST_LANES = 8
"""Each lane holds a batch of frames."""
_LANES_ON_GPU = 2
"""While one batch is computed, the next is prepared and the last one's answers are read."""


@dataclass(frozen=True)
class ComputeShare:
    """How models compute on one device.

    Attributes:
        lanes: batches of one model that are worked on at the same time.
        threads: torch's threads for each of them.
        slots: batches of all models together that may be computed on at the same time; None where nothing limits them.

    """

    lanes: int
    threads: int
    slots: int | None


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def compute_share(device: str, *, torch_threads: int = 0, lanes: int = 0) -> ComputeShare:
    """Share the cores out; 0 leaves a number to this function.

    On a CPU batches run side by side, one core each: two threads on one batch take a third less time than one, and two
    batches half (measured on two cores with the detector of the small world and with YOLOX nano). Threads of one batch
    also wait for each other by spinning, which takes the cores from the decoders; a batch alone on its thread does not.
    """
    if not device.startswith("cpu"):
        return ComputeShare(lanes=lanes or _LANES_ON_GPU, threads=torch_threads or max(1, cores() // 4), slots=None)
    threads = torch_threads or max(1, cores() // (lanes or _MOST_LANES))
    lanes = lanes or min(_MOST_LANES, max(1, cores() // threads))
    return ComputeShare(lanes=lanes, threads=threads, slots=max(1, cores() // threads))


def most_decoders(device: str) -> int:
    """Decode workers for one GPU run at most; more than one are started only while models wait for frames.

    On a CPU that may be all cores: where decoding is what holds the job up, models leave them free.
    """
    return min(_MOST_DECODERS, cores() if device.startswith("cpu") else max(1, cores() - 1))


def frames_held(batch_size: int, lanes: int, frame_bytes: int, memory_bytes: int) -> tuple[int, int]:
    """Give how many frames a batch holds at most, and how many may wait, so that all fit into `memory_bytes`.

    Each lane holds a batch, and as much as a batch waits; frames that do not fit even so are worked on one by one.
    """
    held = memory_bytes // frame_bytes
    batch = max(1, min(batch_size, held // (lanes + 1)))
    return batch, max(1, min(2 * batch, held - lanes * batch))
