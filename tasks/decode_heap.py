"""How the C library's heap is used: tables apart from frames, so that both are given back or used again.

glibc takes ever larger blocks from its heap once large ones were freed. That suits frames, whose pages are then used
again, and not the tables of samples that a demuxer grows while a file is opened: moved about in the heap, those of a
ten-hour mp4 took 115 bytes a sample instead of 79 the second time. Other C libraries are left as they are.
Runs in the decode worker only: imports the standard library, and nothing of ours.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""What `mallopt` calls them (malloc.h)."""
_TABLES_BYTES = 2**20
_FRAMES_BYTES = 32 * 2**20
"""The largest that glibc allows; RGB of 3840×2160 has 24.9 million bytes."""
_KEPT_BYTES = 256 * 2**20


@contextmanager
def tables_apart() -> Iterator[None]:
    """Give each large block that is taken meanwhile a mapping of its own, which goes when it is freed."""
    _set(_MMAP_THRESHOLD, _TABLES_BYTES)
    try:
        yield
    finally:
        _set(_MMAP_THRESHOLD, _FRAMES_BYTES)
        _set(_TRIM_THRESHOLD, _KEPT_BYTES)


def _set(what: int, size_bytes: int) -> None:
    try:
        ctypes.CDLL(None).mallopt(what, size_bytes)
    except (OSError, AttributeError):
        return
