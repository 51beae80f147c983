"""What half precision costs in the small world: scores, and how far answers move, against float32 on the same stills.

    python -m tests.smallworld.half_precision [stills]

Runs on a GPU where there is one, else on the CPU, which rounds alike and is slow at it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.inference_types import vision_model_class
from models.request import InferenceParams
from models.vision_model import Precision
from tests.smallworld.judging import Scores, add_frame, models_for
from tests.smallworld.measuring import Sample, held_out
from tests.smallworld.scenes import KINDS

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")
_SURE = 0.4
"""Only objects that float32 is so sure of are looked for in the other's answer: a request's default threshold."""


def main(stills: int) -> None:
    """Print a table of each task's score in each precision, and one of how far boxes and confidences move."""
    tables, said = {}, {}
    for precision in PRECISIONS:
        scores, said[precision] = Scores(), []
        for elements, sample in _said(precision, stills):
            add_frame(scores, elements, sample.truth, sample.seed)
            said[precision].append(elements)
        tables[precision] = scores.table()
    print("task", *PRECISIONS, sep=" | ")
    for task in tables["float32"]:
        print(task, *(f"{tables[precision][task]:.4f}" for precision in PRECISIONS), sep=" | ")
    for precision in PRECISIONS[1:]:
        print(precision, _moved(said["float32"], said[precision]), sep=": ")


def _said(precision: Precision, stills: int) -> Iterator[tuple[dict[str, Any], Sample]]:
    """What the models of each kind say of its stills, one still at a time, so that no other one moves the numbers."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for kind in KINDS.values():
        loaded: dict[str, Any] = {}
        for sample in held_out(kind, stills):
            for asked in models_for(kind, sample.seed):
                params = InferenceParams(**asked["inference_params"])
                if asked["alias"] not in loaded or params.prompts:
                    made = vision_model_class(asked["inference_type"])
                    loaded[asked["alias"]] = made(Path(asked["model_id"]), params, precision=precision)
                    loaded[asked["alias"]].setup(device)
            yield {alias: model.predict([sample.rgb])[0] for alias, model in loaded.items()}, sample


def _moved(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> str:
    """How far the detector's sure boxes and their confidences lie from the nearest of the same class."""
    sides_px, confidences, lost = [], [], 0
    for ours, theirs in zip(one, other, strict=True):
        for box in ours.get("detector", {"predictions": []})["predictions"]:
            same = [each for each in theirs["detector"]["predictions"] if each["class"] == box["class"]]
            if box["confidence"] < _SURE:
                continue
            apart = [max(abs(each[key] - box[key]) for key in ("x", "y", "width", "height")) for each in same]
            if not apart or min(apart) > min(box["width"], box["height"]) / 2:
                lost += 1
                continue
            sides_px.append(min(apart))
            confidences.append(abs(same[int(np.argmin(apart))]["confidence"] - box["confidence"]))
    return (
        f"{len(sides_px)} boxes moved by {np.median(sides_px):.2f} px in the median, {max(sides_px):.2f} at most, "
        f"confidences by {np.median(confidences):.4f} and {max(confidences):.4f}; {lost} are gone"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
