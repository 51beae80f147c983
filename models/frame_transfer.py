"""Frames of one shape → one batch of bytes on a device, without holding up what the device is at.

Fresh memory of this size costs more than the copy into it, so each thread keeps what it filled last; on CUDA torch does
that by itself, for pinned memory.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import torch

from models.vision_model import Frame


class _ThreadsOwn(threading.local):
    """What the calling thread keeps between batches."""

    def __init__(self) -> None:
        self.bytes = torch.empty(0, dtype=torch.uint8)
        self.copies: dict[torch.device, torch.cuda.Stream] = {}


_own = _ThreadsOwn()


def to_device(frames: Sequence[Frame], device: torch.device) -> torch.Tensor:
    """Stack frames of one shape `(height, width, 3)` and send them as uint8; gives `(n, 3, height, width)`.

    The result is a view whose channels lie last in memory, as they do in the frames. On a CPU it is valid until the
    same thread calls again.
    """
    shape = (len(frames), *frames[0].shape)
    batch = torch.empty(shape, dtype=torch.uint8, pin_memory=True) if device.type == "cuda" else _kept(shape)
    for row, frame in zip(batch.numpy(), frames, strict=True):
        row[:] = frame
    return (_sent(batch, device) if device.type == "cuda" else batch.to(device)).permute(0, 3, 1, 2)


def _kept(shape: tuple[int, ...]) -> torch.Tensor:
    """The thread's own memory as uint8 of `shape`, with whatever it held before."""
    count = math.prod(shape)
    if len(_own.bytes) < count:
        _own.bytes = torch.empty(count, dtype=torch.uint8)
    return _own.bytes[:count].view(shape)


def _sent(batch: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy pinned memory on a stream of the thread's own, so that it overlaps what another thread's batch computes.

    What the caller queues next waits for the copy; the copy's memory is not given away before that is done.
    """
    if device not in _own.copies:
        _own.copies[device] = torch.cuda.Stream(device)
    copies, here = _own.copies[device], torch.cuda.current_stream(device)
    with torch.cuda.stream(copies):
        sent = batch.to(device, non_blocking=True)
    here.wait_stream(copies)
    sent.record_stream(here)
    return sent
