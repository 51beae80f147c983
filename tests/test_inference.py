"""A model over a stream: batches, outcomes, segments, and what a failing frame or model does."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import numpy as np
import pytest
import torch

from tasks.decoding import ExtractedFrame, SegmentEnd
from tasks.inference import GIVE_UP_AFTER_FRAMES, InferenceShare, ModelFailedError, StreamInference
from tasks.outcomes import outcomes_of
from tasks.plans import Plan
from tasks.stage_times import StageTimes


class Brightness:
    """A detector whose one box says how bright the frame is; frames of value 13 break it."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.batches_of_values: list[list[int]] = []

    def predict(self, frames):
        self.batches.append(len(frames))
        self.batches_of_values.append([int(frame[0, 0, 0]) for frame in frames])
        assert len({frame.shape for frame in frames}) == 1
        if any(frame[0, 0, 0] == 13 for frame in frames):
            raise ValueError("unlucky")
        return [
            {
                "image": {"width": frame.shape[1], "height": frame.shape[0]},
                "predictions": [
                    {
                        "x": 1.0,
                        "y": 1.0,
                        "width": 2.0,
                        "height": 2.0,
                        "confidence": float(frame[0, 0, 0]) / 255,
                        "class": "bright",
                        "class_id": 0,
                    }
                ],
            }
            for frame in frames
        ]


def plan(*lengths: int) -> Plan:
    count = sum(lengths)
    stops = np.cumsum(lengths).tolist()
    return Plan(
        frame_offset=np.arange(count) * 5,
        time_offset=np.arange(count) * 0.2,
        pts=np.arange(count),
        key_pts=np.zeros(count, np.int64),
        leading=np.zeros(count, bool),
        segments=list(zip([0, *stops[:-1]], stops, strict=True)),
    )


def items(of: Plan, values=None, shapes=None):
    for segment, (start, stop) in enumerate(of.segments):
        for sample in range(start, stop):
            value = values[sample] if values else sample + 20
            shape = shapes[sample] if shapes else (4, 4)
            if value is None:
                yield ExtractedFrame(sample=sample, segment=segment, pixels=None, reason="damaged", passing=True)
            else:
                yield ExtractedFrame(
                    sample=sample, segment=segment, pixels=np.full((*shape, 3), value, np.uint8), reason=None
                )
        yield SegmentEnd(segment)


def into(shards):
    """A sink that keeps outcomes."""
    return lambda segment, table: shards.__setitem__(segment, list(outcomes_of(table, "object-detection")))


def run(of: Plan, stream, model=None, **options):
    shards, advanced = {}, []
    id_seed = options.pop("id_seed", "seed")
    settings = {"batch_size": 4, "deterministic": False} | options
    model = model or Brightness()
    share = InferenceShare(of, id_seed, sink=into(shards), advance=advanced.append)
    StreamInference(model, [share], "object-detection", **settings).run((0, item) for item in stream)
    return shards, model, sum(advanced)


def confidences(outcomes):
    return [round(outcome.element["predictions"][0]["confidence"] * 255) for outcome in outcomes]


def test_batches_fill_across_segments_and_every_segment_is_handed_over_once() -> None:
    of = plan(3, 3, 3)
    shards, model, advanced = run(of, items(of))
    assert model.batches == [4, 4, 1]
    assert advanced == 9
    assert [confidences(shards[segment]) for segment in range(3)] == [[20, 21, 22], [23, 24, 25], [26, 27, 28]]
    assert [outcome.frame_offset for outcome in shards[1]] == [15, 20, 25]


def test_deterministic_batches_end_with_their_segment() -> None:
    of = plan(3, 3, 3)
    _, model, _ = run(of, items(of), deterministic=True)
    assert model.batches == [3, 3, 3]


