"""One extraction feeding every model: bounded, back-pressured, and able to lose a reader without losing the rest.

The stream knows nothing of video files and models. It is an ordinary opaque object on purpose: Prefect walks the
parameters of a task, and must find nothing to walk in here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from models.errors import PassingError, PermanentError
from tasks.decoding import ExtractedFrame, SegmentEnd
from tasks.kept_errors import kept

StreamItem = ExtractedFrame | SegmentEnd
Place = tuple[int, int]
"""A share of the run, which is one job's, and a segment of that job's plan."""


class ExtractionFailedError(PassingError):
    """The frames stopped coming; what the models have finished by then stands, and trying again may give the rest."""


class ExtractionRefusedError(PermanentError):
    """The frames stopped coming for a reason that stays."""


_OPEN: Final = "open"
_FINISHED: Final = "finished"


class FrameStream:
    """Frames go in once and come out once for each reader that wants their segment.

    At most `capacity` frames wait for any reader; the slowest one sets the pace. A reader that ends early (detaches)
    holds nobody up; when all have, `publish` says so and extraction can stop. Several threads may publish.
    """

    def __init__(self, wanted: dict[str, frozenset[Place]], *, capacity: int) -> None:
        """`wanted` maps each reader to the segments it still needs; `capacity` is in frames, at least 1."""
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}; it must be at least 1")
        self._wanted = dict(wanted)
        self._capacity = capacity
        self._waiting: dict[str, deque[tuple[int, StreamItem]]] = {reader: deque() for reader in wanted}
        self._condition = threading.Condition()
        self._state = _OPEN
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        waiting = {reader: len(items) for reader, items in self._waiting.items()}
        return f"FrameStream(capacity={self._capacity}, waiting={waiting}, {self._state})"

    def segments(self, share: int) -> list[int]:
        """Segments of a share that at least one attached reader still needs, in order."""
        with self._condition:
            needed: set[Place] = set().union(*(self._wanted[reader] for reader in self._waiting))
        return sorted(segment for of, segment in needed if of == share)

    def publish(self, share: int, item: StreamItem) -> bool:
        """Hand `item` to every reader that wants its segment, waiting for room; False when nobody reads any more."""
        place = (share, item.segment)
        with self._condition:
            self._condition.wait_for(lambda: all(self._has_room(reader) for reader in self._readers_of(place)))
            for reader in self._readers_of(place):
                self._waiting[reader].append((share, item))
            self._condition.notify_all()
            return bool(self._waiting)

    def finish(self, error: BaseException | None = None) -> None:
        """Say that no more comes: readers end after what waits for them, with `error` if there was one."""
        with self._condition:
            self._state, self._error = _FINISHED, None if error is None else kept(error)
            self._condition.notify_all()

    def read(self, reader: str) -> Iterator[tuple[int, StreamItem]]:
        """Yield what `reader` wants with its share, in the order of publishing; detaches however the reading ends.

        Raises `ExtractionFailedError` or `ExtractionRefusedError` where extraction failed.
        """
        try:
            while (item := self._next(reader)) is not None:
                yield item
        finally:
            self.detach(reader)

    def detach(self, reader: str) -> None:
        """Forget `reader` and what waits for it; others go on."""
        with self._condition:
            self._waiting.pop(reader, None)
            self._condition.notify_all()

    def _readers_of(self, place: Place) -> Sequence[str]:
        return [reader for reader in self._waiting if place in self._wanted[reader]]

    def _has_room(self, reader: str) -> bool:
        return len(self._waiting[reader]) < self._capacity

    def _next(self, reader: str) -> tuple[int, StreamItem] | None:
        with self._condition:
            items = self._waiting[reader]
            self._condition.wait_for(lambda: items or self._state == _FINISHED)
            if items:
                item = items.popleft()
                self._condition.notify_all()
                return item
            if self._error is not None:
                raise extraction_error(self._error) from self._error
            return None


def extraction_error(error: BaseException | None) -> ExtractionFailedError | ExtractionRefusedError:
    """Say to a model that its frames stopped coming because of `error`."""
    error_class = ExtractionRefusedError if isinstance(error, PermanentError) else ExtractionFailedError
    return error_class(f"extraction ended early: {error}")
