"""What a backfill goes through, one item a video, and how a list of them is read: CSV, Parquet or JSON lines.

Pure: bytes in, items out. It knows nothing of stores, folders or Prefect.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.errors import PermanentError
from tasks.job_spec import digest
from tasks.url_addresses import redact_url

MANIFEST_SUFFIXES = (".csv", ".parquet", ".jsonl", ".ndjson")
_PLACES = ("source", "uri", "path", "url", "video_id")
_NUMBERS = ("start_s", "end_s")
_OVERRIDES = ("infer_fps", *_NUMBERS, "models", "gpu_runs")
_KEY = "idempotency_key"


class ManifestError(PermanentError):
    """A list of videos that cannot be read."""


@dataclass(frozen=True)
class Item:
    """One video of a backfill, and what its row says otherwise than the request."""

    source: str
    """Where it is: a path, an `s3://` URI, an https URL, or the id of a registered video."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str = ""
    stamp: str = ""
    """Changes when the file does, where that is known."""
    problem: str | None = None
    """Why nothing can be done for it."""

    @property
    def shown(self) -> str:
        """The source without what could be a secret."""
        return redact_url(self.source) if self.source.startswith(("https://", "http://")) else self.source

    @property
    def identity(self) -> str:
        """What makes it the same item the next time; a URL that is signed anew each time needs a key for that."""
        return self.idempotency_key or digest([self.source, dict(self.overrides)])

    def __repr__(self) -> str:
        return f"Item({self.shown!r})"


def is_manifest(name: str) -> bool:
    """Whether a file of that name is taken for a list of videos."""
    return name.lower().endswith(MANIFEST_SUFFIXES)


def read_manifest(name: str, data: bytes) -> list[Item]:
    """The items of a list, in its order; `name` tells its format.

    A row names its video in the column `source` (or `uri`, `path`, `url`, `video_id`); `infer_fps`, `start_s`,
    `end_s`, `gpu_runs`, `models` (JSON) and `idempotency_key` may stand beside it; other columns are the list's own
    affair. A row that cannot be meant becomes an item with a problem. Raises `ManifestError`.
    """
    suffix = "." + name.lower().rpartition(".")[2]
    try:
        rows = {".csv": _csv_rows, ".parquet": _parquet_rows}.get(suffix, _json_rows)(data)
    except (ValueError, csv.Error) as error:
        raise ManifestError(
            f"the list {name!r} cannot be read ({str(error).splitlines()[0]}); see its format."
        ) from None
    if rows and not any(place in rows[0] for place in _PLACES):
        raise ManifestError(
            f"the list {name!r} says nowhere where a video is; name it in a column called one of {', '.join(_PLACES)}."
        )
    return [item_of(row) for row in rows]


def item_of(row: Mapping[str, Any]) -> Item:
    """One row of a list; a cell that is empty or null says nothing."""
    said = {name: value for name, value in row.items() if value is not None and value != ""}
    places = [str(said[name]).strip() for name in _PLACES if name in said]
    source = places[0] if places else ""
    key = str(said.get(_KEY, ""))
    if len(places) != 1:
        return Item(source, idempotency_key=key, problem="the row names no video, or more than one; give one `source`.")
    overrides = {name: said[name] for name in _OVERRIDES if name in said}
    try:
        return Item(source, _typed(overrides), key)
    except ValueError as error:
        return Item(source, idempotency_key=key, problem=f"the row cannot be read: {error}.")


def without_repeats(items: Iterable[Item]) -> list[Item]:
    """Each item once; one whose idempotency key stands for another request already has a problem."""
    first: dict[str, Item] = {}
    others: list[Item] = []
    for item in items:
        known = first.setdefault(item.identity, item)
        if (known.source, dict(known.overrides)) != (item.source, dict(item.overrides)):
            told = f"its idempotency_key {item.idempotency_key!r} stands for another row; give it one of its own."
            others.append(Item(item.source, item.overrides, f"{item.idempotency_key} ({len(others)})", problem=told))
    return [*first.values(), *others]


def _typed(overrides: dict[str, Any]) -> dict[str, Any]:
    """Cells of a CSV are texts; those of Parquet and JSON have types already."""
    typed = dict(overrides)
    for name in _NUMBERS:
        if isinstance(typed.get(name), str):
            typed[name] = _number(name, typed[name])
    if isinstance(typed.get("gpu_runs"), str):
        typed["gpu_runs"] = int(_number("gpu_runs", typed["gpu_runs"]))
    if isinstance(typed.get("infer_fps"), str):
        typed["infer_fps"] = typed["infer_fps"].strip()
    if "models" in typed:
        typed["models"] = _models(typed["models"])
    return typed


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} is {text[:50]!r}, which is no number") from None


def _models(cell: Any) -> list[Any]:
    """`models` as JSON, or already taken apart; names alone stand for models with their defaults."""
    given = cell
    if isinstance(cell, str):
        try:
            given = json.loads(cell)
        except ValueError:
            raise ValueError(f'models is {cell[:50]!r}, which is no JSON; write [{{"model_id": "…"}}]') from None
    if not isinstance(given, Sequence):
        given = [given]
    if isinstance(given, str):
        given = [given]
    return [{"model_id": model} if isinstance(model, str) else model for model in given]


def _csv_rows(data: bytes) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    return [{name.strip(): value for name, value in row.items() if isinstance(name, str)} for row in reader]


def _json_rows(data: bytes) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is no object")
    return rows


def _parquet_rows(data: bytes) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error)) from None
    return rows
