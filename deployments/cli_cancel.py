"""`reelmill cancel`: end a served job; finished shards stay, and the same request goes on from them."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.cli_errors import FAILED
from deployments.cli_output import note, say


def add_commands(app: typer.Typer) -> None:
    """Add `cancel`."""
    app.command()(cancel)


def cancel(
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID")],
    *,
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait so long for its processes to end.")
    ] = 120.0,
) -> int:
    """End a job and its GPU runs. What was done stays, and the same request goes on from it.

    Exit status: 0 it has ended, 1 it is still being ended.
    """
    from deployments.job_cancelling import cancel_job, wait_until_ended
    from deployments.jobs import job_id_of, read_job
    from deployments.registration import connect
    from deployments.running_server import find_connection

    wanted = job_id_of(job_id)
    with connect(find_connection()) as client:
        job = read_job(client, wanted)
        if job.final:
            say(f"{wanted} has ended already: {job.state_name}.")
            return 0
        cancel_job(client, wanted)
        if wait_until_ended(client, wanted, within_s=wait_s):
            say(f"{wanted} is cancelled; the same request goes on from what is done.")
            return 0
    note(f"{wanted} is still being ended; `reelmill status {wanted}` tells.")
    return FAILED
