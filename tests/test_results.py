from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import supervision

from models.element_columns import ELEMENT_COLUMNS, ElementColumns
from models.errors import PassingError, PermanentError
from tasks.results import NOT_INFERRED, ResultModel, ResultSummary, ScratchDirError, job_state
from tasks.shards import DamagedShardError, shard_key, write_shard
from tasks.store import DiskFullError, LocalStore, Store
from tests.element_builders import (
    box,
    classification_element,
    detection_element,
    multi_label_element,
    random_detection_element,
)
from tests.published_results import CLASSIFIER, DETECTOR, PREFIX, SampledPlan, publish, write_shards

ROOT = Path(__file__).resolve().parent.parent
FILES = ["job.json", "predictions.json", "predictions.parquet"]
LABELS = ResultModel("labels", "classification", "1a" * 16)


@pytest.fixture
def local_store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(f"{request.param}_store")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def detection(sample: int) -> dict[str, Any]:
    return random_detection_element(sample, boxes=sample % 4)


def label(sample: int) -> dict[str, Any]:
    return classification_element(cat=0.75, dog=0.25) if sample % 2 else classification_element(dog=1.0)


def strict_json(data: bytes) -> Any:
    """Parse as the standard says: without the NaN and Infinity that Python would take."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(data, parse_constant=refuse)


def predictions(store: Store) -> Any:
    return strict_json(store.read(f"{PREFIX}/predictions.json"))


def job_json(store: Store) -> Any:
    return strict_json(store.read(f"{PREFIX}/job.json"))


def table(store: Store, tmp_path: Path) -> pd.DataFrame:
    store.fetch(f"{PREFIX}/predictions.parquet", tmp_path / "fetched.parquet")
    return pd.read_parquet(tmp_path / "fetched.parquet")


def test_two_models_over_several_segments_become_one_object_of_lists(store, scratch):
    plan = SampledPlan(samples=23, segment=10)
    write_shards(store, plan, DETECTOR, detection)
    write_shards(store, plan, CLASSIFIER, label)
    summary = publish(store, plan, [CLASSIFIER, DETECTOR], scratch)
    result = predictions(store)
    assert list(result) == ["frame_offset", "time_offset", "hub/classifier", "detector"]
    assert result == {
        "frame_offset": plan.frame_offset.tolist(),
        "time_offset": plan.time_offset.tolist(),
        "hub/classifier": [label(i) for i in range(23)],
        "detector": [detection(i) for i in range(23)],
    }
    assert (summary.frames_total, summary.frames_failed, summary.models_failed) == (23, 0, [])
    assert summary.ok == {"hub/classifier": 23, "detector": 23}
    assert [info.key for info in store.list(PREFIX)] == [f"{PREFIX}/{name}" for name in FILES]
    assert list(scratch.iterdir()) == []


def test_offsets_keep_the_types_and_digits_that_readers_know(local_store, scratch):
    plan = SampledPlan(samples=3, segment=3)
    write_shards(local_store, plan, DETECTOR, lambda i: detection_element())
    publish(local_store, plan, [DETECTOR], scratch)
    text = local_store.read(f"{PREFIX}/predictions.json").decode()
    assert text.startswith('{"frame_offset":[0,5,10],"time_offset":[0.0,0.2,0.4],"detector":[{"image":')


def test_keys_of_any_letters_are_escaped(local_store, scratch):
    plan = SampledPlan(samples=1, segment=1)
    model = ResultModel('say "ü" \\ here', "object-detection", DETECTOR.fingerprint)
    write_shards(local_store, plan, model, detection)
    publish(local_store, plan, [model], scratch)
    assert list(predictions(local_store))[-1] == model.key


def test_supervision_reads_every_detection_element_of_a_result(local_store, scratch):
    plan = SampledPlan(samples=12, segment=5)
    write_shards(local_store, plan, DETECTOR, detection)
    publish(local_store, plan, [DETECTOR], scratch)
    counted = [len(supervision.Detections.from_inference(one)) for one in predictions(local_store)["detector"]]
    assert counted == [i % 4 for i in range(12)]


def test_failures_are_nulls_and_ranges_of_one_reason(store, scratch):
    plan = SampledPlan(samples=20, segment=8)
    reasons = {6: "broken", 7: "broken", 8: "broken", 9: "too large", 12: "broken"}
    write_shards(store, plan, DETECTOR, lambda i: reasons.get(i, detection(i)))
    write_shards(store, plan, CLASSIFIER, lambda i: "broken" if i == 19 else label(i))
    summary = publish(store, plan, [DETECTOR, CLASSIFIER], scratch, job={"job_id": "j1"})
    assert [i for i, element in enumerate(predictions(store)["detector"]) if element is None] == sorted(reasons)
    job = job_json(store)
    assert job["failures"] == [
        said("detector", "broken", 30, 40, 3),
        said("detector", "too large", 45, 45, 1),
        said("detector", "broken", 60, 60, 1),
        said("hub/classifier", "broken", 95, 95, 1),
    ]
    assert job["counts"] == {"detector": {"ok": 15, "failed": 5}, "hub/classifier": {"ok": 19, "failed": 1}}
    assert (job["job_id"], job["state"], job["format_version"]) == ("j1", "COMPLETED", 1)
    assert (job["frames_total"], job["frames_failed"], job["models_failed"]) == (20, 6, [])
    assert job_state(summary) == "COMPLETED"


def said(model: str, reason: str, first: int, last: int, frames: int, *, passing: bool = False) -> dict[str, Any]:
    return {
        "model": model,
        "reason": reason,
        "passing": passing,
        "first_frame_offset": first,
        "last_frame_offset": last,
        "frames": frames,
    }


def test_a_passing_failure_and_a_permanent_one_of_the_same_words_are_two(local_store, scratch):
    plan = SampledPlan(samples=2, segment=2)
    outcomes = [plan.outcome(0, "why", passing=True), plan.outcome(1, "why")]
    write_shard(local_store, DETECTOR.fingerprint, 0, 2, DETECTOR.inference_type, outcomes)
    assert [failure.passing for failure in publish(local_store, plan, [DETECTOR], scratch).failures] == [True, False]


def test_frames_that_both_models_miss_count_once(local_store, scratch):
    plan = SampledPlan(samples=6, segment=3)
    for model in (DETECTOR, CLASSIFIER):
        write_shards(local_store, plan, model, lambda i: "broken" if i in (1, 2) else detection_or_label(model, i))  # noqa: B023
    assert publish(local_store, plan, [DETECTOR, CLASSIFIER], scratch).frames_failed == 2


def detection_or_label(model: ResultModel, sample: int) -> dict[str, Any]:
    return detection(sample) if model.inference_type == "object-detection" else label(sample)


def test_missing_shards_become_nulls_that_may_be_tried_again(store, scratch):
    plan = SampledPlan(samples=30, segment=10)
    write_shards(store, plan, DETECTOR, detection)
    store.delete([shard_key(DETECTOR.fingerprint, 10, 20)])
    summary = publish(store, plan, [DETECTOR], scratch)
    assert predictions(store)["detector"] == [None if 10 <= i < 20 else detection(i) for i in range(30)]
    assert job_json(store)["failures"] == [said("detector", NOT_INFERRED, 50, 95, 10, passing=True)]
    assert (summary.ok, summary.failed) == ({"detector": 20}, {"detector": 10})


def test_a_model_that_failed_as_a_whole_gives_its_error_as_the_reason(local_store, scratch):
    plan = SampledPlan(samples=4, segment=2)
    broken = ResultModel("broken", "classification", "ee" * 16, error="the weights cannot be loaded")
    write_shards(local_store, plan, DETECTOR, detection)
    summary = publish(local_store, plan, [DETECTOR, broken], scratch)
    assert summary.models_failed == ["broken"]
    assert job_state(summary) == "FAILED"
    assert job_json(local_store)["models_failed"] == ["broken"]
    assert job_json(local_store)["failures"] == [said("broken", "the weights cannot be loaded", 0, 15, 4)]
    assert predictions(local_store)["broken"] == [None] * 4
    assert predictions(local_store)["detector"] == [detection(i) for i in range(4)]


def test_a_shard_to_be_retried_gives_what_it_has(local_store, scratch):
    plan = SampledPlan(samples=3, segment=3)
    outcomes = [plan.outcome(0, detection(0)), plan.outcome(1, "crashed", passing=True), plan.outcome(2, detection(2))]
    write_shard(local_store, DETECTOR.fingerprint, 0, 3, DETECTOR.inference_type, outcomes)
    publish(local_store, plan, [DETECTOR], scratch)
    assert predictions(local_store)["detector"] == [detection(0), None, detection(2)]


@pytest.mark.parametrize(("failed", "state"), [([], "COMPLETED"), (["one"], "FAILED"), (["one", "two"], "FAILED")])
def test_the_state_follows_from_the_models_that_failed(failed, state):
    summary = ResultSummary(2, 1, ok={"one": 1, "two": 1}, failed={}, models_failed=failed, failures=[])
    assert job_state(summary) == state


def test_every_frame_and_model_has_a_row_that_pandas_reads(store, scratch, tmp_path):
    plan = SampledPlan(samples=9, segment=4)
    write_shards(store, plan, DETECTOR, lambda i: "broken" if i == 5 else detection(i))
    write_shards(store, plan, CLASSIFIER, label)
    write_shards(store, plan, LABELS, lambda i: multi_label_element(sky=0.9, sea=0.1))
    publish(store, plan, [DETECTOR, CLASSIFIER, LABELS], scratch)
    rows = table(store, tmp_path)
    assert list(rows.columns[:5]) == ["frame_offset", "time_offset", "model", "status", "reason"]
    assert rows.groupby("model").size().to_dict() == {"detector": 9, "hub/classifier": 9, "labels": 9}
    by_model = {key: part.reset_index(drop=True) for key, part in rows.groupby("model")}
    for part in by_model.values():
        assert part.frame_offset.tolist() == plan.frame_offset.tolist()
        assert part.time_offset.tolist() == plan.time_offset.tolist()
    boxes = by_model["detector"]
    assert boxes.status.tolist() == ["null" if i == 5 else "ok" for i in range(9)]
    assert boxes.reason[5] == "broken"
    assert [None if found is None else len(found) for found in boxes.predictions] == [0, 1, 2, 3, 0, None, 2, 3, 0]
    assert boxes.predictions[3][2]["x"] == detection(3)["predictions"][2]["x"]
    assert by_model["hub/classifier"].top.tolist() == [label(i)["top"] for i in range(9)]
    assert by_model["labels"].predicted_classes[0].tolist() == ["sky"]
    assert by_model["labels"].predictions[0][1]["class"] == "sea"


def test_arrow_reads_the_nested_columns_of_both_types(local_store, scratch):
    plan = SampledPlan(samples=2, segment=2)
    write_shards(local_store, plan, DETECTOR, lambda i: detection_element(box()))
    write_shards(local_store, plan, CLASSIFIER, lambda i: classification_element(cat=1.0))
    publish(local_store, plan, [DETECTOR, CLASSIFIER], scratch)
    rows = pq.read_table(local_store.local_path(f"{PREFIX}/predictions.parquet")).to_pylist()
    assert {key: rows[0]["predictions"][0][key] for key in box()} == box()
    scored = {key: value for key, value in rows[2]["predictions"][0].items() if value is not None}
    assert scored == {"class": "cat", "class_id": 0, "confidence": 1.0}


def test_publishing_again_gives_the_same_bytes_but_for_the_job(store, scratch):
    plan = SampledPlan(samples=5, segment=2)
    write_shards(store, plan, DETECTOR, detection)
    publish(store, plan, [DETECTOR], scratch)
    first = {name: store.read(f"{PREFIX}/{name}") for name in FILES}
    publish(store, plan, [DETECTOR], scratch)
    assert all(store.read(f"{PREFIX}/{name}") == first[name] for name in FILES[1:])


def test_jobs_that_publish_the_same_result_at_once_leave_a_whole_one(store, scratch):
    plan = SampledPlan(samples=400, segment=100)
    write_shards(store, plan, DETECTOR, detection)
    errors: list[Exception] = []

    def one_job() -> None:
        try:
            publish(store, plan, [DETECTOR], scratch)
        except Exception as error:
            errors.append(error)

    jobs = [threading.Thread(target=one_job) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert errors == []
    assert predictions(store)["detector"] == [detection(i) for i in range(400)]
    assert job_json(store)["counts"] == {"detector": {"ok": 400, "failed": 0}}
    assert [info.key for info in store.list(PREFIX)] == [f"{PREFIX}/{name}" for name in FILES]


def test_the_job_comes_last(scratch, tmp_path):
    written: list[str] = []

    class WatchedStore(LocalStore):
        def write(self, key: str, data: bytes) -> None:
            written.append(key)
            super().write(key, data)

        def write_file(self, key: str, path: Path) -> None:
            written.append(key)
            super().write_file(key, path)

    store = WatchedStore(tmp_path / "store")
    plan = SampledPlan(samples=2, segment=2)
    write_shards(store, plan, DETECTOR, detection)
    written.clear()
    publish(store, plan, [DETECTOR], scratch)
    assert sorted(written) == [f"{PREFIX}/{name}" for name in FILES]
    assert written[-1] == f"{PREFIX}/job.json"


def test_a_damaged_shard_is_named_and_nothing_is_published(store, scratch):
    plan = SampledPlan(samples=6, segment=3)
    write_shards(store, plan, DETECTOR, detection)
    key = shard_key(DETECTOR.fingerprint, 3, 6)
    store.write(key, store.read(key)[:-20])
    with pytest.raises(DamagedShardError, match=key):
        publish(store, plan, [DETECTOR], scratch)
    assert list(store.list("results")) == []
    assert list(scratch.iterdir()) == []


def test_a_shard_of_other_frames_is_an_error(local_store, scratch):
    plan = SampledPlan(samples=3, segment=3)
    outcomes = [SampledPlan(samples=4, segment=4).outcome(i + 1, detection(i)) for i in range(3)]
    write_shard(local_store, DETECTOR.fingerprint, 0, 3, DETECTOR.inference_type, outcomes)
    with pytest.raises(DamagedShardError, match="other frames"):
        publish(local_store, plan, [DETECTOR], scratch)


def test_a_plan_whose_segments_leave_a_gap_is_refused(local_store, scratch):
    class Gap(SampledPlan):
        @property
        def segments(self) -> list[tuple[int, int]]:
            return [(0, 2), (3, 5)]

    with pytest.raises(ValueError, match="segments"):
        publish(local_store, Gap(samples=5, segment=5), [DETECTOR], scratch)


def test_a_job_cannot_overwrite_what_was_counted(local_store, scratch):
    with pytest.raises(ValueError, match="frames_total"):
        publish(local_store, SampledPlan(samples=1, segment=1), [DETECTOR], scratch, job={"frames_total": 7})


def test_a_scratch_directory_that_is_none_is_an_error_that_says_so(local_store, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ScratchDirError, match="REELMILL_JOB_SCRATCH_DIR"):
        publish(local_store, SampledPlan(samples=1, segment=1), [DETECTOR], tmp_path / "file" / "scratch")


class EmbeddingColumns(ElementColumns):
    """A type whose element is a bare list of floats."""

    def schema(self) -> pa.Schema:
        return pa.schema([("embedding", pa.list_(pa.float64()))])

    def to_row(self, element: Any) -> dict[str, Any]:
        return {"embedding": element}

    def to_element(self, row: Any) -> Any:
        return row["embedding"]


def test_a_new_type_of_any_shape_needs_one_entry_and_nothing_else(monkeypatch, local_store, scratch):
    monkeypatch.setitem(ELEMENT_COLUMNS, "embedding", EmbeddingColumns())
    plan, model = SampledPlan(samples=5, segment=3), ResultModel("embedder", "embedding", "eb" * 16)
    embeddings = [[0.1 * i, -1e-9, 3.0] for i in range(5)]
    write_shards(local_store, plan, model, lambda i: "broken" if i == 4 else embeddings[i])
    write_shards(local_store, plan, DETECTOR, detection)
    summary = publish(local_store, plan, [model, DETECTOR], scratch)
    assert predictions(local_store)["embedder"] == [*embeddings[:4], None]
    assert summary.ok == {"embedder": 4, "detector": 5}
    rows = pq.read_table(local_store.local_path(f"{PREFIX}/predictions.parquet"))
    assert rows["embedding"].to_pylist() == [*embeddings[:4], *[None] * 6]


DISK_FULL = """
import resource, sys
from pathlib import Path
from tasks.store import DiskFullError, LocalStore
from tests.published_results import DETECTOR, SampledPlan, publish
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    publish(LocalStore(Path(sys.argv[1])), SampledPlan(3000, 1000), [DETECTOR], Path(sys.argv[2]))
except DiskFullError as error:
    print(error)
