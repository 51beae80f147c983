"""What commands print: results on stdout, the rest on stderr; JSON where a program reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import typer


def say(line: str) -> None:
    """One line of the answer."""
    typer.echo(line)


def note(line: str) -> None:
    """One line beside the answer."""
    typer.echo(line, err=True)


def say_json(answer: Any) -> None:
    """The answer for a program: one JSON document."""
    import orjson

    say(orjson.dumps(answer, option=orjson.OPT_INDENT_2, default=str).decode())


def say_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows under headings, in columns; nothing is cut, so that ids can be copied."""
    lines = [list(map(str, headings)), *(["" if cell is None else str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
