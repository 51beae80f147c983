"""What a classifier saw when: consecutive samples with the same best class become one sighting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Sighting:
    """One class seen without a break in [from_s, to_s); None for frames without a result."""

    from_s: float
    to_s: float
    class_name: str | None
    mean_confidence: float
    frames: int


def find_sightings(time_offset: Sequence[float], elements: Sequence[dict[str, Any] | None]) -> list[Sighting]:
    """Merge runs of samples that have the same `top`; both sequences have length n, times in seconds.

    A sighting lasts until the next one begins; the last one as long again after its last sample as the time between the
    two last samples.
    """
    if not time_offset:
        return []
    step_s = time_offset[-1] - time_offset[-2] if len(time_offset) > 1 else 0.0
    ends_s = [*time_offset[1:], time_offset[-1] + step_s]
    sightings = []
    for class_name, run in groupby(range(len(elements)), key=lambda i: _top(elements[i])):
        samples = list(run)
        confidences = [element["confidence"] for i in samples if (element := elements[i])]
        sightings.append(
            Sighting(
                from_s=time_offset[samples[0]],
                to_s=ends_s[samples[-1]],
                class_name=class_name,
                mean_confidence=fmean(confidences) if confidences else 0.0,
                frames=len(samples),
            )
        )
    return sightings


def sightings_table(sightings: Sequence[Sighting], title: str) -> Table:
    """Lay sightings out for the terminal; of a class with synonyms the first is shown."""
    from rich.markup import escape
    from rich.table import Table

    from deployments.sheet_captions import short_name
    from deployments.sheet_tiles import clock

    table = Table(title=title, title_justify="left")
    for heading in ("from", "to"):
        table.add_column(heading, justify="right")
    table.add_column("seen")
    table.add_column("mean confidence", justify="right")
    table.add_column("frames", justify="right")
    for sighting in sightings:
        name = "(no result)" if sighting.class_name is None else escape(short_name(sighting.class_name))
        confidence = "" if sighting.class_name is None else f"{sighting.mean_confidence:.2f}"
        table.add_row(clock(sighting.from_s), clock(sighting.to_s), name, confidence, str(sighting.frames))
    return table


def _top(element: dict[str, Any] | None) -> str | None:
    return None if element is None else str(element["top"])