@pytest.mark.parametrize("seed", range(5))
def test_deterministic_batches_hold_the_same_samples_in_whatever_order_frames_come(seed) -> None:
    of = plan(10, 3, 6)
    values = [None if sample in (5, 12) else sample + 20 for sample in range(19)]
    frames = [item for item in items(of, values=values) if isinstance(item, ExtractedFrame)]
    random.Random(seed).shuffle(frames)
    left = Counter(frame.segment for frame in frames)
    stream = []
    for frame in frames:
        stream.append(frame)
        left[frame.segment] -= 1
        if not left[frame.segment]:
            stream.append(SegmentEnd(frame.segment))
    model = Brightness()
    shards, _, advanced = run(of, stream, model, deterministic=True)
    assert sorted(model.batches_of_values) == [
        [20, 21, 22, 23],
        [24, 26, 27],
        [28, 29],
        [30, 31],
        [33, 34, 35, 36],
        [37, 38],
    ]
    assert advanced == 19
    for segment, (start, stop) in enumerate(of.segments):
        outcomes = shards[segment]
        assert [outcome.frame_offset for outcome in outcomes] == [sample * 5 for sample in range(start, stop)]
        assert [outcome.element is None for outcome in outcomes] == [value is None for value in values[start:stop]]
        good = [outcome for outcome in outcomes if outcome.element is not None]
        assert confidences(good) == [value for value in values[start:stop] if value is not None]


def test_frames_of_different_shapes_never_share_a_batch() -> None:
    of = plan(6)
    shapes = [(4, 4), (8, 4)] * 3
    shards, model, _ = run(of, items(of, shapes=shapes), batch_size=3)
    assert sorted(model.batches) == [3, 3]
    assert [outcome.element["image"]["height"] for outcome in shards[0]] == [4, 8] * 3


def test_a_frame_that_breaks_the_model_is_null_with_a_reason_and_the_rest_of_its_batch_is_good() -> None:
    of = plan(4)
    shards, _, advanced = run(of, items(of, values=[20, 13, 21, 22]))
    assert [outcome.element is None for outcome in shards[0]] == [False, True, False, False]
    assert "unlucky" in shards[0][1].reason
    assert not shards[0][1].passing
    assert advanced == 4


class Cramped(Brightness):
    """Runs out of memory with more than `room` frames at a time."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.refused = 0

    def predict(self, frames):
        if len(frames) > self.room:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().predict(frames)


def test_a_batch_too_large_for_memory_is_halved_until_it_fits() -> None:
    of = plan(8)
    shards, model, _ = run(of, items(of), Cramped(2), batch_size=8)
    assert confidences(shards[0]) == list(range(20, 28))
    assert model.batches == [2, 2, 2, 2]


@pytest.mark.parametrize("deterministic", [False, True])
def test_what_ran_out_of_memory_once_is_not_tried_again(deterministic) -> None:
    of = plan(160)
    model = Cramped(2)
    shards, _, _ = run(of, items(of, values=[20] * 160), model, batch_size=8, deterministic=deterministic)
    assert len(shards[0]) == 160
    assert model.batches == [2] * 80
    # Deterministic batches must be those of every other run, so that each is too large at first.
    assert model.refused == 60 if deterministic else model.refused < 20


def test_a_single_frame_too_large_for_memory_says_so() -> None:
    of = plan(40)
    with pytest.raises(ModelFailedError, match=r"OutOfMemoryError: CUDA out of memory"):
        run(of, items(of), Cramped(0), batch_size=8)


def test_a_frame_without_pixels_keeps_its_reason() -> None:
    of = plan(3)
    shards, _, _ = run(of, items(of, values=[20, None, 21]))
    assert (shards[0][1].element, shards[0][1].reason, shards[0][1].passing) == (None, "damaged", True)


def test_a_model_that_fails_on_everything_gives_up_early() -> None:
    of = plan(500)
    model = Brightness()
    with pytest.raises(ModelFailedError, match="unlucky"):
        run(of, items(of, values=[13] * 500), model)
    assert sum(size == 1 for size in model.batches) == GIVE_UP_AFTER_FRAMES


def test_ids_are_derived_from_seed_frame_and_rank() -> None:
    of = plan(2)

    def ids(seed: str) -> list[str]:
        shards, _, _ = run(of, items(of), id_seed=seed)
        return [outcome.element["predictions"][0]["detection_id"] for outcome in shards[0]]

    assert ids("a") == ids("a")
    assert len(set(ids("a") + ids("b"))) == 4


def test_batches_fill_across_the_videos_of_several_jobs_and_each_keeps_its_own() -> None:
    plans = [plan(3), plan(2, 2), plan(1)]
    shards: list[dict] = [{}, {}, {}]
    model = Brightness()
    shares = [InferenceShare(of, f"seed {n}", sink=into(shards[n])) for n, of in enumerate(plans)]
    stream = [(n, item) for n, of in enumerate(plans) for item in items(of, values=range(20 + 10 * n, 30 + 10 * n))]
    StreamInference(model, shares, "object-detection", batch_size=4, deterministic=False).run(stream)
    assert model.batches == [4, 4]
    got = [[confidences(of[segment]) for segment in sorted(of)] for of in shards]
    assert got == [[[20, 21, 22]], [[30, 31], [32, 33]], [[40]]]
    ids = {outcome.element["predictions"][0]["detection_id"] for of in shards for seg in of.values() for outcome in seg}
    assert len(ids) == 8


class Meeting(Brightness):
    """Two batches must be in `predict` at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier = threading.Barrier(2)

    def predict(self, frames):
        self.barrier.wait(timeout=20)
        return super().predict(frames)


