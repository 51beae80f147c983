"""Starting, asking and watching one decode worker. Knows nothing of plans or pixels."""

from __future__ import annotations

import os
import select
import socket
import time
from collections import deque
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any

from models.errors import PassingError
from tasks.decode_forking import FORKER, can_fork
from tasks.decode_program import ProgramWorker, WorkerProcess
from tasks.decode_protocol import Channel, ChannelClosedError
from tasks.frame_buffers import FrameBuffers, SampleOrReason
from tasks.settings import DecodeSettings
from tasks.spare_memory import MOST_HANDED_ON, SharedMemory, SpareMemory

_PROGRAM = Path(__file__).with_name("decode_worker.py")
_WITH_MEMORY = ("chunk", "index-part")
_TO_END_S = 5.0
"""A worker that has closed its channel has so long to end."""


class DecodeWorkerError(PassingError):
    """The decode worker crashed, hung, or failed at an order; another one may get further."""


class DecodeWorker:
    """One worker process; starts when made, ends when closed or when this process ends, however it ends."""

    def __init__(self, settings: DecodeSettings) -> None:
        self._settings = settings
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _started(theirs.fileno(), settings.memory_limit_bytes)
        self._channel = Channel(ours)
        self._buffers = FrameBuffers(settings.max_pixels)
        self._rested: deque[FrameBuffers] = deque(maxlen=1)
        """Those from before it was last given back, which only its end makes safe to hand on."""
        self.silent_s = 0.0
        """How long it was waited for since it last said anything."""
        self.started = False
        """Whether it has said anything yet."""

    @property
    def pid(self) -> int:
        """The worker's process id. Raises `ProcessLookupError` where it was never started."""
        return self._process.pid

    @property
    def cpu_s(self) -> float | None:
        """User and system time that it took; None until it is closed, and where nobody could tell."""
        return self._process.cpu_s

    def cpu_s_so_far(self) -> float:
        """User and system time that it took until now, by hundredths while it runs; 0 where nobody can tell."""
        if self._process.cpu_s is not None or not self.started:
            return self._process.cpu_s or 0.0
        try:
            facts = Path(f"/proc/{self.pid}/stat").read_bytes()
        except OSError:
            return 0.0
        user, system = facts.rpartition(b")")[2].split()[11:13]  # proc(5): fields 14 and 15, after the name in brackets
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    @property
    def hangs(self) -> bool:
        """Whether it was waited for too long."""
        return self.silent_s >= self._settings.stall_timeout_s

    def fileno(self) -> int:
        """The descriptor that can be read when the worker has said something."""
        return self._channel.socket.fileno()

    def ask(self, order: dict[str, Any], memory_fd: int | None = None) -> None:
        """Send an order. Raises `DecodeWorkerError`."""
        try:
            self._channel.send(order, memory_fd)
        except (ChannelClosedError, TimeoutError) as error:
            raise DecodeWorkerError(self._how_it_ended()) from error

    def answer(self) -> tuple[dict[str, Any], int | None]:
        """Wait for the worker's next message with its shared memory. Raises `DecodeWorkerError` if it dies or hangs."""
        while True:
            if (heard := self.hear()) is not None:
                return heard

    def hear(self) -> tuple[dict[str, Any], int | None] | None:
        """Take the worker's next message, waiting for it; None where it only says that it lives. Raises as `answer`."""
        if self.hangs:
            raise DecodeWorkerError(self._how_it_hung())
        try:
            message, fd = self._channel.receive(self._settings.stall_timeout_s)
        except TimeoutError as error:
            raise DecodeWorkerError(self._how_it_hung()) from error
        except ChannelClosedError as error:
            raise DecodeWorkerError(self._how_it_ended()) from error
        self.silent_s, self.started = 0.0, True
        said = message.get("say")
        if said == "failed":
            raise DecodeWorkerError(f"the decode worker failed ({message.get('error')})")
        if fd is not None and said not in _WITH_MEMORY:
            os.close(fd)
            fd = None
        return None if said == "alive" else (message, fd)

    def samples_of(self, message: dict[str, Any], fd: int | None) -> deque[SampleOrReason]:
        """The samples of a chunk, as `FrameBuffers` gives them. Raises `DecodeWorkerError`."""
        try:
            return self._buffers.samples_of(message, fd)
        except ChannelClosedError as error:
            raise DecodeWorkerError(str(error)) from error

    def credit(self) -> None:
        """Let the worker go on: a chunk was taken, and some buffers may be free again. Raises `DecodeWorkerError`."""
        self.ask({"do": "credit", "free": self._buffers.returned()})

    def adopt(self, memories: list[SharedMemory]) -> None:
        """Hand memory on to the worker, which has not opened a file yet. Raises `DecodeWorkerError`."""
        for number, memory in self._buffers.adopt(memories):
            self.ask({"do": "adopt", "buffer": number}, memory.fd)

    def rest(self) -> None:
        """Let the worker give up its memory while nothing is asked of it. Raises `DecodeWorkerError`."""
        self._buffers.forget_all_but(MOST_HANDED_ON)
        self._rested.append(self._buffers)
        self._buffers = FrameBuffers(self._settings.max_pixels)
        self.ask({"do": "rest"})

    def close(self, spare: SpareMemory | None = None) -> None:
        """End the worker at once; it has nothing to put in order. Its memory is left to `spare`."""
        self._process.end()
        self._channel.socket.close()
        if spare is not None:
            for buffers in (*self._rested, self._buffers):
                buffers.leave_to(spare)
        self._rested.clear()

    def __enter__(self) -> DecodeWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _how_it_hung(self) -> str:
        return f"the decode worker said nothing for {self._settings.stall_timeout_s:g} s and was ended"

    def _how_it_ended(self) -> str:
        how = self._process.wait(_TO_END_S)
        return "the decode worker closed its channel" if how is None else f"the decode worker ended {how}"


def _started(channel_fd: int, memory_limit_bytes: int) -> WorkerProcess:
    """A fork where the system has what that takes: starting the program costs more than a short video."""
    if can_fork():
        return FORKER.fork(channel_fd, memory_limit_bytes)
    return ProgramWorker(_PROGRAM, channel_fd, memory_limit_bytes)


def wait_for_any(workers: Collection[DecodeWorker], timeout_s: float) -> list[DecodeWorker]:
    """Wait until one of the workers can be heard, for at most `timeout_s`; also gives those that hang.

    Only time spent waiting here counts as a worker's silence, so a caller may take as long as it likes in between.
    """
    poll = select.poll()
    by_fd = {worker.fileno(): worker for worker in workers}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    began_s = time.monotonic()
    heard = {by_fd[fd] for fd, _ in poll.poll(timeout_s * 1000)}
    waited_s = time.monotonic() - began_s
    for worker in set(workers) - heard:
        worker.silent_s += waited_s
    return [worker for worker in workers if worker in heard or worker.hangs]
