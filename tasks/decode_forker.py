"""What decode workers are forked from: a program that loads their libraries once and opens no file.

Loading numpy and av costs far more than a short video does, and every video has a worker of its own. So this process
loads them, and each worker is a fork of it that confines itself before it obeys. It has one thread, since a fork of
several may find their locks taken for ever; it never sees a video, so that no worker inherits anything of another's.
What workers do share is where libraries lie in memory, which a program that is started anew draws afresh.

Orders come over a socket that keeps messages apart, each with the socket that it is answered on:
`{"do": "fork", "memory_limit_bytes": …}` brings the worker's end of its channel too and is answered by the process id
with a descriptor of the process, and when the worker has ended by its exit status and CPU seconds; `{"do": "cpu"}` is
answered by the CPU seconds of this process and of all workers that have ended. It ends with its parent, and its workers
with it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__":
    sys.path += [str(Path(__file__).resolve().parent.parent), *sys.argv[2:]]

from tasks import decode_worker
from tasks.decode_confinement import end_with_forker, leave_network

_LONGEST_ORDER = 4096
_LOOK_FOR_PARENT_MS = 1000


@dataclass
class _Running:
    """A worker that has not ended, and the socket on which its end is told."""

    pid: int
    answers: socket.socket


class Forker:
    """Obeys until the parent is gone."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: dict[int, _Running] = {}
        """By their process descriptors, which can be read when they have ended."""
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def serve(self) -> None:
        """Fork workers and tell how they ended; returns when the parent is gone, however it ended."""
        parent_pid = os.getppid()
        while os.getppid() == parent_pid:
            for fd, _ in self._poll.poll(_LOOK_FOR_PARENT_MS):
                if fd in self._workers:
                    self._tell_end(fd)
                elif not self._obey():
                    return

    def end_workers(self) -> None:
        """Kill those that still run, and wait for them."""
        for worker in self._workers.values():
            os.kill(worker.pid, signal.SIGKILL)
        for worker in self._workers.values():
            os.waitpid(worker.pid, 0)

    def _obey(self) -> bool:
        """Take one order; False where the parent has closed its end."""
        try:
            data, fds, _, _ = socket.recv_fds(self._control, _LONGEST_ORDER, 2, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return False
        if not data:
            return False
        order = json.loads(data)
        answers = socket.socket(fileno=fds[0])
        if order["do"] == "fork":
            self._fork(answers, fds[1], order["memory_limit_bytes"])
        else:
            with answers:
                _tell(answers, {"cpu_s": _cpu_s(resource.RUSAGE_SELF) + _cpu_s(resource.RUSAGE_CHILDREN)})
        return True

    def _fork(self, answers: socket.socket, channel_fd: int, memory_limit_bytes: int) -> None:
        forker_pid = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(channel_fd)
            with answers:
                _tell(answers, {"unforked": str(error)})
            return
        if pid == 0:
            self._let_go()
            answers.close()
            _be_worker(channel_fd, memory_limit_bytes, forker_pid)
        os.close(channel_fd)
        process_fd = os.pidfd_open(pid)
        self._workers[process_fd] = _Running(pid, answers)
        self._poll.register(process_fd, select.POLLIN)
        _tell(answers, {"pid": pid}, process_fd)

    def _let_go(self) -> None:
        """Close, in a worker, what belongs to this process and to other workers."""
        self._control.close()
        for process_fd, worker in self._workers.items():
            os.close(process_fd)
            worker.answers.close()

    def _tell_end(self, process_fd: int) -> None:
        self._poll.unregister(process_fd)
        worker = self._workers.pop(process_fd)
        os.close(process_fd)
        _, status, usage = os.wait4(worker.pid, 0)
        with worker.answers:
            cpu_s = usage.ru_utime + usage.ru_stime
            _tell(worker.answers, {"status": os.waitstatus_to_exitcode(status), "cpu_s": cpu_s})


def _be_worker(channel_fd: int, memory_limit_bytes: int, forker_pid: int) -> NoReturn:
    status = 1
    try:
        os.setsid()
        end_with_forker(forker_pid)
        decode_worker.main(channel_fd, memory_limit_bytes, forker_pid)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _cpu_s(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def _tell(answers: socket.socket, message: dict[str, Any], fd: int | None = None) -> None:
    # Who asked may be gone, or listen no longer.
    with contextlib.suppress(OSError):
        socket.send_fds(answers, [json.dumps(message).encode()], [] if fd is None else [fd])


def main(control_fd: int) -> NoReturn:
    """Serve the parent at the other end of `control_fd`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Its workers are then where nothing can be reached either; a namespace for each would cost a millisecond.
    leave_network()
    # What lives now stays as it is: a collection that visited it in a worker would copy its pages.
    gc.collect()
    gc.freeze()
    forker = Forker(socket.socket(fileno=control_fd))
    try:
        forker.serve()
    finally:
        forker.end_workers()
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
