"""What a job is made of, by itself: decoding with the frames dropped at once, a model on frames already in memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from models.inference_types import vision_model_class
from models.request import InferenceParams
from models.vision_model import Frame, VisionModel
from tasks.decode_forking import FORKER, can_fork
from tasks.decoding import ExtractedFrame, extract
from tasks.plans import Plan, make_plan
from tasks.probing import probe
from tasks.settings import DecodeSettings
from tasks.video_facts import VideoFacts
from tests.benchmarks.job_work import Work

KEPT_FRAMES = 48
"""Frames in memory that a model is given again and again: far more bytes than any cache holds."""


def plan_of(order: dict[str, Any]) -> Plan:
    """The samples of `order`: `path` at `fps`, up to `end_s` where that is given."""
    return plan_and_facts_of(order)[0]


def plan_and_facts_of(order: dict[str, Any]) -> tuple[Plan, VideoFacts]:
    """The plan and what is known of the video, as a job has both from registration."""
    facts, index = probe(Path(order["path"]))
    return make_plan(index, infer_fps=Fraction(str(order["fps"])), end_s=order.get("end_s")), facts


def decode(order: dict[str, Any]) -> Work:
    """Decoding alone, by at most `workers` workers."""
    if can_fork():
        FORKER.prepare()
    path, settings = Path(order["path"]), DecodeSettings(workers=order["workers"])
    plan, facts = plan_and_facts_of(order)

    def work() -> dict[str, Any]:
        items = extract(path, plan, range(len(plan.segments)), facts=facts, settings=settings)
        return {"frames": sum(isinstance(item, ExtractedFrame) and item.pixels is not None for item in items)}

    return work


def forward(order: dict[str, Any]) -> Work:
    """Preprocessing, forward pass and elements of `frames` frames, `batch` at a time, in `lanes` threads at once."""
    import torch

    torch.set_num_threads(order["threads"])
    frames = frames_in_memory(order)
    model = loaded(order["model"], order["device"])[0]
    batch: int = order["batch"]
    batches = [
        [frames[(first + place) % len(frames)] for place in range(min(batch, order["frames"] - first))]
        for first in range(0, order["frames"], batch)
    ]

    def predicted(some: Sequence[Frame]) -> int:
        return len(model.predict(some))

    lanes = ThreadPoolExecutor(order["lanes"])
    list(lanes.map(predicted, batches[: 2 * order["lanes"]]))  # the lanes' threads start, buffers find their size

    def work() -> dict[str, Any]:
        return {"frames": sum(lanes.map(predicted, batches))}

    return work


def frames_in_memory(order: dict[str, Any]) -> list[Frame]:
    """The first samples of the plan, `(height, width, 3)` uint8 RGB, at most `KEPT_FRAMES`."""
    path, plan, kept = Path(order["path"]), plan_of(order), []
    for item in extract(path, plan, range(len(plan.segments)), settings=DecodeSettings(workers=1)):
        if isinstance(item, ExtractedFrame) and item.pixels is not None:
            kept.append(np.array(item.pixels))
        if len(kept) == KEPT_FRAMES:
            break
    return kept


def loaded(model: dict[str, Any], device: str) -> tuple[VisionModel, float]:
    """A model of a request, ready on the device, and the seconds that loading it took."""
    made = vision_model_class(model["inference_type"])(
        Path(model["model_id"]), InferenceParams(**model["inference_params"])
    )
    began_s = time.perf_counter()
    made.setup(device)
    return made, time.perf_counter() - began_s
