"""What a decode worker gives up before it opens a file: memory without end, core dumps, descriptors, the network.

Runs in the worker only, before it has threads: imports the standard library, and nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import resource

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def set_limits(memory_limit_bytes: int) -> None:
    """Bound what a hostile file can cost: address space, core dumps, open files."""
    wanted = {resource.RLIMIT_AS: memory_limit_bytes, resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: 256}
    for limit, value in wanted.items():
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def leave_network() -> bool:
    """Move into a network namespace of our own, where there is nothing to reach; False where the kernel forbids it.

    Root needs no user namespace for that, and would lose the right to read others' files in one.
    """
    kinds = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
    try:
        return bool(ctypes.CDLL(None, use_errno=True).unshare(kinds) == 0)
    except (OSError, AttributeError):
        return False
