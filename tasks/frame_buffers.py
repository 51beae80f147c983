"""One decode worker's shared buffers as its parent sees them: mapped once, checked, lent as read-only arrays.

What the worker says of them is not trusted: it may have been taken over by the file that it decodes.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.decode_protocol import ChannelClosedError
from tasks.spare_memory import SharedMemory, SpareMemory

SampleOrReason = tuple[int, NDArray[np.uint8] | str]


class FrameBuffers:
    """Turns chunk messages into arrays, and learns when no array over a buffer lives any more."""

    def __init__(self, max_pixels: int) -> None:
        """`max_pixels`: frames larger than this are none that the worker was allowed to give."""
        self._max_pixels = max_pixels
        self._memories: dict[int, SharedMemory] = {}
        self._lent: set[int] = set()
        self._returned: deque[int] = deque()
        self._spare: SpareMemory | None = None

    def samples_of(self, message: dict[str, Any], fd: int | None) -> deque[SampleOrReason]:
        """The samples of a chunk: number and `(height, width, 3)` read-only pixels, or the reason why there are none.

        The buffer counts as looked at until the last array over it is gone. Raises `ChannelClosedError` where the
        message doesn't fit the memory.
        """
        memory = None if fd is None else SharedMemory(fd)
        try:
            for number in message["forgotten"]:
                self._memories.pop(number, None)
            whole = self._lend(message["buffer"], memory) if "buffer" in message else None
            return deque(self._sample(entry, whole) for entry in message["frames"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ChannelClosedError(f"the decode worker sent a chunk that is none ({error})") from error

    def returned(self) -> list[int]:
        """Numbers of the buffers that nobody looks at any more, since this was last asked."""
        numbers = []
        while self._returned:
            numbers.append(self._returned.popleft())
        self._lent.difference_update(numbers)
        return numbers

    def adopt(self, memories: list[SharedMemory]) -> list[tuple[int, SharedMemory]]:
        """Take memory that the worker is to be handed; gives its numbers, which are none of the worker's own."""
        numbered = [(-1 - place, memory) for place, memory in enumerate(memories)]
        self._memories.update(numbered)
        return numbered

    def forget_all_but(self, count: int) -> None:
        """Let go of all buffers but so many; arrays over them live on."""
        for number in list(self._memories)[count:]:
            self._memories.pop(number, None)

    def leave_to(self, spare: SpareMemory) -> None:
        """Hand all buffers on when their worker is gone: now, or when the last array over one is."""
        self._spare = spare
        for number in list(self._memories):
            if number not in self._lent:
                self._hand_on(number)
        while self._returned:
            self._hand_on(self._returned.popleft())

    def _let_go(self, number: int) -> None:
        """Take note that no array over the buffer lives; called in any thread, at any time."""
        if self._spare is None:
            self._returned.append(number)
        if self._spare is not None:  # perhaps only since a moment ago
            self._hand_on(number)

    def _hand_on(self, number: int) -> None:
        memory = self._memories.pop(number, None)
        if memory is not None and self._spare is not None:
            self._spare.add(memory)

    def _lend(self, number: int, memory: SharedMemory | None) -> NDArray[np.uint8]:
        if memory is not None:
            if number in self._memories:
                raise ValueError(f"buffer {number} came twice")
            self._memories[number] = memory
        if number in self._lent:
            raise ValueError(f"buffer {number} is still looked at")
        whole: NDArray[np.uint8] = np.frombuffer(self._memories[number].mapped, np.uint8)
        self._lent.add(number)
        # All views refer to `whole` itself, however they were made. The callback may run in any thread.
        weakref.finalize(whole, self._let_go, number).atexit = False
        return whole

    def _sample(self, entry: list[Any], whole: NDArray[np.uint8] | None) -> SampleOrReason:
        if len(entry) == 2:
            return int(entry[0]), str(entry[1])
        sample, offset, height, width = map(int, entry)
        size = math.prod((height, width, 3))
        if whole is None or min(offset, height - 1, width - 1) < 0 or offset + size > len(whole):
            raise ValueError(f"a frame of {height}×{width} at {offset} lies outside of its buffer")
        if height * width > self._max_pixels:
            raise ValueError(f"a frame of {height}×{width} has more than {self._max_pixels} pixels")
        return sample, whole[offset : offset + size].reshape(height, width, 3)
