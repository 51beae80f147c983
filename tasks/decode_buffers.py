"""Shared buffers as the decode worker sees them: made, filled, lent to the parent, taken back, filled again.

Fresh pages of shared memory cost the kernel far more than the copy into them (measured: 9 ms against 0.4 ms for a frame
of 1080p), so a buffer is used again as soon as the parent says that nobody looks at it any more.
Runs in the worker only: imports the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from dataclasses import dataclass

from tasks.decode_protocol import map_cleared, new_memory, seal_size

_WINDOW = 32
"""A buffer that none of so many chunks needed goes."""


@dataclass
class SharedBuffer:
    """A writable mapping; `fd` is its descriptor until the parent was sent it."""

    number: int
    memory: mmap.mmap
    fd: int | None

    def __len__(self) -> int:
        return len(self.memory)

    def close(self) -> None:
        """Let go of the memory; what the parent has mapped stays."""
        self.memory.close()
        self.descriptor_sent()

    def descriptor_sent(self) -> None:
        """The parent has the memory; its mapping and ours hold it from now on."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


class SharedBuffers:
    """All buffers of a worker: free ones, and those that the parent looks at."""

    def __init__(self, most_bytes: int) -> None:
        """Keep mappings of at most `most_bytes`, whatever the parent holds on to; the rest is the parent's alone."""
        self._most_bytes = most_bytes
        self._free: deque[SharedBuffer] = deque()
        self._lent: dict[int, SharedBuffer] = {}
        self._forgotten: list[int] = []
        self._last_number = 0
        self._taken = 0
        self._fewest_free = 0

    def take(self, least_bytes: int, usual_bytes: int) -> SharedBuffer:
        """A buffer to fill, of `least_bytes` or more; a new one has `usual_bytes` where that is enough."""
        self._drop_unneeded()
        while self._free:
            buffer = self._free.pop()
            if len(buffer) >= least_bytes:
                return buffer
            self._forget(buffer)
        while self._lent and self._mapped_bytes() + max(least_bytes, usual_bytes) > self._most_bytes:
            self._forget(self._lent.pop(next(iter(self._lent))))
        self._last_number += 1
        fd = new_memory(max(least_bytes, usual_bytes))
        try:
            seal_size(fd)
            return SharedBuffer(self._last_number, mmap.mmap(fd, max(least_bytes, usual_bytes)), fd)
        except BaseException:
            os.close(fd)
            raise

    def adopt(self, number: int, fd: int) -> None:
        """Take memory that an ended worker left behind, cleared of what that one wrote; the parent has it mapped."""
        try:
            self._free.append(SharedBuffer(number, map_cleared(fd), None))
        except OSError:
            self._forgotten.append(number)
        finally:
            os.close(fd)

    def lend(self, buffer: SharedBuffer) -> None:
        """The parent looks at the buffer from now on; nothing may be written into it."""
        buffer.descriptor_sent()
        self._lent[buffer.number] = buffer

    def take_back(self, numbers: list[int]) -> None:
        """The parent looks at these no longer; numbers that were forgotten are passed over."""
        self._free.extend(self._lent.pop(number) for number in numbers if number in self._lent)

    def forgotten(self) -> list[int]:
        """Numbers of buffers given up since this was last asked, for the parent to forget as well."""
        numbers, self._forgotten = self._forgotten, []
        return numbers

    def clear(self) -> None:
        """Give up all of them."""
        for buffer in (*self._free, *self._lent.values()):
            self._forget(buffer)
        self._free.clear()
        self._lent.clear()

    def _drop_unneeded(self) -> None:
        self._fewest_free = min(self._fewest_free, len(self._free))
        self._taken += 1
        if self._taken % _WINDOW == 0:
            for _ in range(self._fewest_free):
                self._forget(self._free.popleft())
            self._fewest_free = len(self._free)

    def _mapped_bytes(self) -> int:
        return sum(len(buffer) for buffer in (*self._free, *self._lent.values()))

    def _forget(self, buffer: SharedBuffer) -> None:
        self._forgotten.append(buffer.number)
        buffer.close()
