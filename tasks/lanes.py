"""Threads that work on batches side by side, each on one at a time. Knows nothing of what the work is."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Generic, TypeVar

Work = TypeVar("Work")
_END: Final = object()


class Lanes(Generic[Work]):
    """So many threads, and as many pieces of work waiting for them at most.

    After an error in one of them no more work is done; it is raised where work is put in or the block ends.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[Work], None],
        *,
        waited: Callable[[float], None] = lambda seconds: None,  # noqa: ARG005
    ) -> None:
        """Start `count` threads; `waited` is told how many seconds each of them had nothing to do before a piece."""
        self._work, self._waited = work, waited
        self._queue: queue.Queue[object] = queue.Queue(count)
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(self._run,), name=f"lane-{number}")
            for number in range(count)
        ]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def put(self, work: Work) -> None:
        """Wait for room and put in a piece of work. Raises what an earlier piece raised."""
        self._check()
        self._queue.put(work)
        self._check()

    def _run(self) -> None:
        while True:
            before_s = time.perf_counter()
            work = self._queue.get()
            if work is _END:
                return
            self._waited(time.perf_counter() - before_s)
            if self._error is None:
                try:
                    self._work(work)  # type: ignore[arg-type]
                except BaseException as error:
                    self._error = error
            del work  # a batch's frames must not live on until the next one comes

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Lanes[Work]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait until all that was put in is done, then raise its error unless the block raised one."""
        for _ in self._threads:
            self._queue.put(_END)
        for thread in self._threads:
            thread.join()
        own, self._error = self._error, None
        try:
            if error is None and own is not None:
                raise own
        finally:
            del own  # or the error would refer to itself by this frame, and hold what lanes held


def put_all(lanes: Lanes[Work], works: Iterable[Work]) -> None:
    """Put in each of them, and keep hold of none."""
    for work in works:
        lanes.put(work)
