"""The set-up of one machine where it cannot start. Where it can: tests/test_served.py."""

from __future__ import annotations

import socket

import pytest

from deployments.local import served
from deployments.pool_workers import Worker, owner_of
from deployments.prefect_server import PortTakenError, ServerNotReadyError
from deployments.running_server import AlreadyUpError, only_one


def test_a_taken_port_is_named_and_nothing_is_started(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"{port}.*--port"), served(tmp_path, "/store", port=port):
            pass

    assert not (tmp_path / "logs").exists()


def test_a_home_in_use_is_refused(tmp_path):
    with only_one(tmp_path), pytest.raises(AlreadyUpError), served(tmp_path, "/store"):
        pass


def test_a_server_that_cannot_start_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))
    nowhere = "sqlite+aiosqlite:////no/such/folder/prefect.db"

    with pytest.raises(ServerNotReadyError, match="did not come up"), served(tmp_path, "/store", database_url=nowhere):
        pass

    assert not (tmp_path / "connection.json").exists()
    with only_one(tmp_path):
        pass


def test_a_gpu_worker_takes_one_run_at_a_time():
    command = Worker("gpu-b", 1).command()

    assert command[command.index("--pool") + 1] == "gpu-b"
    assert command[command.index("--limit") + 1] == "1"


def test_workers_are_named_by_machine_and_home(tmp_path):
    here, there = owner_of(tmp_path / "a"), owner_of(tmp_path / "b")
    assert here != there
    assert owner_of(tmp_path / "a") == here
    command = Worker("gpu", 1, here).command()
    assert command[command.index("--name") + 1] == f"{here}-gpu"
