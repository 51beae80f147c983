"""The stream's promises: everyone gets what it wants, in order; bounded; a lost reader holds nobody up."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from models.errors import PermanentError
from tasks.decoding import ExtractedFrame, SegmentEnd
from tasks.frame_stream import ExtractionFailedError, ExtractionRefusedError, FrameStream

PIXELS = np.zeros((2, 2, 3), np.uint8)


def frame(sample: int, segment: int = 0) -> ExtractedFrame:
    return ExtractedFrame(sample=sample, segment=segment, pixels=PIXELS, reason=None)


def produce(stream: FrameStream, items) -> threading.Thread:
    def run() -> None:
        for item in items:
            if not stream.publish(0, item):
                break
        stream.finish()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_every_reader_gets_its_segments_in_order() -> None:
    stream = FrameStream({"both": frozenset({(0, 0), (0, 1)}), "second": frozenset({(0, 1)})}, capacity=2)
    items = [frame(0), frame(1), SegmentEnd(0), frame(2, 1), SegmentEnd(1)]
    read: dict[str, list] = {}
    readers = [
        threading.Thread(target=lambda name=name: read.update({name: list(stream.read(name))}))
        for name in ("both", "second")
    ]
    for reader in readers:
        reader.start()
    produce(stream, items).join(10)
    for reader in readers:
        reader.join(10)
    assert read == {"both": [(0, item) for item in items], "second": [(0, item) for item in items[3:]]}


def test_no_more_than_the_capacity_waits_for_the_slowest_reader() -> None:
    stream = FrameStream({"slow": frozenset({(0, 0)})}, capacity=3)
    published = []

    def items():
        for sample in range(100):
            published.append(sample)
            yield frame(sample)

    producer = produce(stream, items())
    reader = stream.read("slow")
    for taken in range(1, 50):
        next(reader)
        # Three wait, one is in the producer's hand.
        assert len(published) <= taken + 4
    reader.close()
    producer.join(10)
    assert not producer.is_alive()


def test_a_reader_that_breaks_off_lets_the_others_go_on() -> None:
    stream = FrameStream({"breaks": frozenset({(0, 0)}), "stays": frozenset({(0, 0)})}, capacity=1)
    producer = produce(stream, [frame(sample) for sample in range(20)])
    breaking = stream.read("breaks")
    staying = stream.read("stays")
    next(breaking)
    breaking.close()
    assert [item.sample for _, item in staying] == list(range(20))
    producer.join(10)


def test_extraction_is_told_when_nobody_reads() -> None:
    stream = FrameStream({"only": frozenset({(0, 0)})}, capacity=1)
    stream.detach("only")
    assert stream.publish(0, frame(0)) is False


@pytest.mark.parametrize(
    ("cause", "raised"),
    [(RuntimeError("gone"), ExtractionFailedError), (PermanentError("not the same bytes"), ExtractionRefusedError)],
)
def test_readers_learn_that_extraction_failed_after_what_came_before(cause, raised) -> None:
    stream = FrameStream({"only": frozenset({(0, 0)})}, capacity=4)
    stream.publish(0, frame(0))
    stream.finish(cause)
    reader = stream.read("only")
    assert next(reader)[1].sample == 0
    with pytest.raises(raised, match=str(cause)):
        next(reader)


def test_segments_are_those_that_attached_readers_need() -> None:
    stream = FrameStream({"a": frozenset({(0, 2), (0, 5), (1, 0)}), "b": frozenset({(0, 3)})}, capacity=1)
    assert (stream.segments(0), stream.segments(1), stream.segments(2)) == ([2, 3, 5], [0], [])
    stream.detach("b")
    assert stream.segments(0) == [2, 5]


def test_shares_are_told_apart() -> None:
    stream = FrameStream({"first": frozenset({(0, 0)}), "both": frozenset({(0, 0), (1, 0)})}, capacity=8)
    for share in (0, 1):
        stream.publish(share, frame(share))
    stream.finish()
    assert [(share, item.sample) for share, item in stream.read("first")] == [(0, 0)]
    assert [(share, item.sample) for share, item in stream.read("both")] == [(0, 0), (1, 1)]
