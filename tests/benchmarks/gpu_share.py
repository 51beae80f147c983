"""How busy the GPU was while something ran."""

from __future__ import annotations

import threading
from statistics import fmean
from types import TracebackType

_EVERY_S = 0.1


class GpuShare:
    """Samples the share of time in which a kernel ran, as NVML tells it, from a thread of its own."""

    def __init__(self) -> None:
        self._seen: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def mean(self) -> float | None:
        """0 to 1; None where nothing could be seen."""
        return fmean(self._seen) / 100 if self._seen else None

    def _sample(self) -> None:
        import torch

        while not self._over.wait(_EVERY_S):
            try:
                self._seen.append(torch.cuda.utilization())
            except (ImportError, RuntimeError):  # no NVML here
                return

    def __enter__(self) -> GpuShare:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
