"""`reelmill backfill`: a folder, an S3 prefix or a list of videos, and models to run on all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from deployments.cli_errors import FAILED, INCOMPLETE
from deployments.cli_infer import EndOption, FpsOption, JsonOption, ModelOption, ParamOption, StartOption
from deployments.cli_output import note, say, say_json, say_table

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

    from models.backfill_request import BackfillRequest
    from models.request import ModelRequest
    from tasks.backfill_table import Row
    from tasks.store import Store

DEPLOYMENT = "backfill-videos/default"
_PATIENCE_S = 3.0
"""After Ctrl-C: how long the models may go on before the process ends without them."""
_REASONS = 20
"""Failed videos that are told one by one; the table holds all."""


def add_commands(app: typer.Typer) -> None:
    """Add `backfill`."""
    app.command()(backfill)


def backfill(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A folder, s3://bucket/prefix, or a list: a .csv, .parquet or .jsonl file."
        ),
    ],
    *,
    model: ModelOption,
    fps: FpsOption,
    param: ParamOption = None,
    start_s: StartOption = None,
    end_s: EndOption = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Started again under the same name, it goes on. Made up if left out.")
    ] = None,
    in_flight: Annotated[
        int, typer.Option("--in-flight", min=1, max=256, help="GPU runs that wait or work at a time.")
    ] = 2,
    again: Annotated[str, typer.Option("--again", help="Go through finished videos again: no, failed, or all.")] = "no",
    submit: Annotated[
        bool, typer.Option("--submit", help="Run it on the Prefect server, and print the run's id.")
    ] = False,
    as_json: JsonOption = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Prefect's log.")] = False,
) -> int:
    """Run models on many videos, on this machine or, with --submit, on the server's workers.

    Started again, it goes on: videos that are done stay as they are. Exit status: 0 done, 1 nothing could be done, 2 a
    bad request, 3 done with videos missing.
    """
    from deployments.inference_arguments import rate
    from deployments.model_argument import parse_models

    for argument in parse_models(model, param or []):
        argument.request()
    fields = {"source": _absolute(source), "infer_fps": rate(fps), "start_s": start_s, "end_s": end_s, "name": name}
    fields |= {"in_flight": in_flight, "again": again}
    if submit:
        return _submit(model, param or [], fields, as_json=as_json)
    return _run_here(model, param or [], fields, as_json=as_json, verbose=verbose)


def _absolute(source: str) -> str:
    from pathlib import Path

    return source if "://" in source or source.startswith("store:") else str(Path(source).expanduser().absolute())


def _request(store: Store, models: list[str], params: list[str], fields: dict[str, Any]) -> BackfillRequest:
    from deployments.inference_arguments import model_request
    from deployments.model_argument import parse_models
    from models.backfill_request import BackfillRequest

    asked: list[ModelRequest] = [model_request(store, argument) for argument in parse_models(models, params)]
    said = {field: value for field, value in fields.items() if value is not None}
    return BackfillRequest.model_validate({**said, "models": asked})


def _submit(models: list[str], params: list[str], fields: dict[str, Any], *, as_json: bool) -> int:
    from deployments.command_store import command_store
    from deployments.registration import connect
    from deployments.running_server import find_connection
    from tasks.backfill_owner import name_of

    with connect(find_connection()) as client:
        client.hello().raise_for_status()
        request = _request(command_store(), models, params, fields)
        deployment = _deployment(client)
        parameters = {"request": request.model_dump(mode="json", exclude_unset=True, exclude_none=True)}
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    if as_json:
        say_json({"run_id": str(run.id), "name": name_of(request)})
    else:
        say(str(run.id))
    return 0


def _deployment(client: SyncPrefectClient) -> DeploymentResponse:
    from prefect.exceptions import ObjectNotFound

    from deployments.jobs import NotDeployedError

    try:
        return client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound as error:
        raise NotDeployedError(
            f"the Prefect server at {client.api_url} has no deployment {DEPLOYMENT}; "
            "deploy deployments/prefect.yaml there, or use `reelmill up`."
        ) from error


def _run_here(models: list[str], params: list[str], fields: dict[str, Any], *, as_json: bool, verbose: bool) -> int:
    from deployments.embedded import embedded_prefect
    from deployments.signals import signals_interrupt

    with signals_interrupt(patience_s=_PATIENCE_S) as interruption, embedded_prefect(verbose=verbose) as prefect:
        interruption.finally_do(prefect.remove)
        from prefect.client.schemas.objects import State

        from flows.backfill_videos import backfill_videos
        from tasks.backfill_owner import name_of
        from tasks.backfill_table import read_table
        from tasks.store import open_store

        store = open_store()
        request = _request(store, models, params, fields)
        prefect.wait_until_ready()
        state = cast("State[Any]", backfill_videos(request, return_state=True))
    rows = read_table(store, name_of(request))
    return _report(rows, state.message, name_of(request), as_json=as_json, completed=state.is_completed())


def _report(rows: list[Row], message: str | None, name: str, *, as_json: bool, completed: bool) -> int:
    """Say how it ended, and what failed; the exit status."""
    from dataclasses import asdict

    from tasks.backfill_table import counts

    failed = [row for row in rows if row.state == "failed"]
    if as_json:
        say_json({"name": name, "message": message, "counts": counts(rows), "videos": [asdict(row) for row in rows]})
    else:
        say_table(
            ("video", "state", "frames", "result"), ((r.source, r.state, r.frames_total, r.output_uri) for r in rows)
        )
        for row in failed[:_REASONS]:
            note(f"{row.source}: {row.reason}")
    if message:
        note(message)
    if not completed:
        return FAILED
    return INCOMPLETE if failed else 0
