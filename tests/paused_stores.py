"""A real store one of whose calls waits, so that a test decides what happens at that very point."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tasks.store import LocalStore, S3Store, Store

_LONGEST_S = 60.0


class Pause:
    """Where the first fitting call of a store stops, until it is told to go on."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._go_on = threading.Event()

    def stop(self) -> None:
        """Called by the store; later calls pass."""
        if not self._reached.is_set():
            self._reached.set()
            assert self._go_on.wait(_LONGEST_S), "the test never let the store go on"

    def wait(self) -> None:
        """Wait until the call is there."""
        assert self._reached.wait(_LONGEST_S), "the store was never called so"

    def go_on(self) -> None:
        """Let the call happen."""
        self._go_on.set()


def pausing(store: Store, method: str, word: str) -> tuple[Store, Pause]:
    """The same store opened again; its first call of `method` whose arguments hold `word` waits before it is made."""
    pause = Pause()

    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        if word in repr(arguments):
            pause.stop()
        return getattr(super(paused, self), method)(*arguments, **options)

    paused: Any
    if isinstance(store, LocalStore):
        paused = type("PausingLocalStore", (LocalStore,), {method: call})
        return paused(store.root), pause
    assert isinstance(store, S3Store)
    paused = type("PausingS3Store", (S3Store,), {method: call})
    return paused(store.uri, store.settings), pause


@contextmanager
def beside(work: Callable[[], Any]) -> Iterator[Future[Any]]:
    """Run `work` in a thread; the future gives what it returned or raised."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)
