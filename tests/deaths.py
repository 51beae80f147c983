"""The table of deaths, played: a real server on PostgreSQL, real workers, a real job each time, one thing killed.

`python -m tests.deaths [NAME …]` prints for each what was killed and when, how long until the job was whole, what
`reelmill compare` finds against an undisturbed run, and what was done twice. `test_deaths` plays them as tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from deployments.local import ServedSetup, served
from deployments.prefect_server import SERVER, start_server
from tasks.comparison import compare_results, equal
from tasks.gpu_lock import Process
from tasks.job_spec import read_spec
from tasks.model_sources import import_folder
from tasks.progress import read_heartbeat
from tasks.store import open_store
from tasks.videos import register_file
from tests.decode_processes import workers_of
from tests.http_caller import FINAL, Caller, process_of
from tests.postgres_server import PostgresServer, postgres_server
from tests.smallworld import WEIGHTS
from tests.video_files import Recipe, make_video

FRAMES = 900
RATE = 30
MODEL = {"model_id": "detector", "inference_params": {"confidence": 0.1}}
SHORT = {"REELMILL_JOB_LEASE_S": "20", "REELMILL_JOB_STALL_TIMEOUT_S": "25", "REELMILL_DECODE_STALL_TIMEOUT_S": "5"}
"""Patience in seconds, so that a test waits less than a user would."""
_ALWAYS = {
    "REELMILL_DETERMINISTIC": "true",
    "REELMILL_DECODE_SEGMENT_S": "1",
    "REELMILL_JOB_POLL_S": "0.5",
    "REELMILL_DECODE_WORKERS": "1",
}


@dataclass
class Scene:
    """A served set-up with one registered video, and what an undisturbed job on it gave."""

    folder: Path
    setup: ServedSetup
    postgres: PostgresServer
    caller: Caller
    reference: Path

    def start(self) -> str:
        """Start the job with nothing to build on."""
        for prefix in ("shards/", "results/", "requests/"):
            self.caller.store.delete([info.key for info in self.caller.store.list(prefix)])
        return self.caller.start(MODEL, infer_fps="all")

    def shards(self) -> dict[str, datetime]:
        """Every shard with the time of its writing."""
        return {info.key: info.modified_at for info in self.caller.store.list("shards/")}

    def worker(self, pool: str) -> int:
        """The worker's process id."""
        return self.setup.children.pid(f"worker-{pool}")

    def start_worker(self, pool: str) -> None:
        """Start another worker of that pool."""
        self.setup.start_worker(next(worker for worker in self.setup.workers if worker.pool == pool))

    def gpu_run(self, job: str) -> dict[str, Any]:
        """The job's newest GPU run."""
        return max(self.caller.children(job), key=lambda run: run["created"])

    def until_midway(self, job: str) -> None:
        """Wait until the job's GPU run has written some shards."""
        deadline = time.monotonic() + 120
        while len(self.shards()) < 5:
            assert time.monotonic() < deadline, "the GPU run wrote nothing in time"
            time.sleep(0.05)

    def until_gone(self, pid: int, within_s: float) -> None:
        """Wait until that process has ended."""
        deadline = time.monotonic() + within_s
        while Process.of(pid) is not None:
            assert time.monotonic() < deadline, f"process {pid} is still there"
            time.sleep(0.1)

    def polled(self, job: str, within_s: float) -> dict[str, Any]:
        """The job in its final state; a server that is away is asked again."""
        import httpx

        deadline = time.monotonic() + within_s
        run: dict[str, Any] = {}
        while time.monotonic() < deadline:
            try:
                run = self.caller.run(job)
                if run["state"]["type"] in FINAL:
                    return run
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
        raise AssertionError(f"no final state within {within_s} s: {run.get('state')}")


@dataclass(frozen=True)
class Death:
    """What is killed, and what is done about it by those who run the machine."""

    name: str
    strike: Callable[[Scene, str], None]
    submitted_again: bool = False
    """Whether the job itself ends, in a truthful state, and its caller asks again."""
    fast: bool = False


@dataclass
class Played:
    """One line of the table."""

    name: str
    standing: int
    whole_after_s: float
    states: list[str]
    rewritten: list[str] = field(default_factory=list)
    frames_twice: int = 0
    differs: bool = False
    """Whether `reelmill compare` finds anything against the undisturbed result."""

    def line(self) -> str:
        """For people."""
        return (
            f"{self.name:36} {self.standing:4} shards stood, whole after {self.whole_after_s:6.1f} s, "
            f"{' → '.join(self.states):24} {'DIFFERS' if self.differs else 'the same'}, "
            f"{len(self.rewritten)} shards written again, {self.frames_twice} frames twice"
        )


def play(scene: Scene, death: Death, *, within_s: float = 400.0) -> Played:
    """Start the job, strike midway, and wait until its result is whole."""
    job = scene.start()
    scene.until_midway(job)
    standing = scene.shards()
    struck_s = time.monotonic()
    death.strike(scene, job)
    run = scene.polled(job, within_s)
    states, jobs = [run["state"]["type"]], [job]
    if death.submitted_again and run["state"]["type"] != "COMPLETED":
        jobs.append(scene.caller.start(MODEL, infer_fps="all"))
        run = scene.polled(jobs[-1], within_s)
        states.append(run["state"]["type"])
    played = Played(death.name, len(standing), time.monotonic() - struck_s, states)
    assert run["state"]["type"] == "COMPLETED", run["state"]
    now = scene.shards()
    played.rewritten = [key for key, written_at in standing.items() if now[key] != written_at]
    played.frames_twice = sum(_frames_lost(scene, each) for each in jobs)
    played.differs = not equal(compare_results(scene.reference, Path(run["labels"]["output_uri"])))
    return played


