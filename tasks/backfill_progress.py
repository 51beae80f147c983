"""What callers poll of a backfill: labels and a table artifact of its flow run, beside the file in the store.

Losing a word to a server that is away harms nobody: it is logged, and the next one follows.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.exceptions import PrefectHTTPStatusError

from models.errors import PassingError
from tasks.backfill_table import Row, counts, sums, table_key, write_table
from tasks.job_spec import output_uri
from tasks.settings import BackfillSettings
from tasks.store import Store

_log = logging.getLogger(__name__)

_SHOWN = 1000
"""Rows that the artifact shows; the file holds all of them."""
_SHOW_EVERY = 3
"""Savings for each showing."""
_ORDER = {"failed": 0, "running": 1, "registered": 2, "waiting": 3, "done": 4, "skipped": 5}


class BackfillProgress:
    """Writes the table of a backfill into the store, and shows it."""

    def __init__(self, store: Store, name: str, rows: Sequence[Row], run_id: str, settings: BackfillSettings) -> None:
        """Write and show it for the first time."""
        self._store = store
        self._name = name
        self._rows = rows
        self._run_id = UUID(run_id)
        self._every_s = settings.save_s
        self._saved_at_s = 0.0
        self._saved = ""
        self._saves = 0
        self._artifact_id: UUID | None = None
        self.uri = output_uri(store, table_key(name))
        write_table(store, name, rows)
        self._show()

    def look(self) -> None:
        """Save what changed, if the last time was a while ago."""
        if time.monotonic() - self._saved_at_s < self._every_s:
            return
        began_s = time.monotonic()
        self._save()
        # A table that takes long to write is written less often.
        self._saved_at_s = time.monotonic() + 9 * (time.monotonic() - began_s)

    def end(self) -> None:
        """Save and show what it came to. Raises what the store raises."""
        write_table(self._store, self._name, self._rows)
        self._show()

    def _save(self) -> None:
        now = str((counts(self._rows), max((row.updated_at for row in self._rows), default=None)))
        if now == self._saved:
            return
        try:
            write_table(self._store, self._name, self._rows)
        except PassingError as error:
            _log.warning("the backfill's table could not be written (%s); tried again", error)
            return
        self._saved = now
        self._saves += 1
        if self._saves % _SHOW_EVERY == 0:
            self._show()

    def _show(self) -> None:
        try:
            with get_client(sync_client=True) as client:
                client.update_flow_run_labels(self._run_id, labels_of(self._name, self.uri, self._rows))
            self._show_table()
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            _log.warning("progress could not be shown (%s); tried again later", error)

    def _show_table(self) -> None:
        table, text = shown_table(self._rows), summary_text(self._rows, self.uri)
        if self._artifact_id is None:
            made = create_table_artifact(table, key=f"backfill-{self._run_id}", description=text)
            self._artifact_id = cast("UUID", made)
            return
        with get_client(sync_client=True) as client:
            client.update_artifact(self._artifact_id, ArtifactUpdate(data=json.dumps(table), description=text))


def labels_of(name: str, uri: str, rows: Sequence[Row]) -> dict[str, str | int | float | bool]:
    """What `GET /api/flow_runs/{id}` gives back of a backfill; pure."""
    found = counts(rows)
    totals = sums(rows)
    told = {f"videos_{state}": found[state] for state in ("done", "failed", "skipped")}
    frames = {name: int(totals[name]) for name in ("frames_total", "frames_failed")}
    costs = {name: totals[name] for name in ("decode_cpu_s", "gpu_s", "read_bytes", "written_bytes")}
    return {"backfill": name, "table_uri": uri, "videos_total": len(rows), **told, **frames, **costs}


def summary_text(rows: Sequence[Row], uri: str) -> str:
    """The backfill in some lines of markdown; pure."""
    totals = sums(rows)
    states = ", ".join(f"{number} {state}" for state, number in counts(rows).items() if number)
    shown = f" The first {_SHOWN} of them are shown, failed ones first." if len(rows) > _SHOWN else ""
    return (
        f"{len(rows)} videos: {states or 'none'}.{shown} {totals['frames_total']:.0f} frames, "
        f"{totals['frames_failed']:.0f} of them failed; {totals['decode_cpu_s']:.1f} CPU seconds of decoding, "
        f"{totals['gpu_s']:.1f} seconds of models. Table: `{uri}`"
    )


def shown_table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as people look at them, those that ask for attention first; pure."""
    ordered = sorted(rows, key=lambda row: _ORDER[row.state])[:_SHOWN]
    return [
        {
            "source": row.source,
            "state": row.state,
            "reason": row.reason,
            "frames": row.frames_total,
            "frames failed": row.frames_failed,
            "decode CPU s": round(row.decode_cpu_s, 2),
            "models s": round(row.gpu_s, 2),
            "result": row.output_uri,
            "job": row.job_id,
        }
        for row in ordered
    ]
