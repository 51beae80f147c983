"""What the weights' cards say: scores as measured, on stills and on compressed videos that no training saw."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.smallworld import FIRST_HELD_OUT_SEED, FIRST_VIDEO_SEED
from tests.smallworld.measuring import (
    LEAST_CONFIDENCE,
    Sample,
    held_out,
    measure_classification,
    measure_clip,
    measure_detection,
    measure_instance,
    measure_semantic,
)
from tests.smallworld.scenes import CROWD, PAIR, SINGLE, Kind
from tests.smallworld.training_loop import Task
from tests.smallworld.videos import video_samples

STILLS = 400
_SCORED_VIDEO_SEED = FIRST_VIDEO_SEED + 9_000_000
"""Away from the seeds that tests take from `FIRST_VIDEO_SEED` on."""


@dataclass(frozen=True)
class Judged:
    """How one model is judged and what its card calls that."""

    kind: Kind
    measure: Callable[[Path, Sequence[Sample]], float]
    metric: str
    sees: str
    pipeline: str
    architecture: str


JUDGED = {
    "detector": Judged(
        CROWD,
        measure_detection,
        f"mAP50 of boxes (confidence from {LEAST_CONFIDENCE})",
        "finds circles, squares, triangles and stars by their boxes",
        "object-detection",
        "RT-DETRv2",
    ),
    "semantic": Judged(
        CROWD,
        measure_semantic,
        "mIoU",
        "says of every pixel whether a circle, a square, a triangle, a star or the background is there",
        "image-segmentation",
        "UPerNet on a ResNet",
    ),
    "instance": Judged(
        CROWD,
        measure_instance,
        f"mAP50 of masks (confidence from {LEAST_CONFIDENCE})",
        "finds circles, squares, triangles and stars by their masks",
        "image-segmentation",
        "Mask2Former on a ResNet",
    ),
    "classifier": Judged(
        SINGLE,
        measure_classification,
        "top-1 of 20",
        "names colour and shape of the one large object: five colours, four shapes",
        "image-classification",
        "ResNet",
    ),
    "clip": Judged(
        PAIR,
        measure_clip,
        "right caption first of 20",
        'tells captions such as "a red circle and a blue star" apart',
        "zero-shot-image-classification",
        "CLIP",
    ),
}


@dataclass(frozen=True)
class Scores:
    """One model's scores and how many pictures each rests on."""

    stills: float
    stills_count: int
    videos: float
    video_frames: int
    video_count: int


def fresh_videos(kind: Kind, folder: Path) -> tuple[list[Sample], int]:
    """Frames of compressed videos (H.264, crf 23, 25 fps) of seeds used nowhere else, and how many videos."""
    if kind is CROWD:
        count, frames, every = 40, 101, 10
    else:  # The right answer holds for all of a video: more videos, fewer frames of each.
        count, frames, every = 200, 14, 13
    seeds = range(_SCORED_VIDEO_SEED, _SCORED_VIDEO_SEED + count)
    return video_samples(kind, seeds, folder, frames=frames, every=every), count


def measured(name: str, weights: Path) -> Scores:
    """Judge one saved model."""
    judged = JUDGED[name]
    stills = held_out(judged.kind, STILLS)
    with tempfile.TemporaryDirectory() as folder:
        frames, count = fresh_videos(judged.kind, Path(folder))
    return Scores(
        judged.measure(weights / name, stills),
        len(stills),
        judged.measure(weights / name, frames),
        len(frames),
        count,
    )


def card(task: Task, scores: Scores, parameters: int) -> str:
    """The README.md that goes with the weights, with the head that the hub reads."""
    judged = JUDGED[task.name]
    begins = " Its backbone starts as the semantic model's." if task.name == "instance" else ""
    stopped = f" that would have ended at step {task.cosine_steps:,}" if task.cosine_steps else ""
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: {judged.pipeline}
tags: [reelmill, small-world, test-only]
---

# small-world {task.name}

A tiny {judged.architecture} ({parameters:,} numbers) that {judged.sees}, in rendered scenes of
kind `{judged.kind.name}` (see `tests/smallworld/`). It is there so that tests can compare results with a truth that is
known exactly. It sees nothing else: do not use it on pictures of the real world.

| judged on | {judged.metric} | n |
|---|---|---|
| held-out stills, seeds from {FIRST_HELD_OUT_SEED:,} | {scores.stills:.3f} | {scores.stills_count} stills |
| H.264 videos (crf 23), seeds from {_SCORED_VIDEO_SEED:,} | {scores.videos:.3f} | {scores.video_frames} frames of \
{scores.video_count} videos |

Measured by `python -m tests.smallworld score`, which loads the model with transformers alone.

Trained from scratch by `python -m tests.smallworld train`: {task.steps:,} steps of {task.batch} rendered stills, AdamW,
learning rate {task.learning_rate:g} after a warm-up and down a cosine{stopped}, one CPU thread, fp32;
training seeds from 0, each scene seen once.{begins} The held-out stills
were looked at to decide how long to train, the videos never.

Licence: that of the project, Apache-2.0. No data and no weights of others took part.
"""
