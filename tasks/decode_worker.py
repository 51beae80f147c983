"""The decode worker, a process of its own: takes orders over a socket, hands back indexes and frames in shared memory.

It is forked by `decode_forker`, which has loaded this file; where the system can't do that, it is a program by itself.
Either is started by file path in Python's isolated mode and without `site`, so that it starts quickly and finds nothing
but what its parent names: av and numpy, and of ours only what imports nothing more. It has no credentials and no
network, opens local files only, and ends when its parent is gone.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path += [str(Path(__file__).resolve().parent.parent), *sys.argv[3:]]

import numpy as np

from tasks.decode_buffers import SharedBuffers
from tasks.decode_chunks import FrameChunks
from tasks.decode_confinement import be_killed_early, leave_network, set_limits
from tasks.decode_frames import Wanted, decode_samples
from tasks.decode_index import send_index
from tasks.decode_protocol import ALIVE_EVERY_S, Channel, ChannelClosedError, map_memory
from tasks.decode_video import LoggedErrors, RefusedError, VideoFile


class Worker:
    """Carries out orders until the channel closes."""

    def __init__(self, channel: Channel, memory_limit_bytes: int) -> None:
        self._channel = channel
        self._errors = LoggedErrors()
        self._video: VideoFile | None = None
        self._looked_little = False
        """Whether the video was opened for frames only, its codec being known."""
        self._chunks = FrameChunks(channel, SharedBuffers(memory_limit_bytes // 4))
        self._said_s = time.monotonic()

    def serve(self) -> None:
        """Say that this worker is there, then obey order after order; ends with `ChannelClosedError`."""
        self._channel.send({"say": "alive"})
        while True:
            order, fd = self._channel.receive()
            try:
                self._obey(order, fd)
            except RefusedError as refusal:
                self._channel.send({"say": "refused", "why": refusal.why, "details": refusal.details})
            except ChannelClosedError:
                raise
            except Exception as error:
                # Whatever broke, the parent is told and decides.
                self._channel.send({"say": "failed", "error": f"{type(error).__name__}: {error}"})

    def _obey(self, order: dict[str, Any], fd: int | None) -> None:
        if order["do"] == "credit":
            self._chunks.credit(order)
        elif order["do"] == "adopt" and fd is not None:
            self._chunks.adopt(order["buffer"], fd)
        elif order["do"] == "rest":
            self._chunks.rest()
        elif order["do"] == "index":
            self._index(order)
        elif order["do"] == "decode" and fd is not None:
            self._decode(order, fd)
        else:
            raise ValueError(f"no such order: {order['do']}")

    def _index(self, order: dict[str, Any]) -> None:
        send_index(self._open(order), self._channel, self._alive, counting=bool(order.get("counting")))

    def _decode(self, order: dict[str, Any], fd: int) -> None:
        count = order["samples"]
        memory = map_memory(fd, 17 * count)
        wanted = Wanted(
            np.frombuffer(memory, np.int64, count, 0),
            np.frombuffer(memory, np.int64, count, 8 * count),
            np.frombuffer(memory, np.bool_, count, 16 * count),
        )
        video = self._open(order)
        if order.get("size") is not None:
            video.shown_size = tuple(order["size"])
        self._chunks.expect(count)
        decode_samples(video, wanted, self._chunks, self._alive, counted=order["counted"])
        self._chunks.flush()
        self._channel.send({"say": "done"})

    def _open(self, order: dict[str, Any]) -> VideoFile:
        codec = order.get("codec")
        if self._video is None or self._video.path != order["path"] or (self._looked_little and codec is None):
            if self._video is not None:
                self._video.close()
                self._video = None
            limits = {"max_pixels": order["max_pixels"], "threads": order["threads"]}
            self._video, self._looked_little = (
                VideoFile(order["path"], self._errors, **limits, codec=codec),
                bool(codec),
            )
        return self._video

    def _alive(self) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s > ALIVE_EVERY_S:
            self._said_s = now_s
            self._chunks.flush_if_old()
            self._channel.send({"say": "alive"})


def end_with_parent(channel_fd: int, parent_pid: int) -> None:
    """End at once when the parent closes the channel or dies, even in the middle of a decoder's work.

    The kernel's own parent-death signal is of no use here: it fires when the thread that started us ends.
    """
    poll = select.poll()
    poll.register(channel_fd, 0)

    def watch() -> None:
        while os.getppid() == parent_pid:
            if any(happened & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, happened in poll.poll(1000)):
                break
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def main(channel_fd: int, memory_limit_bytes: int, parent_pid: int) -> None:
    """Serve who is at the other end of `channel_fd`, as a child of `parent_pid`; the network was left before."""
    set_limits(memory_limit_bytes)
    be_killed_early()
    # A frame that came to refer to itself is freed by the collector alone (in PyAV, reading `side_data` does that); at
    # Python's own pace it would come after hundreds of frames.
    gc.freeze()
    gc.set_threshold(20, 2, 2)
    end_with_parent(channel_fd, parent_pid)
    with contextlib.suppress(ChannelClosedError), socket.socket(fileno=channel_fd) as channel_socket:
        Worker(Channel(channel_socket), memory_limit_bytes).serve()


if __name__ == "__main__":
    leave_network()
    main(int(sys.argv[1]), int(sys.argv[2]), os.getppid())
