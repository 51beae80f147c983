"""How parent and decode worker speak: JSON messages over a socket pair, arrays and frames in shared memory beside them.

Shared memory is an anonymous file that travels as a descriptor, so nothing is left behind however either side dies.
Standard library only: the worker imports this, and so does its parent.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import socket
import struct
from dataclasses import dataclass
from typing import Any

CHUNK_BYTES = 16 * 2**20
"""Frames are handed over in chunks of about this size, of at least one frame."""
CHUNKS_AHEAD = 2
"""Chunks of frames that the worker may have sent and the parent not yet taken."""
INDEX_FLAG_BITS = 1
"""An index travels as times shifted left by so many bits, so that it is sorted together with its flags."""
INDEX_LEADING = 1
"""The flag of a frame that is decoded after a keyframe and shown before it."""
ALIVE_EVERY_S = 1.0
"""A working worker says so at least this often."""
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_HEADER = struct.Struct("!I")
_LONGEST_MESSAGE = 2**20
_ZEROES = bytes(2**16)
_SIZE_SEALS = getattr(fcntl, "F_SEAL_SHRINK", 0) | getattr(fcntl, "F_SEAL_GROW", 0)
_READ_ONLY_SEALS = _SIZE_SEALS | getattr(fcntl, "F_SEAL_WRITE", 0)


class ChannelClosedError(ConnectionError):
    """The other side is gone, or what it sends is no message."""


@dataclass
class Channel:
    """One end of the socket pair."""

    socket: socket.socket

    def send(self, message: dict[str, Any], memory_fd: int | None = None) -> None:
        """Send a message, with a shared memory's descriptor. Raises `ChannelClosedError`, or `TimeoutError`."""
        body = json.dumps(message, separators=(",", ":")).encode()
        data = _HEADER.pack(len(body)) + body
        try:
            sent = socket.send_fds(self.socket, [data], [] if memory_fd is None else [memory_fd])
            self.socket.sendall(data[sent:])
        except TimeoutError:
            raise
        except OSError as error:
            raise ChannelClosedError(str(error)) from error

    def receive(self, timeout_s: float | None = None) -> tuple[dict[str, Any], int | None]:
        """Wait for a message; returns it with its shared memory's descriptor, which the caller then owns."""
        self.socket.settimeout(timeout_s)
        fds: list[int] = []
        try:
            header, fds, _, _ = socket.recv_fds(self.socket, _HEADER.size, 1, _CLOSE_ON_EXEC)
            header += self._read(_HEADER.size - len(header)) if header else b""
            if len(header) < _HEADER.size:
                raise ChannelClosedError("the other side closed the channel")
            (length,) = _HEADER.unpack(header)
            if length > _LONGEST_MESSAGE:
                raise ChannelClosedError(f"a message of {length} bytes is none of ours")
            message = json.loads(self._read(length))
            if not isinstance(message, dict):
                raise ChannelClosedError("what came is no message")
        except BaseException as error:
            for fd in fds:
                os.close(fd)
            if isinstance(error, (OSError, ValueError, RecursionError)) and not isinstance(error, TimeoutError):
                raise ChannelClosedError(str(error)) from error
            raise
        return message, (fds[0] if fds else None)

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise ChannelClosedError("the other side closed the channel in the middle of a message")
            data += part
        return data


def new_memory(size_bytes: int) -> int:
    """Make shared memory of `size_bytes` zeroes and return its descriptor."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("reelmill", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, max(1, size_bytes))
    return fd


def memory_of(data: bytes) -> int:
    """Make shared memory that holds `data` and return its descriptor."""
    fd = new_memory(len(data))
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], done)
    return fd


def seal(fd: int) -> None:
    """Let nobody change or shorten the memory any more; the last writable mapping must be gone."""
    _add_seals(fd, _READ_ONLY_SEALS)


def seal_size(fd: int) -> None:
    """Let nobody shorten the memory any more, under whose reader it would then fall away (SIGBUS)."""
    _add_seals(fd, _SIZE_SEALS)


def _add_seals(fd: int, seals: int) -> None:
    if hasattr(fcntl, "F_ADD_SEALS") and hasattr(os, "memfd_create"):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)


def map_memory(fd: int, size_bytes: int) -> mmap.mmap:
    """Map sealed memory to read and close its descriptor. Raises `ChannelClosedError` where it is not as promised."""
    try:
        return _map_sealed(fd, size_bytes, _READ_ONLY_SEALS, mmap.MAP_PRIVATE)
    finally:
        os.close(fd)


def map_buffer(fd: int) -> mmap.mmap:
    """Map a buffer that the worker writes to again, to read; its descriptor stays. Raises as `map_memory` does."""
    return _map_sealed(fd, os.fstat(fd).st_size, _SIZE_SEALS, mmap.MAP_SHARED)


def map_cleared(fd: int) -> mmap.mmap:
    """Map a buffer that was handed on, to write, as zeroes; its descriptor stays. Raises `OSError`."""
    memory = mmap.mmap(fd, os.fstat(fd).st_size, flags=mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0))
    while left := len(memory) - memory.tell():
        memory.write(_ZEROES[:left])
    return memory


def is_only_sized(fd: int) -> bool:
    """Whether the memory can still be written to, as `new_memory` made it and `seal_size` left it."""
    if not (hasattr(fcntl, "F_GET_SEALS") and hasattr(os, "memfd_create")):
        return True
    return fcntl.fcntl(fd, fcntl.F_GET_SEALS) == _SIZE_SEALS


def _map_sealed(fd: int, size_bytes: int, seals: int, flags: int) -> mmap.mmap:
    try:
        if os.fstat(fd).st_size < max(1, size_bytes):
            raise ChannelClosedError("the shared memory is shorter than its message says")
        if hasattr(fcntl, "F_GET_SEALS") and hasattr(os, "memfd_create"):
            sealed = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
            if sealed & seals != seals:
                raise ChannelClosedError("the shared memory can still be changed by the worker")
        return mmap.mmap(fd, max(1, size_bytes), flags=flags, prot=mmap.PROT_READ)
    except OSError as error:
        raise ChannelClosedError(str(error)) from error
