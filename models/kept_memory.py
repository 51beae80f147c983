"""Memory that a batch gave back stays with the process for the next batch, instead of being asked for again.

A network's intermediate results are large: the C library takes each from the system and gives it back, and the system
clears every page anew. For EfficientNet on 1080p frames that was two fifths of the time. What is kept is no more than
what a batch takes at its peak. Known for glibc; other C libraries are left as they are.
"""

from __future__ import annotations

import ctypes
import platform
from functools import lru_cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""What `mallopt` calls them (malloc.h)."""
_NOTHING_IS_SO_LARGE_BYTES = 2**31 - 1


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Have the process keep what it frees; says whether its C library took that on."""
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(library.mallopt(which, _NOTHING_IS_SO_LARGE_BYTES) == 1 for which in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
