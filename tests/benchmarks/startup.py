"""What a job costs beyond its work: `python -m tests.benchmarks.startup [--rounds N] [--out FILE.json]`.

Side by side and in turns: a flow that does nothing, a job of ten frames with a tiny model, and the job's work by plain
functions; embedded (a command that brings its server) and served (a worker starts the parent, another its child).
What is printed for a job is its time less the flow's and less the work's: under zero where work is done in the waits.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rich.console import Console
from rich.table import Table

from tests.benchmarks.decode_machine import machine

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

ROOT = Path(__file__).resolve().parents[2]
FPS = "5"
FRAMES = 50
RATE = Fraction(25)
LIMITS_S = {"embedded": 3.0, "served": 4.0}
"""What a job may cost beyond its work and beyond a flow that does nothing, started the same way."""
HELP, WORK = "reelmill --help", "the work, by plain functions"
PREFECT_EMBEDDED = "a flow on Prefect's own temporary server"
FLOW_EMBEDDED, JOB_EMBEDDED = "a flow, embedded", "the job, embedded"
FLOW_SERVED, JOB_SERVED = "parent and child, served", "the job, served"


@dataclass
class Place:
    """A folder with a video, a model and caches, and the environment of what is run there."""

    folder: Path
    environment: dict[str, str]
    cpu_s: dict[str, list[float]] = field(default_factory=dict)
    wall_s: dict[str, list[float]] = field(default_factory=dict)
    parts_s: dict[str, list[float]] = field(default_factory=dict)

    def run(self, name: str, *module_and_arguments: str) -> str:
        """Run a module of ours to its end and count its wall and CPU seconds; gives its output."""
        before = _children_cpu_s()
        started_s = time.perf_counter()
        environment = {**self.environment, "PREFECT_HOME": tempfile.mkdtemp(dir=self.folder)}
        command = [sys.executable, "-m", *module_and_arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
        self.count(name, time.perf_counter() - started_s, _children_cpu_s() - before)
        return done.stdout

    def count(self, name: str, wall_s: float, cpu_s: float | None = None) -> None:
        """Take down one run."""
        self.wall_s.setdefault(name, []).append(wall_s)
        if cpu_s is not None:
            self.cpu_s.setdefault(name, []).append(cpu_s)

    def fresh_store(self) -> None:
        """Forget what jobs left: a second one would find its shards and infer nothing."""
        for name in ("shards", "results", "jobs"):
            shutil.rmtree(self.folder / "store" / name, ignore_errors=True)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def made_place() -> Iterator[Place]:
    """A place with a tiny detector and a video of two seconds."""
    from tests.tiny_models import save_tiny_detector
    from tests.video_files import make_video

    with tempfile.TemporaryDirectory(prefix="startup-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        make_video(folder / "clip.mp4", frames=FRAMES, rate=RATE)
        save_tiny_detector(folder / "detector")
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "REELMILL_"))}
        ours = {
            "REELMILL_STORE": str(folder / "store"),
            "REELMILL_CACHE_DIR": str(folder / "cache"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            "DO_NOT_TRACK": "1",
            "PYTHONPATH": str(ROOT),
        }
        yield Place(folder, plain | ours)


def embedded_round(place: Place) -> None:
    """Each of what runs in a process of its own, once."""
    place.run(HELP, "deployments.cli", "--help")
    parts = json.loads(place.run(WORK, "tests.benchmarks.startup_work", "clip.mp4", "detector", FPS))
    for part, seconds in parts.items():
        place.parts_s.setdefault(part, []).append(seconds)
    place.run(PREFECT_EMBEDDED, "tests.benchmarks.startup_flows", "prefect")
    place.run(FLOW_EMBEDDED, "tests.benchmarks.startup_flows", "reelmill")
    place.fresh_store()
    place.run(
        JOB_EMBEDDED, "deployments.cli", "infer", "clip.mp4", "--model", "./detector", "--fps", FPS, "--out", "out"
    )


@contextmanager
def served_rounds(place: Place) -> Iterator[Callable[[], None]]:
    """A server with its workers; yields a function that runs the flows that do nothing, and a job, once."""
    os.environ.update(place.environment)
    from deployments.local import served
    from deployments.registration import DeploymentEntry, PoolPlace, connect, deploy
    from tasks.model_sources import import_folder
    from tasks.store import open_store
    from tasks.videos import register_file

    store = open_store(str(place.folder / "store"))
    import_folder(store, place.folder / "detector", "tiny-detector")
    video = register_file(store, place.folder / "clip.mp4")
    request = {"video_id": video.video_id, "models": [{"model_id": "tiny-detector"}], "infer_fps": float(FPS)}
    with (
        served(place.folder / "home", store.uri, worker_env={"PYTHONPATH": str(ROOT)}) as setup,
        connect(setup.connection) as client,
    ):
        for name, pool in (("trivial_parent", "cpu"), ("trivial_child", "gpu")):
            at = PoolPlace(name=pool, work_queue_name="interactive")
            entrypoint = f"tests.benchmarks.startup_flows:{name}"
            deploy(client, DeploymentEntry(name="default", entrypoint=entrypoint, work_pool=at))

        def once() -> None:
            place.count(FLOW_SERVED, seconds_of(client, "trivial-parent/default", {}))
            place.fresh_store()
            place.count(JOB_SERVED, seconds_of(client, "infer-video/default", {"request": request}))

        yield once


def seconds_of(client: SyncPrefectClient, deployment: str, parameters: dict[str, Any]) -> float:
    """Seconds from a run's submission until its end is seen."""
    started_s = time.perf_counter()
    entry = client.read_deployment_by_name(deployment)
    run_id: UUID = client.create_flow_run_from_deployment(entry.id, parameters=parameters).id
    while True:
        time.sleep(0.1)
        state = client.read_flow_run(run_id).state
        if state is not None and state.is_final():
            if not state.is_completed():
                sys.exit(f"{deployment} ended as {state.name}: {state.message}")
            return time.perf_counter() - started_s


