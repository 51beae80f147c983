"""How busy the GPU was while something ran, as its driver's library counts it: no package is needed for that."""

from __future__ import annotations

import ctypes
import threading
from statistics import fmean
from types import TracebackType

_LIBRARY = "libnvidia-ml.so.1"
_EVERY_S = 0.1


class _Utilisation(ctypes.Structure):
    """`nvmlUtilization_t`: percent of the last sampling period in which a kernel ran, and memory was busy."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class GpuShare:
    """Samples the share of time in which a kernel ran on the first GPU, from a thread of its own."""

    def __init__(self) -> None:
        self._seen: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def mean(self) -> float | None:
        """0 to 1; None where nothing could be seen."""
        return fmean(self._seen) / 100 if self._seen else None

    def _sample(self) -> None:
        try:
            library = ctypes.CDLL(_LIBRARY)
        except OSError:
            return
        device, used = ctypes.c_void_p(), _Utilisation()
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)):
            return
        while not self._over.wait(_EVERY_S):
            if not library.nvmlDeviceGetUtilizationRates(device, ctypes.byref(used)):
                self._seen.append(int(used.gpu))
        library.nvmlShutdown()

    def __enter__(self) -> GpuShare:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
