"""The served set-up on one machine: Prefect server, pools, deployments, a cpu worker and a worker for each GPU pool.

`served` is the whole of it as a context manager, `up` runs it until a signal. What was started is ended, workers first,
and nothing is left over.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from deployments.child_processes import ChildProcesses
from deployments.prefect_server import (
    HOST,
    SERVER,
    Connection,
    ServerNotReadyError,
    free_port,
    plain_environment,
    quiet_settings,
    require_free,
    start_server,
    wait_until_ready,
)
from deployments.registration import CPU_POOL, GPU_POOL, connect, prepare_server
from deployments.running_server import RunningSetup, announced, kept_auth, only_one
from deployments.signals import signals_interrupt

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

CPU_WORKER_LIMIT = 4
_INTERRUPTED = "its worker was stopped; submit the job again to do what is missing."


@dataclass(frozen=True)
class Worker:
    """One worker process of a pool, running at most `limit` runs at once."""

    pool: str
    limit: int

    @property
    def name(self) -> str:
        """What its process and its log are called."""
        return f"worker-{self.pool}"

    def command(self) -> list[str]:
        """The command line."""
        start = [sys.executable, "-m", "prefect", "--no-prompt", "worker", "start", "--type", "process"]
        return [*start, "--pool", self.pool, "--name", self.name, "--limit", str(self.limit)]


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

    def start_worker(self, worker: Worker) -> None:
        """Start that worker."""
        self.children.start(worker.name, worker.command(), env=self.worker_env, cwd=self.home)

    def stop_workers(self) -> None:
        """End the workers and the runs that they started."""
        self.children.stop([worker.name for worker in self.workers])
        self.children.stop_strays()


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
        setup = ServedSetup(
            connection,
            home,
            (Worker(CPU_POOL, cpu_limit), *(Worker(pool, 1) for pool in gpu_pools)),
            ChildProcesses(home / "logs"),
            _worker_environment(home, connection, store_uri) | dict(worker_env or {}),
        )
        try:
            start_server(setup.children, setup.prefect_home, connection, port=port, database_url=database_url)
            _make_ready(setup, gpu_pools)
            with announced(home, RunningSetup(connection.api_url, connection.auth, store_uri)):
                yield setup
        finally:
            _end(setup)


def _worker_environment(home: Path, connection: Connection, store_uri: str) -> dict[str, str]:
    return {
        **plain_environment(),
        **quiet_settings(home / "prefect"),
        **connection.client_settings(),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "REELMILL_STORE": store_uri,
        "REELMILL_JOB_DISPATCH": "deployment",
    }


def _make_ready(setup: ServedSetup, gpu_pools: Sequence[str]) -> None:
    import flows.infer_video  # noqa: F401 - a few seconds of imports while the server comes up

    wait_until_ready(setup.children, setup.prefect_home, setup.connection)
    with connect(setup.connection) as client:
        close_interrupted_runs(client)
        prepare_server(client, gpu_pools=gpu_pools)
    for worker in setup.workers:
        setup.start_worker(worker)


def _end(setup: ServedSetup) -> None:
    try:
        setup.stop_workers()
        if SERVER not in setup.children.ended():
            _close_runs_of_ended_workers(setup)
    finally:
        setup.children.stop_all()


def _close_runs_of_ended_workers(setup: ServedSetup) -> None:
    import httpx

    try:
        with connect(setup.connection) as client:
            close_interrupted_runs(client)
    except httpx.HTTPError:  # the server is not up yet, or no more: the next start closes them
        return


def close_interrupted_runs(client: SyncPrefectClient) -> None:
    """Mark as crashed what the server still takes for running, when no worker runs.

    A worker that is ended leaves its runs RUNNING for ever, and each holds a slot of its pool's limit.
    """
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    unfinished = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=unfinished))
    while runs := client.read_flow_runs(flow_run_filter=FlowRunFilter(state=state), limit=200):
        for run in runs:
            client.set_flow_run_state(run.id, Crashed(message=_INTERRUPTED), force=True)
        for run in runs:
            _cancel_children(client, run.id)


def _cancel_children(client: SyncPrefectClient, run_id: UUID) -> None:
    """GPU runs that still wait would start without their job when there are workers again."""
    from tasks.gpu_dispatch import cancel_children

    cancel_children(client, run_id)


def up(
    home: Path,
    store_uri: str,
    gpu_pools: Sequence[str],
    *,
    port: int,
    auth: bool,
    database_url: str | None,
    say: Callable[[str], None],
) -> None:
    """Run the set-up until SIGINT or SIGTERM, telling what happens by `say`."""
    say("Starting the Prefect server and its workers (about 20 seconds) …")
    try:
        with (
            signals_interrupt(),
            served(home, store_uri, gpu_pools, port=port, auth=auth, database_url=database_url) as setup,
        ):
            _welcome(setup, store_uri, say)
            _watch(setup, say)
    except KeyboardInterrupt:
        say("Stopped.")


def _welcome(setup: ServedSetup, store_uri: str, say: Callable[[str], None]) -> None:
    say(f"Prefect's pages   {setup.connection.ui_url}")
    if setup.auth:
        say(f"  password        {setup.auth}   (kept in {setup.home / 'auth'})")
    say(f"Prefect's clients PREFECT_API_URL={setup.api_url}")
    if setup.auth:
        say("                  PREFECT_API_AUTH_STRING=the password above")
    say(f"Store             {store_uri}")
    say(f"Logs              {setup.children.log_dir}")
    say("Submit a job      reelmill submit VIDEO --model MODEL --fps 1")
    say("Ctrl-C ends it.")


def _watch(setup: ServedSetup, say: Callable[[str], None]) -> None:
    while True:
        ended = setup.children.ended()
        if SERVER in ended:
            log = setup.children.log_path(SERVER)
            raise ServerNotReadyError(f"the Prefect server has ended; its output is in {log}.")
        for worker in setup.workers:
            if worker.name in ended:
                say(
                    f"{worker.name} has ended (its output is in {setup.children.log_path(worker.name)}); starting anew."
                )
                setup.start_worker(worker)
        time.sleep(1.0)
