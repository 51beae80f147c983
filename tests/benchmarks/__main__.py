"""`make bench`: what a job costs against its parts, side by side in one run. Figures are printed, never asserted.

The engine is run without Prefect: decode only, model only on frames already in memory, and both over the stream.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from models.classification import Classification
from models.request import InferenceParams
from tasks.decoding import ExtractedFrame, extract
from tasks.frame_stream import FrameStream
from tasks.gpu_run import cpu_share
from tasks.inference import StreamInference
from tasks.plans import Plan, make_plan
from tasks.probing import probe

REPEATS = 3
BATCH = 8


def cpu_s() -> float:
    """CPU seconds of this process and of its ended children (decode workers)."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Medians of wall and CPU seconds over a few runs."""
    walls, cpus = [], []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), cpu_s()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(cpu_s() - cpu)
    return {"wall_s": round(statistics.median(walls), 3), "cpu_s": round(statistics.median(cpus), 3)}


def decode(path: Path, plan: Plan) -> list[ExtractedFrame]:
    """Every sample of the plan, in memory."""
    return [item for item in extract(path, plan, range(len(plan.segments))) if isinstance(item, ExtractedFrame)]


def job(path: Path, plan: Plan, model: Classification) -> int:
    """Decode and infer over one stream, as a GPU run does; returns the number of outcomes."""
    stream = FrameStream({"model": frozenset(range(len(plan.segments)))}, capacity=2 * BATCH)

    def produce() -> None:
        for item in extract(path, plan, stream.segments()):
            stream.publish(item)
        stream.finish()

    outcomes: list[object] = []
    producer = threading.Thread(target=produce)
    producer.start()
    StreamInference(
        model,
        plan,
        "classification",
        id_seed="benchmark",
        batch_size=BATCH,
        deterministic=False,
        sink=lambda _segment, got: outcomes.extend(got),
    ).run(stream.read("model"))
    producer.join()
    return len(outcomes)


def main() -> None:
    """Measure on the classifier and the street video of the assets."""
    if "REELMILL_ASSETS" not in os.environ:
        sys.exit("Set REELMILL_ASSETS to the folder of real weights and videos that the benchmark uses.")
    assets = Path(os.environ["REELMILL_ASSETS"])
    video = assets / "videos" / "bikes.mp4"
    model = Classification(assets / "models" / "classification-efficientnet-lite0-hf", InferenceParams(top_k=5))
    torch.set_num_threads(cpu_share(models=1))
    model.setup("cpu")
    _, index = probe(video)
    plan = make_plan(index, infer_fps=Fraction(25))
    frames = [frame.pixels for frame in decode(video, plan) if frame.pixels is not None]
    model.predict(frames[:BATCH])

    figures = {
        "decode only": measured(lambda: decode(video, plan)),
        "model only": measured(
            lambda: [model.predict(frames[first : first + BATCH]) for first in range(0, len(frames), BATCH)]
        ),
        "whole job": measured(lambda: job(video, plan, model)),
    }
    for row in figures.values():
        row["frames_per_s"] = round(len(frames) / row["wall_s"], 1)
    parts_s = figures["decode only"]["wall_s"] + figures["model only"]["wall_s"]
    ratio = round(figures["whole job"]["wall_s"] / parts_s, 3)
    table = Table("what", "wall s", "CPU s", "frames/s", title=f"{video.name}, {len(frames)} frames, batch {BATCH}")
    for name, row in figures.items():
        table.add_row(name, *(str(row[column]) for column in ("wall_s", "cpu_s", "frames_per_s")))
    Console().print(table)
    Console().print_json(json.dumps({**figures, "whole / (decode + model)": ratio}))


if __name__ == "__main__":
    main()
