"""Decode workers forked from one process that has their libraries loaded: the parent's side of `decode_forker`.

That process is started with the first worker, shared by all threads of this process, and ends with it. Where it was
killed, the workers that it forked end too, and the next one starts another. A fork of this process starts its own.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tasks.decode_program import how_it_ended, start_program

_PROGRAM = Path(__file__).with_name("decode_forker.py")
_LONGEST_ANSWER = 4096
_PATIENCE_S = 5.0
"""Forking, killing and reaping take milliseconds, loading the libraries a few tenths of a second."""
_LOADING_S = 60.0
"""Nothing takes so long to load its libraries, not from a network's disk either."""
_WITH_FORKER = "with the process that it was forked from"


@cache
def can_fork() -> bool:
    """Whether this system has what forking takes: processes and sockets that travel as descriptors (Linux 5.3)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


class ForkedWorker:
    """A decode worker that is a grandchild of this process."""

    def __init__(self, answers: socket.socket, give_up_forker: Callable[[], None]) -> None:
        self._answers = answers
        self._give_up_forker = give_up_forker
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._process_fd: int | None = None
        self._ended: str | None = None
        self.cpu_s: float | None = None

    @property
    def pid(self) -> int:
        """Its process id. Raises `ProcessLookupError` where it was never started."""
        if not self._is_known() or self._pid is None:
            raise ProcessLookupError("the decode worker was not started")
        return self._pid

    def wait(self, timeout_s: float) -> str | None:
        """How it ended; None where it has not within `timeout_s`."""
        give_up_s = time.monotonic() + timeout_s
        while self._ended is None and (left_s := give_up_s - time.monotonic()) > 0:
            self._hear(left_s)
        return self._ended

    def end(self) -> None:
        """Kill it and wait until it is gone. A forker that doesn't answer is killed, and all its workers with it."""
        if self._is_known():
            self._kill()
            self.wait(_PATIENCE_S)
        if self._ended in (None, _WITH_FORKER):
            self._ended = _WITH_FORKER
            self._give_up_forker()
        with self._lock:
            self._answers.close()
            if self._process_fd is not None:
                _wait_for(self._process_fd)
                os.close(self._process_fd)
                self._process_fd = None

    def _is_known(self) -> bool:
        """Whether it is known by now which process it is, or was."""
        if self._pid is None and self._ended is None:
            self._hear(_PATIENCE_S)
        return self._pid is not None

    def _kill(self) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._process_fd is not None:
                signal.pidfd_send_signal(self._process_fd, signal.SIGKILL)

    def _hear(self, timeout_s: float) -> None:
        """Take in what the forker says next; two threads may want to know it."""
        with self._lock:
            if self._ended is not None:
                return
            message, fd = _answer(self._answers, timeout_s)
            if message is None:
                return
            if "pid" in message:
                self._pid, self._process_fd = message["pid"], fd
            elif "status" in message:
                self._ended, self.cpu_s = how_it_ended(message["status"]), message["cpu_s"]
            elif "unforked" in message:
                self._ended = f"before it was started ({message['unforked']})"
            else:
                self._ended = _WITH_FORKER


class Forker:
    """The process that workers are forked from; starts when made."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_PATIENCE_S)
        with theirs:
            self._process = start_program(_PROGRAM, theirs.fileno())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, order: dict[str, Any], *fds: int) -> socket.socket:
        """Send an order with descriptors; gives the socket that it is answered on. Raises `OSError`."""
        answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                socket.send_fds(self._control, [json.dumps(order).encode()], [theirs.fileno(), *fds])
            except BaseException:
                answers.close()
                raise
        return answers

    def end(self) -> None:
        """End it; it ends its workers and takes note of what they took."""
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE_S)
        self.kill()

    def kill(self) -> None:
        """End it at once, stopped or dead as it may be; the kernel ends its workers."""
        self._control.close()
        self._process.kill()
        self._process.wait()

    def disown(self) -> None:
        """Forget it, in a fork of the process that it belongs to."""
        self._control.close()
        self._process.returncode = 0


class SharedForker:
    """The forker of this process: started when needed, replaced when lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forker: Forker | None = None

    @property
    def pid(self) -> int | None:
        """Its process id; None where there is none."""
        return None if self._forker is None else self._forker.pid

    def fork(self, channel_fd: int, memory_limit_bytes: int) -> ForkedWorker:
        """Fork a worker that serves the other end of a channel. Raises `OSError`."""
        order = {"do": "fork", "memory_limit_bytes": memory_limit_bytes}
        forker, answers = self._ask(order, channel_fd)
        return ForkedWorker(answers, lambda: self._give_up(forker))

    def prepare(self) -> None:
        """Start it and wait until it has loaded its libraries. Raises `OSError` where it doesn't."""
        self._cpu_s(_LOADING_S)

    def cpu_s(self) -> float:
        """CPU seconds of the forker, its start included, and of its workers that have ended; 0 where there is none.

        Raises `OSError` where it doesn't answer.
        """
        return 0.0 if self._forker is None else self._cpu_s(_PATIENCE_S)

    def end(self) -> None:
        """End it and its workers; another use starts another."""
        with self._lock:
            forker, self._forker = self._forker, None
        if forker is not None:
            forker.end()

    def disown(self) -> None:
        """In a fork of this process: start one of our own when needed. Another thread may have held the lock."""
        forker, self._forker = self._forker, None
        self._lock = threading.Lock()
        if forker is not None:
            forker.disown()

    def _cpu_s(self, timeout_s: float) -> float:
        forker, answers = self._ask({"do": "cpu"})
        with answers:
            message, _ = _answer(answers, timeout_s)
        if not message:
            self._give_up(forker)
            raise OSError("the process that decode workers are forked from does not answer")
        return float(message["cpu_s"])

    def _ask(self, order: dict[str, Any], *fds: int) -> tuple[Forker, socket.socket]:
        with self._lock:
            if self._forker is not None:
                try:
                    return self._forker, self._forker.ask(order, *fds)
                except OSError:
                    self._forker.kill()
            self._forker = Forker()
            return self._forker, self._forker.ask(order, *fds)

    def _give_up(self, forker: Forker) -> None:
        with self._lock:
            if self._forker is forker:
                self._forker = None
        forker.kill()


def _answer(answers: socket.socket, timeout_s: float) -> tuple[dict[str, Any] | None, int | None]:
    """The next message and its descriptor; None where none came in time, an empty one where the forker is gone."""
    try:
        answers.settimeout(timeout_s)
        data, fds, _, _ = socket.recv_fds(answers, _LONGEST_ANSWER, 1, socket.MSG_CMSG_CLOEXEC)
    except TimeoutError:
        return None, None
    except OSError:
        return {}, None
    return (json.loads(data) if data else {}), (fds[0] if fds else None)


def _wait_for(process_fd: int) -> None:
    poll = select.poll()
    poll.register(process_fd, select.POLLIN)
    poll.poll(_PATIENCE_S * 1000)


FORKER = SharedForker()
atexit.register(FORKER.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=FORKER.disown)
