"""What work costs as it grows: frames, models, objects in a frame; and memory as videos grow longer."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.job_rounds import Order, rounds
from tests.benchmarks.job_sections import Bench
from tests.benchmarks.long_videos import FPS as LONG_FPS
from tests.benchmarks.long_videos import long_video
from tests.benchmarks.process_memory import SAMPLE_EVERY_S

FRAMES = (1, 4, 16)
OBJECTS = (10, 100, 1000)
_OBJECT_FRAMES_S = 300
"""Frames that are given objects, one a second of a small and easily decoded video."""
MEMORY_LENGTHS_S = (60, 3600)
_MEMORY_FRAMES = 360
"""Looked at in each, so that lanes and queues are as full in the short one as in the long one."""
ALL_MODELS = ("detector", "yolox_nano", "efficientnet", "classifier")


def growth(bench: Bench) -> dict[str, Any]:
    """Medians by what has grown."""
    name, most = bench.names[0], bench.asked.growth_samples
    frames = {count: max(1, most * count // FRAMES[-1]) for count in FRAMES}
    contestants: dict[str, Order] = {
        f"{count} × frames": bench.job([[name]], fps=1, end_s=samples) for count, samples in frames.items()
    }
    models = [model for model in ALL_MODELS if model in bench.models]
    for count in range(1, len(models) + 1):
        contestants[f"{count} models"] = bench.job([models[:count]], fps=1, end_s=frames[4])
    small = long_video(bench.files, "mkv", 2 * _OBJECT_FRAMES_S)
    for objects in OBJECTS:
        order = bench.job([["detector"]], videos=[small], fps=1, end_s=_OBJECT_FRAMES_S, boxes=True, rehearse=False)
        order["requests"] = [[{**order["requests"][0][0], "inference_params": {"max_detections": objects}}]]
        contestants[f"{objects} objects"] = order
    measured = rounds(contestants, bench.asked.peer_repeats, bench.tell)
    return {
        "model": name,
        "models": models,
        "medians": {name: one.medians() for name, one in measured.items()},
        "measured": {name: one.as_json() for name, one in measured.items()},
    }


def memory(bench: Bench) -> dict[str, Any]:
    """Peak memory of all processes, from their start, of whole jobs on a minute and on an hour."""
    contestants = {}
    for length_s in MEMORY_LENGTHS_S:
        video = long_video(bench.files, "mkv", length_s)
        contestants[f"{length_s} s"] = bench.job(
            [[bench.names[0]]],
            videos=[video],
            fps=_MEMORY_FRAMES / length_s,
            rehearse=False,
            folder=str(bench.scratch / "memory"),
        )
    measured = rounds(contestants, 1, bench.tell, memory_every_s=SAMPLE_EVERY_S)
    return {
        "packets": {f"{length_s} s": length_s * LONG_FPS for length_s in MEMORY_LENGTHS_S},
        "medians": {name: one.medians() for name, one in measured.items()},
        "measured": {name: one.as_json() for name, one in measured.items()},
    }