def _frames_lost(scene: Scene, job: str) -> int:
    """Frames of a job that an attempt said it had done, and the next one found in no shard; a second may lack."""
    lost = 0
    for group in read_spec(scene.caller.store, job).groups:
        number = 1
        before = read_heartbeat(scene.caller.store, job, group.number, number)
        while before is not None:
            number += 1
            after = read_heartbeat(scene.caller.store, job, group.number, number)
            if after is not None:
                found = {key: progress.frames_found for key, progress in after.models.items()}
                lost += sum(max(0, told.frames_done - found.get(key, 0)) for key, told in before.models.items())
            before = after
    return lost


def kill_gpu_run(scene: Scene, job: str) -> None:
    os.kill(process_of(scene.gpu_run(job)["id"]), signal.SIGKILL)


def stop_gpu_run(scene: Scene, job: str) -> None:
    """As a model that hangs: the process is there and does nothing."""
    os.kill(process_of(scene.gpu_run(job)["id"]), signal.SIGSTOP)


def stop_decoders(scene: Scene, job: str) -> None:
    for worker in workers_of(process_of(scene.gpu_run(job)["id"])):
        os.kill(worker, signal.SIGSTOP)


def kill_parent(scene: Scene, job: str) -> None:
    os.kill(process_of(job), signal.SIGKILL)


def kill_worker(pool: str, number: signal.Signals) -> Callable[[Scene, str], None]:
    """End a worker; another one is started a few seconds later, as a supervisor does."""

    def strike(scene: Scene, job: str) -> None:
        os.kill(scene.worker(pool), number)
        time.sleep(5)
        scene.start_worker(pool)

    return strike


def kill_machine(pool: str) -> Callable[[Scene, str], None]:
    """Everything of a machine at once, then another machine."""

    def strike(scene: Scene, job: str) -> None:
        flow = process_of(job if pool == "cpu" else scene.gpu_run(job)["id"])
        for pid in [scene.worker(pool), flow, *workers_of(flow)]:
            os.kill(pid, signal.SIGKILL)
        time.sleep(5)
        scene.start_worker(pool)

    return strike


def restart_server(scene: Scene, job: str) -> None:
    setup = scene.setup
    setup.children.stop([SERVER])
    time.sleep(10)
    port = int(setup.api_url.split(":")[2].split("/")[0])
    start_server(setup.children, setup.prefect_home, setup.connection, port=port, database_url=scene.postgres.url)


def restart_database(scene: Scene, job: str) -> None:
    scene.postgres.stop(hard=True)
    time.sleep(10)
    scene.postgres.start()


DEATHS = [
    Death("GPU run, kill -9", kill_gpu_run),
    Death("decode workers hang", stop_decoders),
    Death("GPU run hangs", stop_gpu_run),
    Death("GPU worker, kill -9", kill_worker("gpu", signal.SIGKILL)),
    Death("GPU worker, SIGTERM", kill_worker("gpu", signal.SIGTERM)),
    Death("GPU machine gone", kill_machine("gpu")),
    Death("parent, kill -9", kill_parent, submitted_again=True, fast=True),
    Death("cpu worker, kill -9", kill_worker("cpu", signal.SIGKILL), submitted_again=True),
    Death("cpu worker, SIGTERM", kill_worker("cpu", signal.SIGTERM), fast=True),
    Death("cpu machine gone", kill_machine("cpu")),
    Death("server restarted", restart_server),
    Death("database restarted", restart_database),
]


@contextmanager
def scene(settings: Mapping[str, str] = SHORT) -> Iterator[Scene]:
    """Make everything ready, and let one job run undisturbed."""
    folder = Path(tempfile.mkdtemp(prefix="reelmill-deaths-"))
    environment = {**_ALWAYS, **settings, "REELMILL_CACHE_DIR": str(folder / "cache")}
    try:
        store = open_store(str(folder / "store"))
        import_folder(store, WEIGHTS / "detector", "detector")
        recipe = Recipe(frames=FRAMES, rate=Fraction(RATE), gop=RATE, width=640, height=384)
        video = register_file(store, make_video(folder / "numbers.mp4", recipe))
        with (
            postgres_server() as postgres,
            served(folder / "home", str(folder / "store"), database_url=postgres.url, worker_env=environment) as setup,
        ):
            caller = Caller(setup, folder / "store", video.video_id)
            made = Scene(folder, setup, postgres, caller, folder / "reference")
            run = made.polled(made.start(), 200)
            assert run["state"]["type"] == "COMPLETED", run["state"]
            shutil.copytree(run["labels"]["output_uri"], made.reference)
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(names: list[str]) -> None:
    """Play those named, or all."""
    settings = {} if "--patient" in names else SHORT
    wanted = [death for death in DEATHS if not set(names) - {"--patient"} or death.name in names]
    with scene(settings) as made:
        for death in wanted:
            try:
                print(play(made, death).line(), flush=True)
            except AssertionError as error:
                print(f"{death.name:36} NOT WHOLE: {error}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