def test_lanes_predict_at_the_same_time_and_outcomes_stay_in_order() -> None:
    of = plan(16, 16)
    shards, model, advanced = run(of, items(of), Meeting(), lanes=2)
    assert model.batches == [4] * 8
    assert advanced == 32
    assert confidences(shards[0]) + confidences(shards[1]) == list(range(20, 52))


def test_no_more_lanes_compute_than_there_are_cores() -> None:
    class Counting(Brightness):
        inside = most = 0

        def predict(self, frames):
            with lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            time.sleep(0.002)
            with lock:
                self.inside -= 1
            return super().predict(frames)

    lock = threading.Lock()
    of = plan(64)
    _, model, _ = run(of, items(of), Counting(), lanes=4, cores=threading.BoundedSemaphore(2))
    assert model.most == 2


def test_an_error_of_the_store_ends_the_run_and_no_frame_is_waited_for() -> None:
    def full(segment, outcomes):
        raise OSError("no space left")

    of = plan(*[4] * 50)
    share = InferenceShare(of, "seed", sink=full)
    inference = StreamInference(Brightness(), [share], "object-detection", batch_size=4, deterministic=False, lanes=2)
    with pytest.raises(OSError, match="no space left"):
        inference.run((0, item) for item in items(of))


def test_what_was_put_in_before_the_frames_stopped_is_finished() -> None:
    of = plan(4, 4)

    def broken():
        yield from ((0, item) for item in list(items(of))[:6])
        raise ConnectionError("gone")

    shards: dict = {}
    share = InferenceShare(of, "seed", sink=into(shards))
    with pytest.raises(ConnectionError, match="gone"):
        StreamInference(Brightness(), [share], "object-detection", batch_size=4, deterministic=False).run(broken())
    assert {segment: confidences(outcomes) for segment, outcomes in shards.items()} == {0: [20, 21, 22, 23]}


def test_what_a_lane_waits_for_and_works_on_is_counted() -> None:
    of = plan(8)
    times = StageTimes()

    class Slow(Brightness):
        def predict(self, frames):
            time.sleep(0.05)
            return super().predict(frames)

    def slowly():
        for item in items(of):
            time.sleep(0.02)
            yield item

    run(of, slowly(), Slow(), times=times)
    seconds = times.seconds()
    assert seconds["inferring_s"] == pytest.approx(0.1, abs=0.05)
    assert seconds["waiting_for_frames_s"] >= 0.07
    assert {"writing_s", "waiting_for_writer_s"} <= seconds.keys()
