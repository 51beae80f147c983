"""The served set-up on one machine: Prefect server, pools, deployments, a cpu worker and a worker for each GPU pool.

`served` is the whole of it as a context manager, `up` runs it until a signal. What was started is ended, workers first,
and nothing is left over.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from deployments.child_processes import ChildProcesses, end_marked
from deployments.database_url import SQLITE_WARNING, shown_database
from deployments.draining import drain, resume_pools
from deployments.handing_back import hand_back, unfinished_parents
from deployments.pool_workers import Worker, has_cuda, owner_of, worker_environment
from deployments.prefect_server import (
    HOST,
    SERVER,
    Connection,
    ServerNotReadyError,
    free_port,
    require_free,
    start_server,
    wait_until_ready,
)
from deployments.registration import CPU_POOL, GPU_POOL, connect, prepare_server
from deployments.running_server import RunningSetup, announced, kept_auth, only_one
from deployments.signals import next_signal, signals_interrupt

CPU_WORKER_LIMIT = 4


@dataclass(frozen=True)
class ServedSetup:
    """A running set-up."""

    connection: Connection
    home: Path
    workers: tuple[Worker, ...]
    children: ChildProcesses
    worker_env: Mapping[str, str]

    @property
    def api_url(self) -> str:
        """URL of the REST API."""
        return self.connection.api_url

    @property
    def auth(self) -> str | None:
        """`user:password` for HTTP Basic, or `None` where the server asks for none."""
        return self.connection.auth

    @property
    def prefect_home(self) -> Path:
        """The server's PREFECT_HOME."""
        return self.home / "prefect"

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools that the workers serve."""
        return tuple(worker.pool for worker in self.workers)

    def start_worker(self, worker: Worker) -> None:
        """Start that worker."""
        env = worker.environment(self.worker_env, cuda=has_cuda())
        self.children.start(worker.name, worker.command(), env=env, cwd=self.home)

    def stop_workers(self, *, hard: bool = False) -> None:
        """End the workers and the runs that they started; `hard` gives none the time to change a run's state."""
        names = [worker.name for worker in self.workers]
        if hard:
            self.children.kill(names)
        else:
            self.children.stop(names)
        self.children.stop_strays(hard=hard)


@contextmanager
def served(
    home: Path,
    store_uri: str,
    gpu_pools: Sequence[str] = (GPU_POOL,),
    *,
    port: int | None = None,
    auth: bool = True,
    database_url: str | None = None,
    cpu_limit: int = CPU_WORKER_LIMIT,
    worker_env: Mapping[str, str] | None = None,
) -> Iterator[ServedSetup]:
    """Start everything, yield when jobs can be submitted, end everything.

    `home` holds the server's database, password and logs; `port` is a free one where `None`; `worker_env` is added to
    the workers' environment. Raises `AlreadyUpError`, `PortTakenError`, `ServerNotReadyError`.
    """
    home = home.expanduser().absolute()
    with only_one(home):
        if port is None:
            port = free_port()
        require_free(port)
        connection = Connection(f"http://{HOST}:{port}/api", kept_auth(home) if auth else None)
        owner = owner_of(home)
        setup = ServedSetup(
            connection,
            home,
            (Worker(CPU_POOL, cpu_limit, owner), *(Worker(pool, 1, owner, gpu=True) for pool in gpu_pools)),
            ChildProcesses(home / "logs", mark=_fresh_mark(home)),
            worker_environment(home, connection, store_uri) | dict(worker_env or {}),
        )
        try:
            start_server(setup.children, setup.prefect_home, connection, port=port, database_url=database_url)
            _make_ready(setup, gpu_pools)
            with announced(home, RunningSetup(connection.api_url, connection.auth, store_uri)):
                yield setup
        finally:
            _end(setup)


def _fresh_mark(home: Path) -> str:
    """A new mark for what is started, kept in the home; what carries the last one outlived a killed set-up: end it."""
    path = home / "started-by"
    if path.exists() and (last := path.read_text().strip()):
        end_marked(last)
    mark = secrets.token_hex(16)
    path.write_text(mark)
    return mark


