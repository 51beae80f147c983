"""`reelmill submit`, `status`, `result` and `jobs`: served jobs, from the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli_errors import FAILED, INCOMPLETE
from deployments.cli_infer import EndOption, ForceOption, FpsOption, JsonOption, ModelOption, ParamOption, StartOption
from deployments.cli_output import note, say, say_json, say_table

if TYPE_CHECKING:
    from deployments.jobs import Job

_POLL_S = 1.0


def add_commands(app: typer.Typer) -> None:
    """Add the commands about served jobs."""
    app.command()(submit)
    app.command()(status)
    app.command()(result)
    app.command("jobs")(list_known)


def submit(
    video: Annotated[
        str,
        typer.Argument(metavar="VIDEO", help="The id of a registered video, a file, which is registered, or a URL."),
    ],
    *,
    model: ModelOption,
    fps: FpsOption,
    param: ParamOption = None,
    start_s: StartOption = None,
    end_s: EndOption = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Idempotency key: the same request under it is one piece of work."),
    ] = None,
    force: ForceOption = False,
    webhook: Annotated[
        str | None,
        typer.Option(
            "--webhook", metavar="URL", help="https URL that is sent a signed message when the job has ended."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start a job on the Prefect server and print its id."""
    from deployments.command_store import command_store
    from deployments.inference_arguments import check_arguments, make_request, source_of
    from deployments.jobs import submit as submit_request
    from deployments.registration import connect
    from deployments.running_server import find_connection

    check_arguments(video, models=model, params=param or [], fps=fps)
    with connect(find_connection()) as client:
        client.hello().raise_for_status()
        store = command_store()
        source = source_of(store, video)
        asked = {**source, "idempotency_key": key, "force": force, "webhook_url": webhook}
        request = make_request(store, models=model, params=param or [], fps=fps, start_s=start_s, end_s=end_s, **asked)
        job_id = submit_request(client, request)
    if as_json:
        say_json({"job_id": job_id, **source})
    else:
        say(job_id)


def status(
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID")],
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended; the exit status says how.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Say how far a job is.

    Exit status with --wait: 0 done, 1 the job failed, 3 done with frames missing.
    """
    from deployments.jobs import job_id_of

    with _reader(job_id_of(job_id)) as read:
        job = _waited_for(read) if wait else read()
    if as_json:
        say_json({**asdict(job), "output_uri": job.labels.get("output_uri")})
    else:
        for line in status_lines(job):
            say(line)
    return exit_status(job) if wait else 0


def status_lines(job: Job) -> list[str]:
    """A job's state for a person."""
    lines = [job.state_name + (f": {job.message}" if job.message else "")]
    width = max(map(len, job.labels), default=0)
    return lines + [f"{name:{width}}  {job.labels[name]}" for name in sorted(job.labels)]


def exit_status(job: Job) -> int:
    """What `--wait` ends with."""
    from deployments.job_results import COMPLETED

    if job.state_type != COMPLETED:
        return FAILED
    return INCOMPLETE if int(job.labels.get("frames_failed", 0)) else 0


@contextmanager
def _reader(job_id: str) -> Iterator[Callable[[], Job]]:
    """Yield what reads the job: from the server, or from the store where no server knows it."""
    from deployments.command_store import command_store
    from deployments.jobs import UnknownJobIdError, read_job, read_stored_job
    from deployments.registration import connect
    from deployments.running_server import NoServerError, find_connection

    try:
        connection = find_connection()
    except NoServerError:
        store = command_store()
        yield lambda: read_stored_job(store, job_id)
        return
    with connect(connection) as client:
        try:
            read_job(client, job_id)
        except UnknownJobIdError:
            store = command_store()
            if store.stat(f"jobs/{job_id}/spec.json") is None:
                raise
            yield lambda: read_stored_job(store, job_id)
            return
        yield lambda: read_job(client, job_id)


def _waited_for(read: Callable[[], Job]) -> Job:
    from deployments.job_bar import labels_bar
    from deployments.jobs import wait_for

    with labels_bar() as show:
        for job in wait_for(read, poll_s=_POLL_S):
            show(job.state_name, job.labels)
    return job


def result(
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID")],
    *,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Copy the result's files there.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say where a job's result lies, or copy it."""
    from deployments.command_store import command_store
    from deployments.job_results import fetch_result, result_prefix, result_uris
    from deployments.jobs import job_id_of

    store = command_store()
    prefix = result_prefix(store, job_id_of(job_id))
    places = [str(path) for path in fetch_result(store, prefix, out)] if out else result_uris(store, prefix)
    if as_json:
        say_json({"job_id": job_id, "files": places})
        return
    for place in places:
        say(place)


def list_known(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many, the newest.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first: the server's, or the store's where no server is known."""
    jobs = _known_jobs(limit)
    if as_json:
        say_json([asdict(job) for job in jobs])
        return
    rows = (
        (
            job.job_id,
            job.state_name,
            f"{job.created_at:%Y-%m-%d %H:%M}" if job.created_at else "",
            f"{job.labels.get('frames_done', '')}/{job.labels.get('frames_total', '')}".strip("/"),
            job.labels.get("output_uri"),
        )
        for job in jobs
    )
    say_table(("job id", "state", "created (UTC)", "frames", "result"), rows)


def _known_jobs(limit: int) -> list[Job]:
    from deployments.command_store import command_store
    from deployments.jobs import list_jobs, list_stored_jobs
    from deployments.registration import connect
    from deployments.running_server import NoServerError, find_connection

    try:
        connection = find_connection()
    except NoServerError:
        note("no Prefect server is known here; these are the jobs of the store.")
        return list_stored_jobs(command_store(), limit=limit)
    with connect(connection) as client:
        return list_jobs(client, limit=limit)
