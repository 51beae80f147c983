"""Where the time of a GPU run goes: seconds busy and seconds waited, by stage. Knows nothing of what the stages do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

DECODING = "decoding"
"""What sets the pace of a run whose models wait for frames."""
_STARVED_SHARE = 0.1
"""Waiting less than this share of the time is no more than filling and draining the queues."""


class StageTimes:
    """Seconds by name, added up by any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """Count the time that the block takes, however it ends."""
        started_s = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started_s)

    def add(self, stage: str, seconds: float) -> None:
        """Count so many seconds more."""
        with self._lock:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def seconds(self) -> dict[str, float]:
        """What was counted so far, to the millisecond."""
        with self._lock:
            return {f"{stage}_s": round(seconds, 3) for stage, seconds in self._seconds.items()}


def pace(extraction: Mapping[str, float], models: Mapping[str, Mapping[str, float]]) -> str | None:
    """Say who set the pace of a run: `DECODING`, or the key of the model that waited least; None where nothing ran.

    `extraction` has the seconds `decoding_s` (frames were waited for) and `waiting_for_models_s` (frames had no room),
    each model `waiting_for_frames_s` and `inferring_s`, as `StageTimes.seconds` gives them.
    """
    ran = {key: times for key, times in models.items() if times.get("inferring_s")}
    if not ran:
        return None
    busiest = min(ran, key=lambda key: ran[key].get("waiting_for_frames_s", 0.0) / ran[key]["inferring_s"])
    waited_s = ran[busiest].get("waiting_for_frames_s", 0.0)
    starved = waited_s > _STARVED_SHARE * (waited_s + ran[busiest]["inferring_s"])
    return DECODING if starved and waited_s > extraction.get("waiting_for_models_s", 0.0) else busiest
