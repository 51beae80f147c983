"""What contestants found, in one form, so that it can be told whether they did the same work.

`{frame: [[class, confidence, left, top, right, bottom], …]}`, frames by their number in the video, pixels of the frame.
Imports nothing of ours: peers import it, in all of their processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

Found = Mapping[int, Sequence[Sequence[Any]]]
_SURE = 1.5
"""A box is looked for only where its confidence is so many times the threshold: lesser ones may fall below it."""
_OVERLAP = 0.9
_MOST_LISTED = 100


def write_found(path: Path, found: Found) -> None:
    """What a peer does last: all that it found, as JSON."""
    path.write_bytes(orjson.dumps(found, option=orjson.OPT_NON_STR_KEYS))


def agreement(ours: Found, theirs: Found, threshold: float) -> dict[str, Any]:
    """How far two results are of the same work.

    `same_frames`: whether they speak of the same frames. `boxes` of ours that are well above `threshold`, and the
    share of these (0 to 1) for which `theirs` has one of the same class with an overlap of 0.9 at least.
    """
    told = matched = 0
    for number, boxes in ours.items():
        for box in boxes[:_MOST_LISTED]:
            if box[1] < threshold * _SURE:
                continue
            told += 1
            others = [other for other in theirs.get(number, ()) if other[0] == box[0]]
            matched += any(overlap(box[2:], other[2:]) >= _OVERLAP for other in others)
    return {"same_frames": list(ours) == list(theirs), "boxes": told, "share": matched / told if told else None}


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes: left, top, right, bottom."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)
