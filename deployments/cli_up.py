"""`reelmill up`: everything that served jobs need, on this machine, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployments.cli_output import note


def add_commands(app: typer.Typer) -> None:
    """Add `up`."""
    app.command()(up)


def up(
    *,
    home: Annotated[
        Path | None,
        typer.Option("--home", help="Where database, password and logs lie; ~/.reelmill/server if left out."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Where the server listens, on 127.0.0.1.")
    ] = 4200,
    gpu_pool: Annotated[
        list[str] | None,
        typer.Option("--gpu-pool", metavar="NAME", help="One more GPU pool, with a worker of its own."),
    ] = None,
    auth: Annotated[bool, typer.Option("--auth/--no-auth", help="Whether the server asks for a password.")] = True,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            help="A PostgreSQL URL; the one in REELMILL_DATABASE_URL if left out, else SQLite in the home.",
        ),
    ] = None,
    drain: Annotated[
        float, typer.Option("--drain", min=0, metavar="SECONDS", help="How long runs may go on after Ctrl-C.")
    ] = 30.0,
) -> None:
    """Run a Prefect server, its pools, the deployments and the workers, until Ctrl-C."""
    from deployments import local
    from deployments.database_url import chosen_database
    from deployments.registration import GPU_POOL
    from deployments.running_server import server_home
    from tasks.store import open_store

    pools = dict.fromkeys([GPU_POOL, *(gpu_pool or [])])
    local.up(
        server_home(home),
        open_store().uri,
        tuple(pools),
        port=port,
        auth=auth,
        database_url=chosen_database(database),
        drain_s=drain,
        say=note,
    )