"""


@pytest.mark.parametrize("room_bytes", [1000, 100_000, 400_000])
def test_a_full_disk_is_named_and_leaves_no_half_file(local_store, scratch, room_bytes):
    """The publishing process may grow no file beyond `room_bytes`, which fails its writes as a full disk does."""
    write_shards(local_store, SampledPlan(3000, 1000), DETECTOR, detection)
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, local_store.uri, str(scratch), str(room_bytes)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"No space is left in {scratch}")
    assert list(local_store.list("results")) == []
    assert list(scratch.iterdir()) == []


MEMORY = """
import sys, time
from pathlib import Path
from tasks.store import LocalStore
from tests.published_results import DETECTOR, SampledPlan, publish

def peak_mib():
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024

store, scratch = LocalStore(Path(sys.argv[1])), Path(sys.argv[2])
publish(store, SampledPlan(2000, 2000), [DETECTOR], scratch, prefix="results/short")
before, started_s = peak_mib(), time.perf_counter()
publish(store, SampledPlan(100_000, 2000), [DETECTOR], scratch, prefix="results/long")
print(before, peak_mib() - before, time.perf_counter() - started_s)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_length_of_the_video(local_store, scratch):
    plan, elements = SampledPlan(100_000, 2000), [random_detection_element(i, boxes=10) for i in range(2000)]
    first = (0, 2000)
    write_shards(local_store, SampledPlan(2000, 2000), DETECTOR, lambda i: elements[i])
    rest_of_the_shards_say_the_same(local_store, plan, first)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, local_store.uri, str(scratch)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},
    )
    before_mib, grown_mib, took_s = map(float, done.stdout.split())
    size_mib = local_store.stat("results/long/predictions.json").size_bytes / 2**20
    print(f"{before_mib:.0f} MiB, then {grown_mib:.1f} MiB more for {size_mib:.0f} MiB of JSON in {took_s:.1f} s")
    assert size_mib > 150
    assert grown_mib < 40
    with local_store.local_path("results/long/predictions.json").open("rb") as file:
        assert len(orjson.loads(file.read())["detector"]) == 100_000


def rest_of_the_shards_say_the_same(store: LocalStore, plan: SampledPlan, first: tuple[int, int]) -> None:
    """Copy the first shard to every other segment with that segment's offsets, faster than writing elements."""
    original = pq.read_table(store.local_path(shard_key(DETECTOR.fingerprint, *first)))
    for start, stop in plan.segments[1:]:
        copy = original.set_column(0, "frame_offset", pa.array(plan.frame_offset[start:stop]))
        copy = copy.set_column(1, "time_offset", pa.array(np.asarray(plan.time_offset[start:stop])))
        said = {**original.schema.metadata, b"start": str(start).encode(), b"stop": str(stop).encode()}
        path = store.local_path(shard_key(DETECTOR.fingerprint, start, stop))
        pq.write_table(copy.replace_schema_metadata(said), path)


def test_a_full_disk_passes_and_a_wrong_directory_does_not():
    assert issubclass(DiskFullError, PassingError)
    assert issubclass(ScratchDirError, PermanentError)
