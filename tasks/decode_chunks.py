"""Frames on their way to the parent: collected in shared memory, sent chunk by chunk.

Runs in the decode worker only: imports av, numpy and the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tasks.decode_buffers import SharedBuffer, SharedBuffers
from tasks.decode_pictures import Picture
from tasks.decode_protocol import CHUNK_BYTES, CHUNKS_AHEAD, Channel, ChannelClosedError

CHUNK_FRAMES = 32
CHUNK_S = 2.0
"""A chunk is sent after so long even if it is not full."""
_ALIGNED_BYTES = 64
"""Frames begin at multiples of this, the widest that processors load and store at once."""


class FrameChunks:
    """Collects samples in shared buffers and sends them chunk by chunk, never far ahead of the parent."""

    def __init__(self, channel: Channel, buffers: SharedBuffers) -> None:
        self._channel = channel
        self._buffers = buffers
        self._credits = CHUNKS_AHEAD
        self._entries: list[list[Any]] = []
        self._buffer: SharedBuffer | None = None
        self._used = 0
        self._due = CHUNK_FRAMES
        self._started_s = 0.0

    def expect(self, samples: int) -> None:
        """So many samples follow: what they take decides how large new buffers are."""
        self._due = samples

    def frame(self, sample: int, picture: Picture) -> None:
        """Draw a picture into the chunk. Raises `PictureError`, and the chunk is as it was."""
        if self._buffer is not None and self._used + picture.room_bytes > len(self._buffer):
            self.flush()
        if self._buffer is None:
            self._buffer = self._buffers.take(picture.room_bytes, min(CHUNK_BYTES, self._due * picture.room_bytes))
        offset = self._used
        picture.draw(np.frombuffer(self._buffer.memory, np.uint8, picture.room_bytes, offset))
        self._used = -(-(offset + picture.size_bytes) // _ALIGNED_BYTES) * _ALIGNED_BYTES
        self._add([sample, offset, *picture.shape[:2]])

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
        buffer, entries = self._buffer, self._entries
        self._entries, self._buffer, self._used = [], None, 0
        message = {"say": "chunk", "frames": entries, "forgotten": self._buffers.forgotten()}
        if buffer is None:
            self._channel.send(message)
        else:
            self._channel.send({**message, "buffer": buffer.number}, buffer.fd)
            self._buffers.lend(buffer)

    def flush_if_old(self) -> None:
        """Send a chunk that has waited long for its next frame."""
        if self._entries and time.monotonic() - self._started_s > CHUNK_S:
            self.flush()

    def credit(self, message: dict[str, Any]) -> None:
        """Take the parent's word that a chunk was taken, and the buffers that nobody looks at any more."""
        if message.get("do") != "credit":
            raise ChannelClosedError(f"expected a credit, got {message.get('do')!r}")
        self._buffers.take_back(message["free"])
        self._credits += 1

    def adopt(self, number: int, fd: int) -> None:
        """Use memory that was handed on."""
        self._buffers.adopt(number, fd)

    def rest(self) -> None:
        """Give up all memory until there are frames again; what the parent looks at stays there."""
        self._buffers.clear()

    def _add(self, entry: list[Any]) -> None:
        if not self._entries:
            self._started_s = time.monotonic()
        self._entries.append(entry)
        if len(self._entries) >= CHUNK_FRAMES:
            self.flush()
