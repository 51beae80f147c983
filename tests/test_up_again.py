"""`reelmill up` that ends in the middle of a job: the job goes on at the next one, and nothing is left over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployments.child_processes import marked_processes
from deployments.prefect_server import Connection, free_port
from tasks.model_sources import import_folder
from tasks.store import open_store
from tasks.videos import register_file
from tests.http_caller import Caller
from tests.postgres_server import postgres_server
from tests.requirements import needs
from tests.tiny_models import save_tiny_detector
from tests.video_files import Recipe, make_video

pytestmark = [pytest.mark.served, pytest.mark.long, needs("postgres")]

DETECTOR = {"model_id": "tiny-detector", "inference_params": {"confidence": 0.0}}


@dataclass
class Machine:
    """A folder with a store and a server's home, and how `reelmill up` is started on it."""

    root: Path
    video_id: str
    environment: dict[str, str]

    @contextmanager
    def up(self, *, drain_s: float) -> Iterator[tuple[subprocess.Popen[bytes], Caller]]:
        """`reelmill up` once it takes jobs; killed after the block if the block hasn't ended it."""
        command = [sys.executable, "-m", "deployments.cli", "up", "--home", str(self.root / "home")]
        announced = self.root / "home" / "connection.json"
        announced.unlink(missing_ok=True)  # a killed one leaves it
        with (self.root / "up.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "--port", str(free_port()), "--drain", str(drain_s)],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        try:
            deadline = time.monotonic() + 120
            while not announced.exists():
                assert process.poll() is None, self.said()
                assert time.monotonic() < deadline, self.said()
                time.sleep(0.1)
            told = json.loads(announced.read_bytes())
            setup = SimpleNamespace(**Connection(told["api_url"], told["auth"]).__dict__)
            yield process, Caller(setup, self.root / "store", self.video_id)  # type: ignore[arg-type]
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(90)

    def said(self) -> str:
        return (self.root / "up.log").read_text()

    def left_over(self) -> set[int]:
        """Processes that the last `up` started and that still live."""
        return marked_processes((self.root / "home" / "started-by").read_text())


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    store = open_store(str(tmp_path / "store"))
    import_folder(store, save_tiny_detector(tmp_path / "tiny-detector"), "tiny-detector")
    video = register_file(store, make_video(tmp_path / "numbers.mp4", Recipe(frames=600, rate=Fraction(30), gop=30)))
    with postgres_server() as database:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "REELMILL_STORE": str(tmp_path / "store"),
            "REELMILL_CACHE_DIR": str(tmp_path / "cache"),
            "REELMILL_DATABASE_URL": database.url.replace("postgresql+asyncpg", "postgresql"),
            "REELMILL_DECODE_SEGMENT_S": "1",
            "REELMILL_JOB_POLL_S": "0.5",
            "REELMILL_TORCH_THREADS": "1",
        }
        yield Machine(tmp_path, video.video_id, environment)


def until_midway(caller: Caller, job: str) -> dict[str, object]:
    """Wait until the job's GPU run has written a shard and still runs; returns the shards with their times."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        shards = {info.key: info.modified_at for info in caller.store.list("shards/")}
        if shards and any(child["state"]["type"] == "RUNNING" for child in caller.children(job)):
            return shards
        time.sleep(0.05)
    raise AssertionError("the GPU run wrote no shard in time")


def assert_whole(caller: Caller, job: str, standing: dict[str, object]) -> None:
    """The job completes under its own id, and what stood is used as it stood."""
    run = caller.wait(job, within_s=240)
    assert run["state"]["type"] == "COMPLETED", run["state"]
    assert (run["labels"]["frames_total"], run["labels"]["frames_failed"]) == (600, 0)
    lists = json.loads(Path(run["labels"]["output_uri"], "predictions.json").read_bytes())
    assert len(lists["tiny-detector"]) == 600
    assert all(lists["tiny-detector"])
    now = {info.key: info.modified_at for info in caller.store.list("shards/")}
    assert standing.items() <= now.items()
    states = sorted(child["state"]["type"] for child in caller.children(job))
    assert states == ["CANCELLED", "COMPLETED"]


def test_ctrl_c_hands_a_job_back_and_the_next_up_ends_it(machine: Machine) -> None:
    with machine.up(drain_s=1) as (process, caller):
        job = caller.start(DETECTOR, infer_fps="all")
        standing = until_midway(caller, job)
        begun_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        print(f"\nended {time.monotonic() - begun_s:.1f} s after SIGINT")
    assert "handed back" in machine.said()
    assert "SQLite" not in machine.said()
    assert (machine.root / "home" / "auth").read_text() not in machine.said()
    assert not machine.left_over()

    with machine.up(drain_s=30) as (process, caller):
        assert_whole(caller, job, standing)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert machine.said().count("handed back") == 1, "nothing ran any more"


def test_draining_lets_a_short_job_end(machine: Machine) -> None:
    with machine.up(drain_s=120) as (process, caller):
        job = caller.start(DETECTOR, infer_fps=1)
        until_midway_or_done = time.monotonic() + 60
        while not caller.children(job) and time.monotonic() < until_midway_or_done:
            time.sleep(0.1)
        while caller.children(job)[0]["state"]["type"] == "SCHEDULED":
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(180) == 0
    assert "may take" in machine.said()
    assert "handed back" not in machine.said().replace("hands back", "")
    assert list(machine.root.glob("store/results/*/job.json"))


def test_after_kill_9_of_up_itself_the_next_one_ends_the_job(machine: Machine) -> None:
    with machine.up(drain_s=30) as (process, caller):
        job = caller.start(DETECTOR, infer_fps="all")
        standing = until_midway(caller, job)
        process.kill()
        process.wait()
    with machine.up(drain_s=30) as (_, caller):
        assert_whole(caller, job, standing)
