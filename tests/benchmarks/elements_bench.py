"""`python -m tests.benchmarks.elements_bench`: what an object costs on its way from a detector's arrays to the result.

Frames hold 10, 100 and 1,000 boxes made from a seed; the same boxes go two ways. *columns*: Arrow columns from the
detector's arrays on, as jobs do it. *elements*: a dict for each box, as `predict` gives them and as a model that has no
columns of its own still goes. Both ways end in the same predictions.json. CPU time of one thread, the best of a few
runs; memory is what the process's peak grows by,
less the JSON itself. Figures are printed, never asserted.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from models.box_columns import BoxColumns
from models.derived_ids import derived_id
from models.detections import FoundBoxes, detections, rounded_boxes
from tasks.local_store import LocalStore
from tasks.outcomes import Outcome, json_of_elements, outcomes_of
from tasks.result_files import JsonLists
from tasks.segment_rows import SegmentRows
from tasks.shards import load_shard, write_shard, write_shard_table

OBJECTS = 60_000
"""Of a run, in as many frames as it takes."""
CROWDS = (10, 100, 1000)
BATCH = 8
REPEATS = 3
TYPE, SHARD = "object-detection", "ab" * 16
NAMES = [f"class {number}" for number in range(80)]
IMAGE: Any = {"width": 1920, "height": 1080}
COLUMNS = BoxColumns()
TIME_S = 0.0125

Stages = dict[str, float]


def crowds(objects: int) -> list[FoundBoxes]:
    """Frames of that many boxes each."""
    rng = np.random.default_rng(7)
    made = []
    for _ in range(OBJECTS // objects):
        corners, sizes = rng.uniform(0, 1900, (objects, 2)), rng.uniform(4, 300, (objects, 2))
        boxes = np.concatenate([corners, corners + sizes], axis=1)
        made.append(FoundBoxes(rng.uniform(0.4, 1, objects), rng.integers(0, len(NAMES), objects), boxes))
    return made


def timed(stages: Stages, stage: str, work: Callable[[], Any]) -> Any:
    """Run a stage; CPU microseconds of it are kept, per object."""
    started_s = time.process_time()
    made = work()
    stages[stage] = (time.process_time() - started_s) / OBJECTS * 1e6
    return made


def offsets(count: int) -> tuple[Any, Any]:
    """Frames and times of a segment."""
    return np.arange(count) * 5, np.arange(count) * 0.2


def by_columns(found: Sequence[FoundBoxes], store: LocalStore, objects: int) -> tuple[Stages, bytes]:
    """What a job does."""
    stages: Stages = {}

    def predicted(start: int) -> pa.RecordBatch:
        boxes = rounded_boxes(found[start : start + BATCH], objects)
        return COLUMNS.of_boxes(IMAGE, boxes.counts, boxes.columns(NAMES))

    def stamped(number: int, rows: pa.RecordBatch) -> pa.RecordBatch:
        return COLUMNS.stamped(rows, TIME_S, [f"seed/{5 * (BATCH * number + row)}" for row in range(len(rows))])

    def shard() -> None:
        segment = SegmentRows(TYPE, *offsets(len(found)))
        for number, batch in enumerate(batches):
            for row in range(len(batch)):
                segment.put(number * BATCH + row, batch, row)
        write_shard_table(store, SHARD, 0, len(found), TYPE, segment.table())

    def result() -> bytes:
        table = load_shard(store, SHARD, 0, len(found), TYPE)
        assert table is not None
        with JsonLists(file := BytesIO()) as lists:
            lists.write_json("detector", json_of_elements(table, TYPE))
        return file.getvalue()

    batches = timed(stages, "predict", lambda: [predicted(start) for start in range(0, len(found), BATCH)])
    batches = timed(stages, "stamp", lambda: [stamped(number, rows) for number, rows in enumerate(batches)])
    timed(stages, "shard", shard)
    return stages, timed(stages, "JSON", result)


def by_elements(found: Sequence[FoundBoxes], store: LocalStore, objects: int) -> tuple[Stages, bytes]:
    """The same by way of a dict for each box."""
    stages: Stages = {}

    def stamped(frame: int, element: Any) -> Any:
        boxes = [
            {**box, "detection_id": derived_id(f"seed/{5 * frame}", rank)}
            for rank, box in enumerate(element["predictions"])
        ]
        return {"time": TIME_S, "image": element["image"], "predictions": boxes}

    def shard() -> None:
        frames, times_s = offsets(len(found))
        outcomes = [Outcome(int(f), float(t), e) for f, t, e in zip(frames, times_s, elements, strict=True)]
        write_shard(store, SHARD, 0, len(found), TYPE, outcomes)

    def result() -> bytes:
        table = load_shard(store, SHARD, 0, len(found), TYPE)
        assert table is not None
        texts = (orjson.dumps(outcome.element) for outcome in outcomes_of(table, TYPE))
        with JsonLists(file := BytesIO()) as lists:
            lists.write_json("detector", texts)
        return file.getvalue()

    elements = timed(
        stages, "predict", lambda: [{"image": IMAGE, "predictions": detections(one, NAMES, objects)} for one in found]
    )
    elements = timed(stages, "stamp", lambda: [stamped(frame, one) for frame, one in enumerate(elements)])
    timed(stages, "shard", shard)
    return stages, timed(stages, "JSON", result)


WAYS = {"columns": by_columns, "elements": by_elements}


def one_case(way: str, objects: int, folder: str) -> None:
    """Print what one way costs with so many objects in a frame, as JSON."""
    found, store = crowds(objects), LocalStore(f"{folder}/{way}-{objects}")
    WAYS[way](found[:BATCH], store, objects)
    before_kb = peak_kb()
    stages, said = WAYS[way](found, store, objects)
    grown_mb = (peak_kb() - before_kb - len(said) / 1024) / 1024
    for _ in range(REPEATS - 1):
        again, _ = WAYS[way](found, store, objects)
        stages = {stage: min(cost, again[stage]) for stage, cost in stages.items()}
    figures = {"stages": stages, "grown_mb": grown_mb, "said": hashlib.sha256(said).hexdigest()}
    print(json.dumps(figures))


def peak_kb() -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Print a table; each case runs in a process of its own."""
    from tempfile import TemporaryDirectory

    table = Table("objects a frame", "way", "predict", "stamp", "shard", "JSON", "µs an object", "MiB more")
    for objects in CROWDS:
        said = set()
        for way in WAYS:
            with TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "tests.benchmarks.elements_bench", way, str(objects), folder]
                done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            costs = done["stages"]
            cells = [f"{costs[stage]:.2f}" for stage in ("predict", "stamp", "shard", "JSON")]
            cells += [f"{sum(costs.values()):.2f}", f"{done['grown_mb']:.0f}"]
            table.add_row(f"{objects:,}", way, *cells)
            said.add(done["said"])
        assert len(said) == 1, "both ways end in the same bytes"
    Console(width=120).print(table)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        one_case(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    else:
        main()
