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
    """Rows under headings."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console(soft_wrap=True, highlight=False, markup=False).print(table)