def figures(place: Place) -> dict[str, Any]:
    """Medians, and what the jobs cost beyond their work."""
    wall_s = {name: statistics.median(walls) for name, walls in place.wall_s.items()}
    work_s = statistics.median(map(sum, zip(*place.parts_s.values(), strict=True)))
    pairs = {"embedded": (FLOW_EMBEDDED, JOB_EMBEDDED), "served": (FLOW_SERVED, JOB_SERVED)}
    return {
        "machine": machine(),
        "wall_s": wall_s,
        "cpu_s": {name: statistics.median(seconds) for name, seconds in place.cpu_s.items()},
        "all_wall_s": place.wall_s,
        "work_s": work_s,
        "work_parts_s": {part: statistics.median(seconds) for part, seconds in place.parts_s.items()},
        "beyond_flow_s": {way: wall_s[job] - wall_s[flow] for way, (flow, job) in pairs.items() if job in wall_s},
        "beyond_flow_and_work_s": {
            way: wall_s[job] - wall_s[flow] - work_s for way, (flow, job) in pairs.items() if job in wall_s
        },
        "limits_s": LIMITS_S,
    }


def show(told: dict[str, Any], rounds: int) -> None:
    """Print the tables."""
    console = Console()
    table = Table("what", "wall s", "least", "most", "CPU s", title=f"Medians of {rounds}, in turns")
    for name, wall_s in told["wall_s"].items():
        walls, cpu_s = told["all_wall_s"][name], told["cpu_s"].get(name)
        least_most = (f"{min(walls):.2f}", f"{max(walls):.2f}")
        table.add_row(name, f"{wall_s:.2f}", *least_most, "" if cpu_s is None else f"{cpu_s:.2f}")
    console.print(table)
    parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in told["work_parts_s"].items())
    console.print(f"The work: {told['work_s']:.2f} s ({parts})")
    beyond = Table("the job", "beyond the flow, s", "and beyond its work, s", "limit, s")
    for way, seconds in told["beyond_flow_s"].items():
        rest_s = told["beyond_flow_and_work_s"][way]
        beyond.add_row(way, f"{seconds:.2f}", f"{rest_s:.2f}", f"{LIMITS_S[way]:.1f}")
    console.print(beyond)


def main() -> None:
    """Measure, print, and write JSON where it is asked for."""
    parser = argparse.ArgumentParser(description="Measure what a job costs beyond its work.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--only", choices=tuple(LIMITS_S))
    arguments = parser.parse_args()
    with made_place() as place:
        if arguments.only != "served":
            embedded_round(place)  # makes the kept database and warms the disk's cache; not counted
            for counted in (place.wall_s, place.cpu_s, place.parts_s):
                counted.clear()
            for _ in range(arguments.rounds):
                embedded_round(place)
        else:
            for _ in range(arguments.rounds):
                parts = json.loads(place.run(WORK, "tests.benchmarks.startup_work", "clip.mp4", "detector", FPS))
                for part, seconds in parts.items():
                    place.parts_s.setdefault(part, []).append(seconds)
        if arguments.only != "embedded":
            with served_rounds(place) as once:
                for _ in range(arguments.rounds):
                    once()
        told = figures(place)
    show(told, arguments.rounds)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
