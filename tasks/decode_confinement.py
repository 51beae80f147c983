"""What a decode worker gives up before it opens a file: memory without end, core dumps, descriptors, the network.

Also how it comes to end before others do: with the process that forked it, and early where memory runs out.

Runs in the worker only, before it has threads: imports the standard library, and nothing of ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG = 1
_OOM_SCORE = Path("/proc/self/oom_score_adj")
_EARLIER = 300
"""In thousandths of the machine's memory: so much more it seems to hold when the kernel chooses whom to kill."""


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


def be_killed_early() -> None:
    """Where memory runs out, let the kernel end this process, which costs a retry, and not one that holds models."""
    with contextlib.suppress(OSError, ValueError):
        _OOM_SCORE.write_text(str(min(1000, int(_OOM_SCORE.read_text()) + _EARLIER)))


def end_with_forker(forker_pid: int) -> None:
    """Be killed when the process ends that this one was forked from, whatever either does just then.

    The kernel sends this signal when the forking *thread* ends; a forker has one.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != forker_pid:
        os._exit(0)
