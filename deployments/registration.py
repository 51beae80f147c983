"""Make a Prefect server ready for jobs: pools from the template, queues, and the deployments of prefect.yaml.

prefect.yaml is the one place that says what is deployed; `prefect deploy` reads the same file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from deployments.automations import register_automations
from deployments.prefect_server import Connection

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

CPU_POOL = "cpu"
GPU_POOL = "gpu"
QUEUES = {"interactive": 1, "bulk": 10}
"""Queue name → priority; the lower number goes first."""

_FOLDER = Path(__file__).parent
DEPLOYMENTS_FILE = _FOLDER / "prefect.yaml"
PoolKind = Literal["process", "docker", "kubernetes"]


class PoolPlace(BaseModel):
    """The pool and queue where a deployment's runs wait."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    work_queue_name: str


class CronEntry(BaseModel):
    """When a deployment starts by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: str
    timezone: str = "UTC"


class LimitEntry(BaseModel):
    """How many runs of a deployment there may be at once, and what becomes of one more."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(ge=1)
    collision_strategy: str = "ENQUEUE"


class DeploymentEntry(BaseModel):
    """One entry of prefect.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    entrypoint: str
    work_pool: PoolPlace
    schedules: list[CronEntry] = []
    concurrency_limit: LimitEntry | None = None


def read_deployments(path: Path = DEPLOYMENTS_FILE, *, gpu_pools: Sequence[str] = (GPU_POOL,)) -> list[DeploymentEntry]:
    """The entries of prefect.yaml, with those of the pool `gpu` once for each of `gpu_pools`, named by the pool."""
    import yaml

    entries = [DeploymentEntry.model_validate(entry) for entry in yaml.safe_load(path.read_text())["deployments"]]
    gpu_entries = [entry for entry in entries if entry.work_pool.name == GPU_POOL]
    return [entry for entry in entries if entry not in gpu_entries] + [
        entry.model_copy(update={"name": pool, "work_pool": entry.work_pool.model_copy(update={"name": pool})})
        for entry in gpu_entries
        for pool in gpu_pools
    ]


def pool_template(kind: PoolKind = "process") -> dict[str, Any]:
    """The base job template: a caller can set neither command, environment nor working directory of a run."""
    template: dict[str, Any] = json.loads((_FOLDER / f"{kind}-pool.json").read_text())
    return template


def connect(connection: Connection) -> SyncPrefectClient:
    """A client of that server, whatever Prefect's own settings say; a context manager."""
    from prefect.client.orchestration import SyncPrefectClient

    return SyncPrefectClient(connection.api_url, auth_string=connection.auth)


def prepare_server(
    client: SyncPrefectClient,
    *,
    gpu_pools: Sequence[str] = (GPU_POOL,),
    gpu_kind: PoolKind = "process",
    gpus_in_pool: int = 1,
) -> None:
    """Make pools, queues, deployments and automations, or bring them up to date. A GPU pool runs a job on each GPU."""
    make_pool(client, CPU_POOL, concurrency_limit=None)
    for pool in gpu_pools:
        make_pool(client, pool, concurrency_limit=gpus_in_pool, kind=gpu_kind)
    for entry in read_deployments(gpu_pools=gpu_pools):
        deploy(client, entry)
    register_automations(client)


def make_pool(
    client: SyncPrefectClient, name: str, *, concurrency_limit: int | None, kind: PoolKind = "process"
) -> None:
    """A pool with our template of its kind and the queues of `QUEUES`."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    pool = WorkPoolCreate(
        name=name, type=kind, base_job_template=pool_template(kind), concurrency_limit=concurrency_limit
    )
    client.create_work_pool(pool, overwrite=True)
    for queue, priority in QUEUES.items():
        try:
            client.create_work_queue(name=queue, priority=priority, work_pool_name=name)
        except ObjectAlreadyExists:
            continue


def deploy(client: SyncPrefectClient, entry: DeploymentEntry) -> None:
    """Create or update one deployment. Imports the flow, so that what cannot be imported fails here."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    flow: Any = load_flow_from_entrypoint(entry.entrypoint, use_placeholder_flow=False)
    limit = entry.concurrency_limit
    client.create_deployment(
        flow_id=client.create_flow_from_name(flow.name),
        name=entry.name,
        version=flow.version,
        description=flow.description,
        entrypoint=entry.entrypoint,
        parameter_openapi_schema=parameter_schema(flow).model_dump(exclude_unset=True),
        enforce_parameter_schema=True,
        work_pool_name=entry.work_pool.name,
        work_queue_name=entry.work_pool.work_queue_name,
        # None: those that somebody gave it are taken back.
        job_variables={},
        # Neither steps nor a path: a path would be copied, whole, for every run.
        pull_steps=[],
        path=None,
        schedules=[
            DeploymentScheduleCreate(schedule=CronSchedule(cron=item.cron, timezone=item.timezone))
            for item in entry.schedules
        ],
        concurrency_limit=limit.limit if limit else None,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy(limit.collision_strategy))
        if limit
        else None,
    )
