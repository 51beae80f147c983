"""The rows of a backfill: what becomes of them when it is started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.backfill_items import Item
from tasks.backfill_table import DamagedTableError, Row, counts, merged, new_row, read_table, table_key, write_table
from tasks.store import open_store

COMMON = {"models": ["m"], "infer_fps": 1}


def rows_of(*items: Item) -> list[Row]:
    return [new_row("nightly", COMMON, item) for item in items]


def test_a_row_comes_back_from_the_store_as_it_was(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    assert read_table(store, "nightly") == []
    rows = rows_of(Item("a.mp4", {"infer_fps": 2}), Item("b.mp4", idempotency_key="k", stamp="5-6"))
    rows[1].to("failed", reason="no frame", may_pass=True, frames_total=7, gpu_s=1.5)
    write_table(store, "nightly", rows)
    assert read_table(store, "nightly") == rows
    store.write(table_key("nightly"), b"no table")
    with pytest.raises(DamagedTableError, match="finished results are found without it"):
        read_table(store, "nightly")


@pytest.mark.parametrize(
    ("state", "may_pass", "again", "then"),
    [
        ("done", False, "no", "done"),
        ("skipped", False, "no", "skipped"),
        ("failed", False, "no", "failed"),
        ("failed", True, "no", "waiting"),
        ("failed", False, "failed", "waiting"),
        ("done", False, "failed", "done"),
        ("done", False, "all", "waiting"),
        ("running", False, "no", "waiting"),
    ],
)
def test_what_ended_stays_unless_it_may_pass_or_is_asked_for(state, may_pass, again, then) -> None:
    (row,) = rows_of(Item("a.mp4"))
    row.to(state, may_pass=may_pass)
    (now,) = merged([row], rows_of(Item("a.mp4")), again)
    assert now.state == then


def test_new_changed_and_vanished_files() -> None:
    before = rows_of(Item("same.mp4", stamp="1"), Item("changed.mp4", stamp="1"), Item("gone.mp4"), Item("read.mp4"))
    for row in (before[0], before[1], before[3]):
        row.to("done", video_id="v")
    now = merged(before, rows_of(Item("new.mp4"), Item("same.mp4", stamp="1"), Item("changed.mp4", stamp="2")), "no")
    assert [(row.source, row.state) for row in now] == [
        ("new.mp4", "waiting"),
        ("same.mp4", "done"),
        ("changed.mp4", "waiting"),
        ("gone.mp4", "skipped"),
        ("read.mp4", "done"),
    ]
    assert now[2].job_id != before[1].job_id
    assert "no longer" in now[3].reason
    assert counts(now) == {"waiting": 2, "registered": 0, "running": 0, "done": 2, "failed": 0, "skipped": 1}
    (back,) = [row for row in merged(now, rows_of(Item("gone.mp4")), "no") if row.source == "gone.mp4"]
    assert back.state == "waiting"


def test_a_job_has_one_id_for_one_backfill_and_file() -> None:
    item = Item("a.mp4", stamp="1")
    assert new_row("nightly", COMMON, item).job_id == new_row("nightly", COMMON, item).job_id
    ids = {
        new_row("nightly", COMMON, item).job_id,
        new_row("weekly", COMMON, item).job_id,
        new_row("nightly", COMMON | {"infer_fps": 2}, item).job_id,
        new_row("nightly", COMMON, Item("a.mp4", stamp="2")).job_id,
        new_row("nightly", COMMON, Item("a.mp4", {"infer_fps": 2}, stamp="1")).job_id,
    }
    assert len(ids) == 5
