"""Make a Prefect server of your own ready: `python -m deployments.server_set_up`; `--help` says what it takes.

Does what `reelmill up` does for its own server, for the one that PREFECT_API_URL names: pools, queues, deployments.
Doing it again brings them up to date.
"""

from __future__ import annotations

from typing import Annotated, cast, get_args

import typer

from deployments.cli_output import note


def set_up(
    *,
    gpu_pool: Annotated[
        list[str] | None, typer.Option("--gpu-pool", metavar="NAME", help="GPU pools; `gpu` if none is named.")
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help="Of the GPU pools: process, docker or kubernetes.")
    ] = "process",
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="How many GPUs each GPU pool has in all.")] = 1,
) -> None:
    """Make pools, queues and deployments on the Prefect server that is set."""
    from deployments.registration import GPU_POOL, PoolKind, connect, prepare_server
    from deployments.running_server import find_connection

    if kind not in get_args(PoolKind):
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(get_args(PoolKind))}.", param_hint="--kind")
    connection = find_connection()
    pools = tuple(dict.fromkeys(gpu_pool or [GPU_POOL]))
    with connect(connection) as client:
        prepare_server(client, gpu_pools=pools, gpu_kind=cast("PoolKind", kind), gpus_in_pool=gpus)
    note(f"{connection.ui_url} is ready: pools cpu, {', '.join(pools)}, and all deployments.")


if __name__ == "__main__":
    typer.run(set_up)
