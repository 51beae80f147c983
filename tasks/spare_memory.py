"""Shared memory of decode workers that have ended, for those that come after them.

Fresh pages cost the kernel more than a frame's conversion into RGB, and a short video is over before its worker has
used any of them twice. Only what nobody can write to any more is handed on: its worker is gone, and no array over it
lives. The next worker clears it before it opens its file, so that no file's decoder sees another's frames.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections import deque

from tasks.decode_protocol import is_only_sized, map_buffer

MOST_HANDED_ON = 6
"""Buffers that a worker leaves behind, and that one is handed: those of a short video. Later it uses its own again."""
_MOST_BYTES = 128 * 2**20
"""More is given back to the system: as much as two workers fill with short videos of 1080p."""


class SharedMemory:
    """A worker's buffer as this process reads it; gone when nothing refers to it any more."""

    def __init__(self, fd: int) -> None:
        """Own the descriptor. Raises `ChannelClosedError` where it is no buffer as workers make them."""
        self.fd = fd
        weakref.finalize(self, os.close, fd)
        self.mapped = map_buffer(fd)

    def __len__(self) -> int:
        return len(self.mapped)


class SpareMemory:
    """Takes memory from any thread, also while Python collects garbage: nothing here waits for a lock."""

    def __init__(self) -> None:
        self._free: deque[SharedMemory] = deque()
        self._closed = False

    def add(self, memory: SharedMemory) -> None:
        """Keep `memory`, or give it back where there is enough of it or it was tampered with."""
        held_bytes = sum(map(len, list(self._free)))
        if not self._closed and held_bytes + len(memory) <= _MOST_BYTES and is_only_sized(memory.fd):
            self._free.append(memory)

    def take(self, most: int) -> list[SharedMemory]:
        """At most so many buffers, which are the caller's from now on."""
        taken: list[SharedMemory] = []
        with contextlib.suppress(IndexError):  # no more there, perhaps because another thread was quicker
            while len(taken) < most:
                taken.append(self._free.pop())
        return taken

    def close(self) -> None:
        """Give everything back, and what comes later as well."""
        self._closed = True
        self._free.clear()
