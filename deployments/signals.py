"""End in order on SIGINT and SIGTERM alike, and without waiting for ever."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_SHOW_CURSOR = "\x1b[?25h"


@dataclass
class Interruption:
    """What is left to do when the block cannot be left in time."""

    last_acts: list[Callable[[], None]] = field(default_factory=list)

    def finally_do(self, act: Callable[[], None]) -> None:
        """Have `act` called, from another thread, before the process ends without unwinding."""
        self.last_acts.append(act)

    def end_process(self) -> None:
        """Do the last acts and end. Shards are atomic and jobs idempotent: nothing that counts is cut in half."""
        for act in reversed(self.last_acts):
            act()
        if sys.stderr.isatty():
            sys.stderr.write(f"{_SHOW_CURSOR}\n")
        sys.stderr.write("reelmill: interrupted.\n")
        sys.stderr.flush()
        os._exit(INTERRUPTED)


@contextmanager
def signals_interrupt(*, patience_s: float | None = None) -> Iterator[Interruption]:
    """Let SIGINT and SIGTERM raise `KeyboardInterrupt` once; more of them are ignored while the block is being left.

    Threads that infer cannot be interrupted, and the block's end waits for them: after `patience_s` seconds the process
    ends all the same. `None` waits for as long as it takes.
    """
    interruption = Interruption()
    timers: list[threading.Timer] = []

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if patience_s is not None:
            timers.append(threading.Timer(patience_s, interruption.end_process))
            timers[-1].daemon = True
            timers[-1].start()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def next_signal() -> Iterator[threading.Event]:
    """Let SIGINT and SIGTERM set the event, and nothing else, while the block runs; for a second Ctrl-C."""
    told = threading.Event()
    before = {
        number: signal.signal(number, lambda _number, _frame: told.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
