"""Lists of videos: what their rows mean, in each format, and what is wrong with those that cannot be meant."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.backfill_request import BackfillRequest
from tasks.backfill_items import Item, ManifestError, read_manifest, without_repeats

ROWS = [
    {"source": "a.mp4", "infer_fps": 2.0, "start_s": 1.0, "end_s": 3.5, "note": "kept by its owner"},
    {"source": "https://host/b.mp4?secret=1", "models": json.dumps([{"model_id": "m"}, "n"]), "idempotency_key": "b"},
    {"source": "s3://bucket/c.mp4", "gpu_runs": 2},
]


def as_csv() -> bytes:
    names = sorted({name for row in ROWS for name in row})
    quoted = [['"' + str(row.get(name, "")).replace('"', '""') + '"' for name in names] for row in ROWS]
    return "\ufeff".encode() + "\r\n".join(",".join(line) for line in [names, *quoted]).encode()


def as_parquet() -> bytes:
    sink = pa.BufferOutputStream()
    names = sorted({name for row in ROWS for name in row})
    pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in names} for row in ROWS]), sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("list.csv", as_csv()),
        ("list.PARQUET", as_parquet()),
        ("list.jsonl", "\n".join(map(json.dumps, ROWS)).encode() + b"\n\n"),
    ],
)
def test_the_formats_say_the_same(name: str, data: bytes) -> None:
    first, second, third = read_manifest(name, data)
    assert (first.source, dict(first.overrides)) == ("a.mp4", {"start_s": 1.0, "end_s": 3.5} | rate(first))
    assert dict(second.overrides) == {"models": [{"model_id": "m"}, {"model_id": "n"}]}
    assert second.idempotency_key == "b"
    assert dict(third.overrides) == {"gpu_runs": 2}
    request = BackfillRequest(source="x", models=[{"model_id": "m"}])
    assert request.request_for("0" * 32, dict(first.overrides)).infer_fps in (2.0, "2.0")


def rate(item: Item) -> dict[str, object]:
    assert float(item.overrides["infer_fps"]) == 2
    return {"infer_fps": item.overrides["infer_fps"]}


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("list.csv", b"name,size\na.mp4,3\n", "says nowhere where a video is"),
        ("list.jsonl", b'{"source": "a.mp4"\n', "cannot be read"),
        ("list.jsonl", b'["a.mp4"]\n', "row 1 is no object"),
        ("list.parquet", b"PAR1 or not", "cannot be read"),
        ("list.csv", b"source\n\xff\xfe\n", "cannot be read"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(name: str, data: bytes, told: str) -> None:
    with pytest.raises(ManifestError, match=told):
        read_manifest(name, data)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ({"source": ""}, "names no video"),
        ({"source": "a.mp4", "path": "b.mp4"}, "more than one"),
        ({"source": "a.mp4", "start_s": "soon"}, "start_s is 'soon'"),
        ({"source": "a.mp4", "models": "{"}, "no JSON"),
    ],
)
def test_a_row_that_cannot_be_meant_is_an_item_with_a_problem(cells: dict[str, str], told: str) -> None:
    (item,) = read_manifest("list.jsonl", json.dumps({"source": None} | cells).encode())
    assert item.problem is not None
    assert told in item.problem


def test_rows_are_taken_once_and_a_key_stands_for_one_row() -> None:
    items = [
        Item("a.mp4"),
        Item("a.mp4"),
        Item("a.mp4", {"infer_fps": 2}),
        Item("b.mp4", idempotency_key="k"),
        Item("b.mp4", {"infer_fps": 2}, idempotency_key="k"),
    ]
    taken = without_repeats(items)
    assert [item.problem is None for item in taken] == [True, True, True, False]
    assert "'k'" in str(taken[-1].problem)
    assert len({item.identity for item in taken}) == 4


def test_the_secret_part_of_a_url_is_not_shown() -> None:
    item = Item("https://user:word@host/a.mp4?signature=abc")
    assert "abc" not in item.shown + repr(item)
    assert "word" not in item.shown + repr(item)
    assert item.identity != Item("https://user:word@host/a.mp4?signature=abd").identity


def test_the_example_in_the_schema_is_a_source() -> None:
    properties = BackfillRequest.model_json_schema()["properties"]
    assert all(Path(example).name for example in properties["source"]["examples"])
