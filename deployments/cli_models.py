"""`reelmill models` and `compare`: what can be run, and how far two results differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployments.cli_output import say, say_json, say_table

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands about models and results."""
    models = typer.Typer(invoke_without_command=True, help="List the models that a request may name, or add one.")
    models.callback()(list_models)
    models.command("add")(add)
    app.add_typer(models, name="models")
    app.command()(compare)


def list_models(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """List the models that a request may name, or add one."""
    if context.invoked_subcommand:
        return
    from deployments.command_store import command_store
    from tasks.model_sources import known_models

    known = known_models(command_store())
    if as_json:
        say_json({name: model.model_dump(mode="json") for name, model in known.items()})
        return
    rows = (
        (name, model.entry.inference_type, model.entry.source, (model.entry.revision or "")[:12], model.entry.use)
        for name, model in known.items()
    )
    say_table(("name", "type", "source", "revision", "good for"), rows)


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What requests will call it.")],
    source: Annotated[str, typer.Argument(metavar="FOLDER|HUB_ID", help="A folder with weights, or a hub id.")],
    *,
    revision: Annotated[str | None, typer.Option("--revision", help="Commit, tag or branch of a hub id.")] = None,
    inference_type: Annotated[
        str | None, typer.Option("--type", help="What it does, where its configuration doesn't tell.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put own weights, or a hub id at a commit, into the store under a name."""
    from deployments.command_store import command_store
    from tasks.model_sources import add_model

    entry = add_model(command_store(), name, source, revision=revision, inference_type=inference_type)
    if as_json:
        say_json({"name": name, **entry.model_dump(mode="json")})
        return
    say(f"{name}  {entry.inference_type}  {entry.source} {entry.revision or ''}".rstrip())


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A result's folder, or its predictions.json.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Say how far two results differ: lists, classes, boxes, scores."""
    from tasks.comparison import compare_results, report_as_dict, report_as_lines

    report = compare_results(a, b)
    if as_json:
        say_json(report_as_dict(report))
        return
    for line in report_as_lines(report):
        say(line)
