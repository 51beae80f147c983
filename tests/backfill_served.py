"""A served backfill that is disturbed: both workers and all that they run are killed in the middle.

`python -m tests.backfill_served` plays it at full size on PostgreSQL and prints what it took.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.local import ServedSetup, served
from tasks.backfill_table import Row, counts, read_table
from tasks.model_sources import import_folder
from tasks.store import Store, open_store
from tests.backfill_clips import save_clips
from tests.http_caller import Caller
from tests.poison_videos import save_poison
from tests.postgres_server import postgres_server
from tests.tiny_models import save_tiny_classifier

MODEL = "tiny"
_LOOK_S = 0.1


@dataclass
class WrittenShards:
    """Every writing of every shard of a local store, by its file's time; two within a tenth of a second are one."""

    store_folder: Path
    times: dict[str, set[int]] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watched(self) -> Iterator[WrittenShards]:
        """Look until the block ends."""
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()
            self._look()

    @property
    def written_twice(self) -> list[str]:
        """Shards that were written more than once."""
        return sorted(name for name, times in self.times.items() if len(times) > 1)

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_S):
            self._look()

    def _look(self) -> None:
        for path in self.store_folder.glob("shards/*/*.parquet"):
            try:
                self.times.setdefault(f"{path.parent.name}/{path.name}", set()).add(path.stat().st_mtime_ns)
            except FileNotFoundError:  # a shard to be retried that gave way to a finished one
                continue


@dataclass(frozen=True)
class Played:
    """What a backfill came to. Times in seconds."""

    run: dict[str, Any]
    rows: list[Row]
    took_s: float
    killed_after_s: float | None
    whole_again_s: float | None
    """From the kill to the end."""
    gpu_runs: Counter[str]
    """GPU runs by the state that they ended in."""
    shards: WrittenShards
    run_count: int


@contextmanager
def backfill_setup(root: Path, clips: Path, *, database_url: str | None, **settings: str) -> Iterator[ServedSetup]:
    """A server, a cpu worker and a gpu worker that offer the folder of clips; a tiny model in the store."""
    store = open_store(str(root / "store"))
    import_folder(store, save_tiny_classifier(root / MODEL), MODEL)
    environment = {
        "REELMILL_UPLOAD_LOCAL_DIR": str(clips),
        "REELMILL_CACHE_DIR": str(root / "cache"),
        "REELMILL_TORCH_THREADS": "1",
        "REELMILL_JOB_POLL_S": "1",
        **settings,
    }
    with served(root / "home", store.uri, database_url=database_url, worker_env=environment) as setup:
        yield setup


def play(
    setup: ServedSetup,
    root: Path,
    fields: dict[str, Any],
    *,
    kill_at: int | None,
    within_s: float,
    spare_runs: bool = False,
) -> Played:
    """Submit a backfill and wait for its end; with `kill_at`, kill both workers when so many rows are done."""
    caller, store = Caller(setup, root / "store", ""), open_store(str(root / "store"))
    with WrittenShards(root / "store").watched() as shards:
        began_s = time.monotonic()
        run_id = caller.start_flow("backfill-videos/default", request=fields)
        killed_s = None
        if kill_at is not None:
            _wait_for_results(store, kill_at, within_s=within_s)
            killed_s = time.monotonic()
            kill_workers(setup, spare_runs=spare_runs)
        run = caller.wait(run_id, within_s=within_s)
        if killed_s is not None and run["state"]["type"] == "CRASHED":  # then it is for its caller to go on
            run_id = caller.start_flow("backfill-videos/default", request=fields)
            run = caller.wait(run_id, within_s=within_s) | {"crashed": run["state"]["message"]}
        ended_s = time.monotonic()
    states = Counter(child["state"]["type"] for child in caller.children(run_id))
    return Played(
        run=run,
        rows=read_table(store, fields["name"]),
        took_s=ended_s - began_s,
        killed_after_s=None if killed_s is None else killed_s - began_s,
        whole_again_s=None if killed_s is None else ended_s - killed_s,
        gpu_runs=states,
        shards=shards,
        run_count=run["run_count"],
    )


def kill_workers(setup: ServedSetup, *, spare_runs: bool = False) -> None:
    """SIGKILL to both workers and, unless spared, every process that they started; then new workers."""
    if spare_runs:
        for worker in setup.workers:
            os.kill(setup.children.pid(worker.name), signal.SIGKILL)
        time.sleep(1)
    else:
        setup.children.kill([worker.name for worker in setup.workers])
        setup.children.stop_strays(hard=True)
    for worker in setup.workers:
        setup.start_worker(worker)


def _wait_for_results(store: Store, count: int, *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while sum(info.key.endswith("/job.json") for info in store.list("results/")) < count:
        assert time.monotonic() < deadline, f"no {count} results in time"
        time.sleep(0.1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Play the whole of it and print what it took."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--clips", type=int, default=290)
    parser.add_argument("--undisturbed", action="store_true", help="a second backfill at another rate, left alone")
    parser.add_argument("--spare-runs", action="store_true", help="kill the workers alone: their runs are orphans")
    options = parser.parse_args(arguments)
    videos = Path(os.environ["REELMILL_ASSETS"]) / "videos"
    with tempfile.TemporaryDirectory(prefix="backfill-") as folder, postgres_server() as database:
        root = Path(folder)
        clips = root / "clips"
        began_s = time.monotonic()
        save_clips(clips, [videos / "bikes.mp4", videos / "carphone_pristine.mp4"], options.clips)
        save_poison(clips)
        print(f"{options.clips} clips and 10 of poison made in {time.monotonic() - began_s:.0f} s")
        fields = {"source": str(clips), "models": [{"model_id": MODEL}], "infer_fps": 2, "name": "disturbed"}
        with backfill_setup(root, clips, database_url=database.url, REELMILL_JOB_LEASE_S="20") as setup:
            spare = options.spare_runs
            _tell(play(setup, root, fields, kill_at=options.clips // 3, within_s=1500, spare_runs=spare))
            if options.undisturbed:
                fields |= {"infer_fps": 1, "name": "undisturbed"}
                _tell(play(setup, root, fields, kill_at=None, within_s=1500))


def _tell(played: Played) -> None:
    reasons = Counter(row.reason.split(";")[0][:90] for row in played.rows if row.state == "failed")
    print(f"{played.run['name']}: {played.run['state']['type']}, started {played.run_count} times")
    if "crashed" in played.run:
        print(f"  submitted again after: {played.run['crashed']}")
    print(f"  rows: {counts(played.rows)}; GPU runs: {dict(played.gpu_runs)}")
    print(f"  {played.took_s:.0f} s, {played.took_s / len(played.rows):.2f} s a clip")
    if played.killed_after_s is not None:
        print(f"  killed after {played.killed_after_s:.0f} s, whole {played.whole_again_s:.0f} s later")
    print(f"  {len(played.shards.times)} shards, {len(played.shards.written_twice)} written more than once")
    for reason, number in sorted(reasons.items()):
        print(f"  failed, {number}: {reason}")


if __name__ == "__main__":
    main()
