"""Prefect for one command: its own, whatever is set up around it, and gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

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


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where the first start keeps the empty database for the later ones."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def start(tmp_path, cache):
    """Start the program with an environment that names a Prefect server which isn't there."""
    programs = []

    def start_one(linger_s=0.0):
        environment = {
            **os.environ,
            "PREFECT_API_URL": "http://127.0.0.1:9/api",
            "REELMILL_CACHE_DIR": str(cache),
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


def test_two_at_once_each_with_its_own_server(start):
    (one, mark, home), (other, other_mark, other_home) = start(), start()

    assert mark != other_mark
    assert home != other_home
    for program in (one, other):
        said, _ = program.communicate(timeout=100)
        assert said.splitlines() == ["42", "as before"]
        assert program.returncode == 0
    for left in (mark, other_mark):
        assert marked_processes(left) == set()
    for left in (home, other_home):
        assert not os.path.exists(left)  # noqa: PTH110


def test_the_server_ends_with_a_command_that_is_killed(start, cache):
    assert [path.name.startswith("prefect-") for path in cache.iterdir()] == [True]
    programs = {number: start(linger_s=60) for number in (signal.SIGTERM, signal.SIGKILL)}

    for number, (program, mark, _) in programs.items():
        assert program.stdout.readline().strip() == "42"
        program.send_signal(number)
        program.wait(timeout=20)
        assert gone_within(mark, 15)
