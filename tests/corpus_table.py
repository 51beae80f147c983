"""The corpus as a table in Markdown: each file with what a user sees of it."""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

from models.errors import PermanentError
from tasks.decode_workers import DecodeWorkers
from tasks.decoding import ExtractedFrame
from tasks.probing import probe
from tasks.video_facts import VideoFacts
from tests.corpus import CORPUS
from tests.corpus_checks import SETTINGS, extracted, shift_of, wrong_frames
from tests.corpus_entry import CorpusFile, Remains, whole_of
from tests.video_files import read_all_frames

_ORDINARY = {
    "rotation": 0,
    "pixel_aspect": "1:1",
    "counted_by": "index",
    "frames_missing": 0,
    "mirrored": False,
    "interlaced": False,
    "colour_matrix": "unspecified",
    "colour_range": "limited",
    "transfer": "sdr",
}
"""Facts that are told only where they are others."""


def main() -> None:
    """Make the files, print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files are made, each in a folder of its own")
    parser.add_argument("--only", default="", help="entries whose names hold this")
    parser.add_argument("--long", action="store_true", help="the long ones too")
    wanted = parser.parse_args()
    print("| file | container, codec, size | frames at 1 a second / all | what is lost, and facts that matter |")
    print("|---|---|---|---|")
    for number, entry in enumerate(CORPUS):
        if wanted.only not in entry.name or (entry.long and not wanted.long):
            continue
        folder = wanted.folder / f"{number:03}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / entry.file_name
        entry.make(path)
        print("| " + " | ".join([entry.name, *row_of(entry, path)]) + " |", flush=True)


def row_of(entry: CorpusFile, path: Path) -> Sequence[str]:
    """What is seen of one file: the three cells behind its name."""
    with DecodeWorkers(SETTINGS) as workers:
        try:
            facts, index = probe(path, workers=workers)
        except PermanentError as error:
            return "refused", "", f"{type(error).__name__}: {error}"
        sparse = extracted(path, index, Fraction(1), facts, workers)[1]
        plan, frames = extracted(path, index, None, facts, workers)
    notes = [*_nulls(frames), *_odd_facts(facts)]
    if isinstance(entry.outcome, Remains):
        wrong = wrong_frames(plan, frames, read_all_frames(whole_of(path)), shift_of(facts, entry.outcome))
    else:
        wrong = wrong_frames(plan, frames, read_all_frames(path))
    notes += [f"not noticed, since the noise decodes: {_ranges(wrong)}"] if wrong else []
    kind = f"{facts.container}, {facts.codec}, {facts.width}×{facts.height}"
    return kind, f"{_good(sparse)} / {_good(frames)}", "; ".join(notes)


def _good(frames: Sequence[ExtractedFrame]) -> str:
    good = sum(frame.pixels is not None for frame in frames)
    return str(good) if good == len(frames) else f"{good} of {len(frames)}"


def _nulls(frames: Iterable[ExtractedFrame]) -> list[str]:
    nulls = [frame for frame in frames if frame.pixels is None]
    reasons = Counter(frame.reason for frame in nulls)
    return [
        f"{_ranges([frame.sample for frame in nulls if frame.reason == reason])} null: {reason}" for reason in reasons
    ]


def _odd_facts(facts: VideoFacts) -> list[str]:
    said = facts.model_dump(mode="json")
    odd = [
        f"{name.replace('_', ' ')}: {said[name]}" for name, usual in _ORDINARY.items() if said.get(name, usual) != usual
    ]
    rate = f"{facts.rate} frames/s" + ("" if facts.constant_rate else ", variable")
    return [rate, *odd]


def _ranges(numbers: Sequence[int]) -> str:
    """3, 5–9"""
    runs = [
        [number for _, number in run]
        for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
