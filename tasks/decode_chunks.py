"""Frames on their way to the parent: collected in shared memory, sent chunk by chunk.

Runs in the decode worker only: imports numpy and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.decode_protocol import CHUNKS_AHEAD, Channel, ChannelClosedError, new_memory, seal

CHUNK_BYTES = 16 * 2**20
"""Frames are handed over in chunks of about this size, of at least one frame."""
CHUNK_FRAMES = 32
CHUNK_S = 2.0
"""A chunk is sent after so long even if it is not full."""


class FrameChunks:
    """Collects a segment's frames in shared memory and sends them chunk by chunk, never far ahead of the parent."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._credits = CHUNKS_AHEAD
        self._entries: list[list[Any]] = []
        self._fd: int | None = None
        self._memory: mmap.mmap | None = None
        self._used = 0
        self._started_s = 0.0

    def frame(self, sample: int, pixels: NDArray[np.uint8]) -> None:
        """Copy a frame into the chunk."""
        if self._memory is None or self._used + pixels.nbytes > len(self._memory):
            self.flush()
            self._open(max(pixels.nbytes, CHUNK_BYTES))
        self._copy_in(pixels)
        self._used += pixels.nbytes
        self._add([sample, self._used - pixels.nbytes, pixels.shape[0], pixels.shape[1]])

    def null(self, sample: int, reason: str) -> None:
        """Add a sample without pixels to the chunk."""
        self._add([sample, reason])

    def flush(self) -> None:
        """Send the chunk, if there is one, as soon as the parent has taken enough of the earlier ones."""
        if not self._entries:
            return
        while not self._credits:
            self.credit(self._channel.receive()[0])
        self._credits -= 1
        fd, self._fd = self._fd, None
        try:
            if self._memory is not None and fd is not None:
                self._memory.close()
                os.ftruncate(fd, self._used)
                seal(fd)
            self._channel.send({"say": "chunk", "size_bytes": self._used, "frames": self._entries}, fd)
        finally:
            if fd is not None:
                os.close(fd)
        self._entries, self._memory, self._used = [], None, 0

    def flush_if_old(self) -> None:
        """Send a chunk that has waited long for its next frame."""
        if self._entries and time.monotonic() - self._started_s > CHUNK_S:
            self.flush()

    def credit(self, message: dict[str, Any]) -> None:
        """Take the parent's word that a chunk was taken."""
        if message.get("do") != "credit":
            raise ChannelClosedError(f"expected a credit, got {message.get('do')!r}")
        self._credits += 1

    def _open(self, size_bytes: int) -> None:
        self._fd = new_memory(size_bytes)
        self._memory = mmap.mmap(self._fd, size_bytes)

    def _copy_in(self, pixels: NDArray[np.uint8]) -> None:
        """Copy behind the frames that are there; no view of the memory outlives this call, so that it can be sealed."""
        assert self._memory is not None
        place = np.frombuffer(self._memory, np.uint8, pixels.size, self._used).reshape(pixels.shape)
        np.copyto(place, pixels)

    def _add(self, entry: list[Any]) -> None:
        if not self._entries:
            self._started_s = time.monotonic()
        self._entries.append(entry)
        if len(self._entries) >= CHUNK_FRAMES:
            self.flush()
