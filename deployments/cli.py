"""The command `reelmill`. Heavy modules are imported by the commands that need them, so `--help` is quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from deployments import cli_backfill, cli_cancel, cli_frames, cli_infer, cli_jobs, cli_models, cli_up, cli_videos
from deployments.cli_errors import Complaint, complaint_about

DEBUG = "REELMILL_DEBUG"

app = typer.Typer(
    name="reelmill",
    help="Batch video inference that you run yourself.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for module in (cli_infer, cli_backfill, cli_videos, cli_frames, cli_jobs, cli_cancel, cli_models, cli_up):
    module.add_commands(app)


@app.callback()
def options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="On an error, show where it came from.")] = False,
) -> None:
    """Batch video inference that you run yourself.

    Exit status: 0 done, 1 failed, 2 the request cannot be meant, 3 done with frames missing.
    """
    if debug:
        os.environ[DEBUG] = "1"


def run(arguments: Sequence[str]) -> int:
    """Run one command line; what goes wrong is one sentence on stderr. Returns the exit status."""
    try:
        return app(list(arguments), standalone_mode=False) or 0
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get(DEBUG, "0") not in ("", "0"):
            raise
        complaint = complaint_about(error)
    if complaint.sentence:
        print(f"reelmill: {complaint.sentence}", file=sys.stderr)  # noqa: T201
    return complaint.status


def main() -> None:
    """Run as a console command. Prefect says nothing to anybody outside unless its user lets it."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    sys.exit(run(sys.argv[1:]))


__all__ = ["Complaint", "app", "main", "run"]

if __name__ == "__main__":
    main()
