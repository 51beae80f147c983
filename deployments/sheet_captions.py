"""What an element says in at most three lines of words, whichever type it is of."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

MOST_LINES = 3
_FIRST_NUMBERS = 4


@dataclass(frozen=True)
class Line:
    """A line of words under a frame; `share`, 0…1, is shown as a bar behind it."""

    text: str
    share: float | None = None
    figure: str | None = None
    """What stands at the line's end. Empty: the share as a percentage, where there is one."""
    class_id: int | None = None
    """The class whose colour stands before the name, where the picture has it too."""


def caption(element: Any) -> list[Line]:
    """At most three lines that say what an element says: its best classes, or how many boxes of which class."""
    if element is None:
        return [Line("no result for this frame")]
    if isinstance(element, list):
        return _embedding(element)
    if "similarity" in element:
        return _similarity(element)
    predictions = element.get("predictions")
    if "predicted_classes" in element and isinstance(predictions, dict):
        ranked = sorted(predictions.items(), key=lambda named: -named[1]["confidence"])
        return [Line(short_name(name), score["confidence"]) for name, score in ranked[:MOST_LINES]]
    if "top" in element and isinstance(predictions, list):
        return [Line(short_name(score["class"]), score["confidence"]) for score in predictions[:MOST_LINES]]
    if isinstance(predictions, dict) and "segmentation_mask" in predictions:
        return _classes_of_pixels(predictions)
    if isinstance(predictions, list) and predictions and "face" in predictions[0]:
        return _gazes(predictions)
    if isinstance(predictions, list):
        return _boxes(predictions)
    return [Line("a kind of result that has no picture")]


def short_name(name: str) -> str:
    """The first of a class's synonyms: `cab` of `cab, hack, taxi, taxicab`."""
    return name.partition(",")[0]


def is_background(name: str) -> bool:
    """Whether a class of pixels stands for none of the others, so that pictures leave it as it is."""
    return name.casefold() == "background"


def _boxes(predictions: list[dict[str, Any]]) -> list[Line]:
    counts = Counter(box["class"] for box in predictions).most_common()
    lines = [Line(f"{count} × {name}") for name, count in counts[:MOST_LINES]]
    if len(counts) > MOST_LINES:
        lines[-1] = Line(f"and {sum(count for _, count in counts[MOST_LINES - 1 :])} of other classes")
    return lines or [Line("nothing found")]


def _classes_of_pixels(predictions: dict[str, Any]) -> list[Line]:
    """The classes with the most pixels, and their shares of the frame."""
    import numpy as np

    from tasks.element_masks import grey_png

    shares = np.bincount(grey_png(predictions["segmentation_mask"]).ravel(), minlength=1)
    ranked = sorted(np.flatnonzero(shares).tolist(), key=lambda class_id: -shares[class_id])[:MOST_LINES]
    lines = []
    for class_id in ranked:
        name = predictions["class_map"].get(str(class_id), str(class_id))
        coloured = None if is_background(name) else class_id
        lines.append(Line(short_name(name), float(shares[class_id] / shares.sum()), class_id=coloured))
    return lines


def _gazes(predictions: list[dict[str, Any]]) -> list[Line]:
    """Where the surest faces look, in degrees as the one who looks at the picture sees it."""
    lines = [
        Line(
            f"face: {_turn(gaze['yaw'], 'left', 'right')}, {_turn(gaze['pitch'], 'up', 'down')}",
            figure=f"{gaze['face']['confidence']:.0%}",
        )
        for gaze in predictions[:MOST_LINES]
    ]
    if len(predictions) > MOST_LINES:
        lines[-1] = Line(f"and {len(predictions) - MOST_LINES + 1} more faces")
    return lines


def _turn(angle_rad: float, above_0: str, below_0: str) -> str:
    degrees = round(math.degrees(angle_rad))
    return f"{abs(degrees)}° {above_0 if degrees >= 0 else below_0}"


def _similarity(element: dict[str, Any]) -> list[Line]:
    """The zero-shot classes, else the prompts that fit best: a cosine is no share, so its figure is written out."""
    if "predictions" in element:
        return [Line(score["class"], score["confidence"]) for score in element["predictions"][:MOST_LINES]]
    similarity = element["similarity"]
    named = similarity if isinstance(similarity, dict) else {f"prompt {i + 1}": one for i, one in enumerate(similarity)}
    ranked = sorted(named.items(), key=lambda one: -one[1])[:MOST_LINES]
    return [Line(name, min(1.0, max(0.0, value)), f"{value:.3f}") for name, value in ranked]


def _embedding(numbers: list[float]) -> list[Line]:
    first = ", ".join(f"{number:.3g}" for number in numbers[:_FIRST_NUMBERS])
    length = math.sqrt(math.fsum(number * number for number in numbers))
    return [Line(f"{len(numbers)} numbers", figure=f"length {length:.2f}"), Line(f"{first} …")]
