"""Prefect for one command: its own, whatever is set up around it, and gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployments.child_processes import marked_processes

PROGRAM = """
import os, sys, time
from deployments.signals import signals_interrupt
from deployments.embedded import embedded_prefect

before = dict(os.environ)
with signals_interrupt(), embedded_prefect() as server:
    print(server.children.mark, server.prefect_home, flush=True)
    server.wait_until_ready()
    from prefect import flow

    @flow
    def add(a: int, b: int) -> int:
        return a + b

    print(add(20, 22), flush=True)
    time.sleep(float(sys.argv[1]))
print("as before" if dict(os.environ) == before else "changed")
"""


@pytest.fixture
def start(tmp_path, prefect_cache):
    """Start the program with an environment that names a Prefect server which isn't there."""
    programs = []

    def start_one(linger_s=0.0):
        environment = {
            **os.environ,
            "PREFECT_API_URL": "http://127.0.0.1:9/api",
            "REELMILL_CACHE_DIR": str(prefect_cache),
            "TMPDIR": str(tmp_path),
        }
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(linger_s)], env=environment, stdout=subprocess.PIPE, text=True
        )
        programs.append(program)
        mark, home = program.stdout.readline().split()
        return program, mark, home

    yield start_one
    for program in programs:
        program.kill()
        program.wait()


def gone_within(mark, timeout_s):
    deadline = time.monotonic() + timeout_s
    while marked_processes(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_two_at_once_each_with_a_server_that_ends_with_it(start):
    programs = {number: start(linger_s=60) for number in (signal.SIGTERM, signal.SIGKILL)}
    assert len({mark for _, mark, _ in programs.values()}) == 2
    assert len({home for _, _, home in programs.values()}) == 2

    for number, (program, mark, home) in programs.items():
        assert program.stdout.readline().strip() == "42"
        assert marked_processes(mark)
        program.send_signal(number)
        program.wait(timeout=20)
        assert gone_within(mark, 15)
        assert number is signal.SIGKILL or not Path(home).exists()


def test_what_was_set_before_is_set_afterwards(start):
    program, mark, home = start()

    said, _ = program.communicate(timeout=100)

    assert said.splitlines() == ["42", "as before"]
    assert program.returncode == 0
    assert marked_processes(mark) == set()
    assert not Path(home).exists()
