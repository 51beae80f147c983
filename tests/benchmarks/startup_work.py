"""A job's work without Prefect and without overlap: plain functions, one after the other, in a process of its own.

`python -m tests.benchmarks.startup_work VIDEO MODEL FPS` prints the seconds of each part as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any


def work(video: Path, folder: Path, fps: Fraction) -> dict[str, float]:
    """Seconds of each part: imports, the model's load, decoding, inference."""
    seconds: dict[str, float] = {}
    last = time.perf_counter()

    def done(part: str) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[part], last = now - last, now

    import transformers.modeling_utils  # noqa: F401

    from models.object_detection import ObjectDetection
    from models.request import InferenceParams
    from tasks.decoding import ExtractedFrame, extract
    from tasks.plans import make_plan
    from tasks.probing import probe

    done("imports")
    model: Any = ObjectDetection(folder, InferenceParams())
    model.setup("cpu")
    done("load")
    _, index = probe(video)
    plan = make_plan(index, infer_fps=fps)
    items = list(extract(video, plan, range(len(plan.segments))))
    frames = [item.pixels for item in items if isinstance(item, ExtractedFrame) and item.pixels is not None]
    done("decode")
    model.predict(frames)
    done("infer")
    return seconds


if __name__ == "__main__":
    print(json.dumps(work(Path(sys.argv[1]), Path(sys.argv[2]), Fraction(sys.argv[3]))))
