"""One run at a time on a GPU: real processes and a real lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.gpu_lock import Holder, Process, gpu_held, gpu_name, lock_path

ROOT = Path(__file__).parent.parent
HOLD = """
import sys, time; from pathlib import Path
from tasks.gpu_lock import Holder, gpu_held
with gpu_held(Path(sys.argv[1]), Holder.this_one([{"job_id": "a", "group": 0, "attempt": 1}]),
              is_unwanted=lambda holder: False, waiting=lambda: None):
    print("held", flush=True)
    time.sleep(60)
"""
# Starts the holder as a worker would, and can be killed without it.
WORKER = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {HOLD!r}, sys.argv[1]])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return lock_path(tmp_path, "a gpu/0")


@pytest.fixture
def worker(path):
    """A worker process, and the process id of its run, which holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        told = sorted([process.stdout.readline().strip(), process.stdout.readline().strip()])
        assert told[1] == "held"
        holder = int(told[0])
        yield process, holder
        process.kill()
        if Process.of(holder):
            os.kill(holder, signal.SIGKILL)


def hold(path, *, is_unwanted=lambda holder: False, waits=None):
    """Take the lock; returns how often it was waited for, at most three times."""
    looks = []

    def waiting():
        looks.append(time.monotonic())
        if len(looks) == 3:
            raise TimeoutError

    with gpu_held(path, Holder.this_one([]), is_unwanted=is_unwanted, waiting=waits or waiting, look_every_s=0.05):
        return len(looks)


def test_a_run_whose_worker_lives_is_waited_for(worker, path):
    with pytest.raises(TimeoutError):
        hold(path)
    assert Process.of(worker[1])
    os.kill(worker[1], signal.SIGKILL)
    assert hold(path, waits=lambda: None) == 0


def test_an_orphan_is_ended(worker, path):
    process, holder = worker
    process.kill()
    process.wait()
    assert Process.of(holder), "it outlives its worker"
    assert hold(path) == 0
    assert Process.of(holder) is None


def test_a_run_that_nobody_wants_is_ended(worker, path):
    assert hold(path, is_unwanted=lambda holder: holder.parts == [{"job_id": "a", "group": 0, "attempt": 1}]) == 0
    assert Process.of(worker[1]) is None


def test_a_process_of_the_same_number_is_not_the_same_process():
    me = Process.of(os.getpid())
    assert me.lives
    assert not Process(me.pid, "0").lives


def test_what_a_lock_file_holds_when_nobody_does_is_no_matter(path):
    path.parent.mkdir()
    path.write_text("{")
    assert hold(path) == 0
    held_by_me = json.loads(path.read_text())
    assert held_by_me["process"]["pid"] == os.getpid()


def test_a_cpu_is_shared_and_names_are_files():
    assert gpu_name("cpu") is None
    assert lock_path(Path("x"), "../gpu a").parent == Path("x/locks")
