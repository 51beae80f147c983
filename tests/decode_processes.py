"""What tests look at and do to decode workers from outside: processes, shared memory, signals."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tasks.decoding import ExtractedFrame, extract
from tasks.plans import Plan, make_plan
from tasks.probing import probe
from tasks.settings import DecodeSettings


def workers_of(pid: int) -> list[int]:
    """Process ids of the decode workers of `pid`: forked ones, and programs that it started."""
    forked = [worker for forker in forkers_of(pid) for worker in children_of(forker, "decode_forker.py")]
    return forked + children_of(pid, "decode_worker.py")


def forkers_of(pid: int) -> list[int]:
    """Process ids of what `pid` has its decode workers forked from."""
    return children_of(pid, "decode_forker.py")


def children_of(pid: int, program: str) -> list[int]:
    """Process ids of the children of `pid` that run `program`; those that have ended run none."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            command = folder.joinpath("cmdline").read_bytes()
        except OSError:
            continue
        if parent == pid and program.encode() in command:
            found.append(int(folder.name))
    return found


def is_gone(pid: int, within_s: float = 5.0) -> bool:
    """Whether the process ends in time."""
    deadline = time.monotonic() + within_s
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def shared_memories(pid: int) -> list[str]:
    """Our anonymous shared memory that the process has mapped or holds a descriptor of."""
    found = []
    with suppress(FileNotFoundError):
        found = [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "memfd:reelmill" in line]
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(OSError):
            found += [str(link)] if "memfd:reelmill" in str(link.readlink()) else []
    return found


def extraction_of(path: Path, settings: DecodeSettings) -> tuple[Plan, Iterator[ExtractedFrame]]:
    """A plan of every frame, and the frames as they come."""
    plan = make_plan(probe(path)[1], infer_fps=None, settings=settings)
    items = extract(path, plan, range(len(plan.segments)), settings=settings)
    return plan, (item for item in items if isinstance(item, ExtractedFrame))


def until_two_decode(frames: Iterator[ExtractedFrame]) -> list[ExtractedFrame]:
    """The frames that come until a second worker is there: the first one is held up, so that its caller has to wait.

    On a busy machine its caller may have waited long enough for the first frame already.
    """
    given = [next(frames)]
    first = workers_of(os.getpid())[0]
    os.kill(first, signal.SIGSTOP)
    while len(workers_of(os.getpid())) < 2:
        given.append(next(frames))
    os.kill(first, signal.SIGCONT)
    return given
