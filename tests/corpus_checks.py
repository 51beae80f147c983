"""What a user sees of a corpus file, held against what its entry says and against reading every frame in turn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import PermanentError
from tasks.decode_workers import DecodeWorkers
from tasks.decoding import ExtractedFrame, SegmentEnd, extract
from tasks.plans import Plan, make_plan
from tasks.probing import probe
from tasks.settings import DecodeSettings
from tasks.video_facts import VideoFacts
from tests.corpus_entry import CorpusFile, Frames, Refused, Remains, whole_of
from tests.video_files import read_all_frames, read_barcode

if TYPE_CHECKING:
    from tasks.video_index import VideoIndex

SETTINGS = DecodeSettings(segment_s=4, workers=1)
"""Several segments in twelve seconds; one worker, since most of a small file's time is a worker's start."""
Rate = Fraction | None
Picture = NDArray[np.uint8]


def check(entry: CorpusFile, path: Path, rates: Iterable[Rate]) -> None:
    """Assert that the file at `path` comes out as its entry says, at each rate."""
    if isinstance(entry.outcome, Refused):
        check_refused(path, entry.outcome)
        return
    with DecodeWorkers(SETTINGS) as workers:
        if isinstance(entry.outcome, Remains):
            check_remains(path, entry.outcome, rates, workers)
        else:
            check_frames(path, entry.outcome, rates, workers)


def check_refused(path: Path, outcome: Refused) -> None:
    """Assert that probing ends in the error, with its sentence."""
    with pytest.raises(PermanentError) as refusal:
        probe(path, SETTINGS)
    assert (type(refusal.value).__name__, str(refusal.value)) == (outcome.error, outcome.sentence)


def check_frames(path: Path, outcome: Frames, rates: Iterable[Rate], workers: DecodeWorkers) -> None:
    """Assert that every frame is there, and is the one that sequential decoding gives."""
    facts, index = probe(path, SETTINGS)
    said = (facts.frame_count, facts.rate, facts.constant_rate, facts.counted_by, facts.frames_missing)
    assert said == (outcome.count, outcome.rate, outcome.constant, outcome.counted_by, 0)
    assert {name: getattr(facts, name) for name in outcome.facts} == dict(outcome.facts)
    reference = read_all_frames(path)
    assert len(reference) == outcome.count
    for rate in rates:
        plan, frames = extracted(path, index, rate, facts, workers)
        if facts.constant_rate:
            _check_ideal(plan, Fraction(facts.rate), rate, facts.frame_count)
        for frame, offset in zip(frames, plan.frame_offset.tolist(), strict=True):
            assert frame.pixels is not None, f"frame {offset}: {frame.reason}"
            assert np.array_equal(frame.pixels, reference[offset]), f"frame {offset} is another"
            if outcome.first_number is not None:
                assert read_barcode(frame.pixels) == outcome.first_number + offset


def check_remains(path: Path, outcome: Remains, rates: Iterable[Rate], workers: DecodeWorkers) -> None:
    """Assert that each frame of the whole is at its place, or null, or missing at the end; none is another."""
    facts, index = probe(path, SETTINGS)
    assert (facts.rate, facts.constant_rate, facts.counted_by) == (outcome.rate, True, outcome.counted_by)
    clean = read_all_frames(whole_of(path))
    assert len(clean) == outcome.of
    for rate in rates:
        plan, frames = extracted(path, index, rate, facts, workers)
        _check_ideal(plan, Fraction(facts.rate), rate, facts.frame_count)
        assert set(wrong_frames(plan, frames, clean, shift_of(facts, outcome))) <= set(outcome.swallowed)
        for frame in frames:
            assert frame.pixels is not None or (frame.reason and not frame.passing)
        if rate is None:
            _check_losses(facts, frames, outcome)


def _check_ideal(plan: Plan, fps: Fraction, infer_fps: Rate, frame_count: int) -> None:
    """At a constant rate, samples are the frames floor(i · fps / f), at offset / fps seconds."""
    step = fps / infer_fps if infer_fps and infer_fps <= fps else 1
    offsets = [i * step // 1 for i in range(math.ceil(frame_count / step))]
    assert plan.frame_offset.tolist() == offsets
    assert plan.time_offset.tolist() == [round(float(offset / fps), 4) for offset in offsets]


def _check_losses(facts: VideoFacts, frames: Sequence[ExtractedFrame], outcome: Remains) -> None:
    listed = facts.frame_count
    good = sum(frame.pixels is not None for frame in frames)
    assert outcome.least_lost <= outcome.of - good <= outcome.most_lost
    if outcome.tail_missing:
        assert listed < outcome.of
        least = outcome.of - listed if outcome.missing_known else 1
        assert least <= facts.frames_missing <= outcome.of - good
        assert listed - good <= 3, "what is cut off is not listed"
    else:
        assert listed == outcome.of or outcome.counted_by == "decoding"
        assert frames[-1].pixels is not None, "the end is whole"


def shift_of(facts: VideoFacts, outcome: Remains) -> int:
    """By how many frames numbers may lag behind a loss: those of counted frames do."""
    return outcome.of - facts.frame_count if facts.counted_by == "decoding" and not outcome.tail_missing else 0


def wrong_frames(plan: Plan, frames: Sequence[ExtractedFrame], clean: Sequence[Picture], shift: int = 0) -> list[int]:
    """Offsets of frames that were given and aren't what the whole file has there, or at most `shift` frames behind."""
    return [
        offset
        for frame, offset in zip(frames, plan.frame_offset.tolist(), strict=True)
        if frame.pixels is not None
        and not any(np.array_equal(frame.pixels, picture) for picture in clean[offset : offset + shift + 1])
    ]


def extracted(
    path: Path, index: VideoIndex, infer_fps: Rate, facts: VideoFacts, workers: DecodeWorkers
) -> tuple[Plan, list[ExtractedFrame]]:
    """The plan at a rate, and all of its samples in order, each of them given once, with its segment's end after it."""
    plan = make_plan(index, infer_fps=_asked(infer_fps, facts), settings=SETTINGS)
    frames: dict[int, ExtractedFrame] = {}
    ended: set[int] = set()
    for item in extract(path, plan, range(len(plan.segments)), facts=facts, workers=workers):
        if isinstance(item, SegmentEnd):
            ended.add(item.segment)
            assert set(range(*plan.segments[item.segment])) <= set(frames)
            continue
        assert item.sample not in frames
        assert item.segment not in ended
        start, stop = plan.segments[item.segment]
        assert start <= item.sample < stop
        frames[item.sample] = item
    assert ended == set(range(len(plan.segments)))
    return plan, [frames[sample] for sample in range(len(plan))]


def _asked(infer_fps: Rate, facts: VideoFacts) -> Rate:
    """The rate to ask for: all frames where the video has fewer than that."""
    return None if infer_fps is None or infer_fps > Fraction(facts.rate) else infer_fps
