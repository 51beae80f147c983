"""Children are ended, all of them, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from deployments.child_processes import MARK, ChildProcesses, marked_processes

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]
WITH_A_GRANDCHILD = [
    sys.executable,
    "-c",
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], "
    "start_new_session=True); print('up', flush=True); import time; time.sleep(60)",
]


def wait_for(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_grandchild_in_a_session_of_its_own_is_ended_too(tmp_path):
    children = ChildProcesses(tmp_path)
    children.start("parent", WITH_A_GRANDCHILD, env=dict(os.environ), cwd=tmp_path)
    wait_for(lambda: len(marked_processes(children.mark)) == 2)

    children.stop_all()

    assert marked_processes(children.mark) == set()


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(tmp_path):
    children = ChildProcesses(tmp_path)
    children.start("deaf", DEAF, env=dict(os.environ), cwd=tmp_path)
    wait_for(lambda: b"up" in children.log_path("deaf").read_bytes())

    children.stop(["deaf"], grace_s=0.2)

    assert marked_processes(children.mark) == set()


def test_other_processes_are_left_alone(tmp_path):
    bystander = subprocess.Popen(SLEEP, env={**os.environ, MARK: "another"})
    children = ChildProcesses(tmp_path)
    children.start("one", SLEEP, env=dict(os.environ), cwd=tmp_path)
    children.start("two", SLEEP, env=dict(os.environ), cwd=tmp_path)
    try:
        children.stop(["one"])
        children.stop_strays()
        assert children.ended() == []
        children.stop_all()
        assert bystander.poll() is None
    finally:
        children.stop_all()
        bystander.kill()
        bystander.wait()


def test_children_end_when_their_parent_is_killed(tmp_path):
    script = (
        "import os, sys, time; from pathlib import Path; from deployments.child_processes import ChildProcesses\n"
        f"children = ChildProcesses(Path({str(tmp_path)!r}), mark='orphans-{os.getpid()}')\n"
        f"children.start('sleeper', {SLEEP!r}, env=dict(os.environ), cwd=Path({str(tmp_path)!r}))\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=Path.cwd())
    mark = f"orphans-{os.getpid()}"
    try:
        wait_for(lambda: any("sleep(60)" in command_line(pid) for pid in marked_processes(mark)))
        time.sleep(0.3)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()

    wait_for(lambda: marked_processes(mark) == set())


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
