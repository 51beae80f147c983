"""`reelmill models` and `compare`: what can be run, and how far two results differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployments.cli_output import say, say_json

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands about models and results."""
    app.command()(compare)


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
