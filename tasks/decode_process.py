"""Starting, asking and watching one decode worker. Knows nothing of plans or pixels."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from models.errors import PassingError
from tasks.decode_protocol import Channel, ChannelClosedError
from tasks.frame_buffers import FrameBuffers
from tasks.settings import DecodeSettings

_PROGRAM = Path(__file__).with_name("decode_worker.py")
_PASSED_ON = ("LD_LIBRARY_PATH", "TMPDIR")


class DecodeWorkerError(PassingError):
    """The decode worker crashed, hung, or failed at an order; another one may get further."""


class DecodeWorker:
    """One worker process; starts when made, ends when closed or when this process ends, however it ends."""

    def __init__(self, settings: DecodeSettings) -> None:
        self._settings = settings
        ours, theirs = socket.socketpair()
        environment = {"LC_ALL": "C.UTF-8", "PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1"}
        environment.update({name: os.environ[name] for name in _PASSED_ON if name in os.environ})
        command = [sys.executable, "-I", str(_PROGRAM), str(theirs.fileno()), str(settings.memory_limit_bytes)]
        with theirs:
            self._process = subprocess.Popen(
                command,
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        self._channel = Channel(ours)
        self.buffers = FrameBuffers(settings.max_pixels)
        """What the worker's chunks lie in."""

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def ask(self, order: dict[str, Any], memory_fd: int | None = None) -> None:
        """Send an order. Raises `DecodeWorkerError`."""
        try:
            self._channel.send(order, memory_fd)
        except (ChannelClosedError, TimeoutError) as error:
            raise DecodeWorkerError(self._how_it_ended()) from error

    def answer(self) -> tuple[dict[str, Any], int | None]:
        """Wait for the worker's next message with its shared memory. Raises `DecodeWorkerError` if it dies or hangs."""
        while True:
            try:
                message, fd = self._channel.receive(self._settings.stall_timeout_s)
            except TimeoutError as error:
                raise DecodeWorkerError(
                    f"the decode worker said nothing for {self._settings.stall_timeout_s:g} s and was ended"
                ) from error
            except ChannelClosedError as error:
                raise DecodeWorkerError(self._how_it_ended()) from error
            if message["say"] == "failed":
                raise DecodeWorkerError(f"the decode worker failed ({message['error']})")
            if message["say"] != "alive":
                return message, fd

    def close(self) -> None:
        """End the worker at once; it has nothing to put in order."""
        self._process.kill()
        self._process.wait()
        self._channel.socket.close()

    def __enter__(self) -> DecodeWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _how_it_ended(self) -> str:
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "the decode worker closed its channel"
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return f"the decode worker ended {how}"