def _make_ready(setup: ServedSetup, gpu_pools: Sequence[str]) -> None:
    import flows.infer_video  # noqa: F401 - a few seconds of imports while the server comes up

    wait_until_ready(setup.children, setup.prefect_home, setup.connection)
    with connect(setup.connection) as client:
        hand_back(client, owner_of(setup.home))
        prepare_server(client, gpu_pools=gpu_pools)
        resume_pools(client, setup.pools)
    for worker in setup.workers:
        setup.start_worker(worker)


def _end(setup: ServedSetup) -> None:
    try:
        noted = _noted_parents(setup)
        # A run that is ended in order says that it crashed, and tells its caller so: not of a job that is to go on.
        setup.stop_workers(hard=bool(noted))
        if SERVER not in setup.children.ended():
            _hand_back(setup, noted)
    finally:
        setup.children.stop_all()


def _noted_parents(setup: ServedSetup) -> list[UUID]:
    import httpx

    try:
        with connect(setup.connection) as client:
            return unfinished_parents(client, owner_of(setup.home))
    except httpx.HTTPError:  # the server is not up yet, or no more
        return []


def _hand_back(setup: ServedSetup, noted: Sequence[UUID]) -> None:
    import httpx

    try:
        with connect(setup.connection) as client:
            hand_back(client, owner_of(setup.home), noted=noted)
    except httpx.HTTPError:  # the next start does it
        return


def up(
    home: Path,
    store_uri: str,
    gpu_pools: Sequence[str],
    *,
    port: int,
    auth: bool,
    database_url: str | None,
    drain_s: float,
    say: Callable[[str], None],
) -> None:
    """Run the set-up until SIGINT or SIGTERM, telling what happens by `say`.

    Runs then get `drain_s` seconds to end, or until a second signal; unfinished jobs go on at the next `up`.
    """
    if database_url is None:
        say(f"Warning: {SQLITE_WARNING}")
    say("Starting the Prefect server and its workers (about 20 seconds) …")
    try:
        with (
            signals_interrupt(),
            served(home, store_uri, gpu_pools, port=port, auth=auth, database_url=database_url) as setup,
        ):
            _welcome(setup, store_uri, database_url, say)
            try:
                _watch(setup, say)
            except KeyboardInterrupt:
                _drain(setup, drain_s, say)
                raise
    except KeyboardInterrupt:
        say("Stopped.")


def _drain(setup: ServedSetup, drain_s: float, say: Callable[[str], None]) -> None:
    import httpx

    try:
        with next_signal() as hurry, connect(setup.connection) as client:
            if not drain(client, setup.pools, owner_of(setup.home), within_s=drain_s, hurry=hurry, say=say):
                say("Unfinished jobs are handed back; they go on at the next `reelmill up`.")
    except httpx.HTTPError:
        say("The Prefect server did not answer; unfinished jobs go on at the next `reelmill up`.")


def _welcome(setup: ServedSetup, store_uri: str, database_url: str | None, say: Callable[[str], None]) -> None:
    say(f"Prefect's pages   {setup.connection.ui_url}")
    if setup.auth:
        # To a terminal only: what is written to a journal or a log is read by others.
        shown = (
            f"{setup.auth}   (kept in {setup.home / 'auth'})" if sys.stderr.isatty() else f"in {setup.home / 'auth'}"
        )
        say(f"  password        {shown}")
    say(f"Prefect's clients PREFECT_API_URL={setup.api_url}")
    if setup.auth:
        say("                  PREFECT_API_AUTH_STRING=the password above")
    say(f"Store             {store_uri}")
    say(f"Runs              {shown_database(database_url)}")
    say(f"Logs              {setup.children.log_dir}")
    say("Submit a job      reelmill submit VIDEO --model MODEL --fps 1")
    say("Ctrl-C lets what runs end, hands back the rest, and ends.")


def _watch(setup: ServedSetup, say: Callable[[str], None]) -> None:
    while True:
        ended = setup.children.ended()
        if SERVER in ended:
            server_log = setup.children.log_path(SERVER)
            raise ServerNotReadyError(f"the Prefect server has ended; its output is in {server_log}.")
        for worker in setup.workers:
            if worker.name in ended:
                log = setup.children.log_path(worker.name)
                say(f"{worker.name} has ended (its output is in {log}); starting anew.")
                setup.start_worker(worker)
        time.sleep(1.0)
