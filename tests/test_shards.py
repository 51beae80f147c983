from __future__ import annotations

import math

import pyarrow.parquet as pq
import pytest

from models.element_columns import ElementShapeError
from tasks.local_store import LocalStore
from tasks.outcomes import NOT_FINITE, Outcome
from tasks.shards import DamagedShardError, finished_shards, read_shard, shard_key, write_shard
from tests.element_builders import (
    box,
    classification_element,
    detection_element,
    multi_label_element,
    random_detection_element,
)

FINGERPRINT = "ab" * 16


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "store")


def good(offset: int, element: dict | None = None) -> Outcome:
    return Outcome(offset, offset / 25, random_detection_element(offset, boxes=3) if element is None else element)


def failed(offset: int, reason: str = "the frame could not be decoded", *, passing: bool = False) -> Outcome:
    return Outcome(offset, offset / 25, None, reason, passing)


def detections(store, start: int, outcomes: list[Outcome]) -> tuple[int, int]:
    stop = start + len(outcomes)
    write_shard(store, FINGERPRINT, start, stop, "object-detection", outcomes)
    return start, stop


def test_outcomes_come_back_as_they_were_written(store):
    outcomes = [good(0), failed(5), good(11, detection_element()), good(17)]
    span = detections(store, 40, outcomes)
    assert list(read_shard(store, FINGERPRINT, *span, "object-detection")) == outcomes


def test_labels_of_both_kinds_come_back_as_they_were_written(store):
    outcomes = [
        good(0, classification_element(cat=0.75, dog=0.25)),
        good(5, multi_label_element(sky=0.1)),
        good(6, multi_label_element()),
        failed(7),
    ]
    write_shard(store, FINGERPRINT, 0, 4, "classification", outcomes)
    assert list(read_shard(store, FINGERPRINT, 0, 4, "classification")) == outcomes


def test_a_long_shard_comes_back_in_order(store):
    outcomes = [failed(i) if i % 7 == 0 else good(i) for i in range(1000)]
    detections(store, 0, outcomes)
    assert list(read_shard(store, FINGERPRINT, 0, 1000, "object-detection")) == outcomes


def test_finished_shards_are_told_by_their_names(store):
    assert finished_shards(store, FINGERPRINT) == set()
    spans = {detections(store, start, [good(0), good(1)]) for start in (0, 2, 10)}
    write_shard(store, "cd" * 16, 100, 101, "object-detection", [good(0)])
    assert finished_shards(store, FINGERPRINT) == spans


def test_a_shard_with_a_permanent_failure_is_finished(store):
    span = detections(store, 0, [failed(0), good(1)])
    assert finished_shards(store, FINGERPRINT) == {span}


def test_a_shard_with_a_passing_failure_is_kept_but_never_finished(store):
    outcomes = [failed(0, "the decode worker ended", passing=True), good(1)]
    span = detections(store, 0, outcomes)
    assert finished_shards(store, FINGERPRINT) == set()
    assert list(read_shard(store, FINGERPRINT, *span, "object-detection")) == outcomes


def test_the_finished_shard_replaces_the_one_to_be_retried(store):
    detections(store, 0, [failed(0, "the decode worker ended", passing=True), good(1)])
    span = detections(store, 0, [good(0), good(1)])
    assert finished_shards(store, FINGERPRINT) == {span}
    assert [info.key for info in store.list("shards")] == [shard_key(FINGERPRINT, *span)]


def test_a_retry_that_comes_late_does_not_hide_the_finished_shard(store):
    span = detections(store, 0, [good(0), good(1)])
    detections(store, 0, [failed(0, "the decode worker ended", passing=True), good(1)])
    assert finished_shards(store, FINGERPRINT) == {span}
    assert [o.element is None for o in read_shard(store, FINGERPRINT, *span, "object-detection")] == [False, False]


def test_no_shard_gives_no_outcomes(store):
    assert list(read_shard(store, FINGERPRINT, 0, 5, "object-detection")) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_element_that_json_cannot_say_becomes_a_null_with_a_reason(store, value):
    span = detections(store, 0, [good(0), good(1, detection_element(box(), box(x=value))), good(2)])
    first, second, third = read_shard(store, FINGERPRINT, *span, "object-detection")
    assert (first, third) == (good(0), good(2))
    assert second == failed(1, NOT_FINITE)
    assert finished_shards(store, FINGERPRINT) == {span}


@pytest.mark.parametrize(
    ("start", "stop", "offsets"),
    [(0, 3, [0, 1]), (0, 1, [0, 1]), (0, 0, []), (5, 3, []), (-1, 1, [0, 1]), (0, 2, [1, 0]), (0, 2, [1, 1])],
)
def test_outcomes_that_are_not_one_for_each_sample_in_order_are_refused(store, start, stop, offsets):
    with pytest.raises(ValueError, match="outcomes"):
        write_shard(store, FINGERPRINT, start, stop, "object-detection", [good(offset) for offset in offsets])
    assert list(store.list("shards")) == []


def test_an_element_of_another_type_is_refused(store):
    with pytest.raises(ElementShapeError):
        detections(store, 0, [good(0, classification_element(cat=1.0))])


@pytest.mark.parametrize(
    ("element", "reason", "passing"),
    [(None, None, False), (detection_element(), "why", False), (detection_element(), None, True)],
)
def test_an_outcome_is_an_element_or_a_reason(element, reason, passing):
    with pytest.raises(ValueError, match="frame 3"):
        Outcome(3, 0.1, element, reason, passing)


def test_a_shard_says_what_it_is(store):
    start, stop = detections(store, 6, [good(0), good(1)])
    metadata = pq.read_schema(store.local_path(shard_key(FINGERPRINT, start, stop))).metadata
    said = {name.decode(): value.decode() for name, value in metadata.items()}
    written_at = said.pop("written_at")
    assert said == {"fingerprint": FINGERPRINT, "start": "6", "stop": "8", "inference_type": "object-detection"}
    assert written_at.endswith("+00:00")


def overwritten(data: bytes, at: int, with_: bytes) -> bytes:
    return data[:at] + with_ + data[at + len(with_) :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"no parquet at all",
        lambda data: data[: len(data) // 2],
        lambda data: overwritten(data, 40, b"\xff" * 8),
        lambda data: overwritten(data, len(data) // 2, b"\x00" * 64),
    ],
)
def test_a_damaged_shard_is_an_error_that_names_it(store, damage):
    span = detections(store, 0, [good(i) for i in range(50)])
    key = shard_key(FINGERPRINT, *span)
    store.write(key, damage(store.read(key)))
    with pytest.raises(DamagedShardError, match=key):
        list(read_shard(store, FINGERPRINT, *span, "object-detection"))


def test_a_shard_under_another_ones_name_is_an_error(store):
    span = detections(store, 0, [good(0), good(1)])
    store.write(shard_key(FINGERPRINT, 2, 4), store.read(shard_key(FINGERPRINT, *span)))
    with pytest.raises(DamagedShardError, match="2-4"):
        list(read_shard(store, FINGERPRINT, 2, 4, "object-detection"))


@pytest.mark.parametrize(
    ("written", "read", "element"),
    [
        ("object-detection", "classification", detection_element(box())),
        ("classification", "object-detection", classification_element(cat=1.0)),
    ],
)
def test_a_shard_of_another_type_is_an_error(store, written, read, element):
    write_shard(store, FINGERPRINT, 0, 1, written, [good(0, element)])
    with pytest.raises(DamagedShardError, match="0-1"):
        list(read_shard(store, FINGERPRINT, 0, 1, read))
