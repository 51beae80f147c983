"""How many frames go through a model together: found by trial at set-up, within a share of the device's memory.

On a GPU larger batches pay until they fill it, and memory is what ends them; on a CPU they hardly pay at all, and small
ones keep the caches warm. Knows nothing of streams, shards and Prefect.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

import numpy as np
import torch

from models.vision_model import Frame, VisionModel

CPU_FRAMES_BYTES = 256 * 2**20
"""Frames of one batch on a CPU take no more than this."""
MEMORY_SHARE = 0.8
"""Of what is free on the device, for all its models together."""
MOST_FRAMES = 128
_CPU_FRAMES = 8
_WORTH_IT = 1.1
"""A batch twice as large must give so many times the frames a second."""
_TRIES = 2
"""The first run of a size compiles and allocates; only the last one counts."""

_log = logging.getLogger(__name__)

Trial = Callable[[int], tuple[float, int]]
"""Runs a batch of so many frames: gives seconds and the most bytes of the device that were taken meanwhile. Raises
`torch.OutOfMemoryError`."""


def batch_size_for(
    model: VisionModel, frame_shape: tuple[int, int, int], device: str, budget_bytes: int, most: int = MOST_FRAMES
) -> int:
    """Give how many frames of `frame_shape` (height, width, 3) go through `model` together, from 1 to `most`.

    `budget_bytes` is what the model may take on `device` beyond its weights (`device_budget_bytes`); on a CPU it bounds
    the frames themselves. Raises what the model raises, but for lack of memory.
    """
    if not device.startswith("cuda"):
        return min(most, cpu_batch_size(math.prod(frame_shape), budget_bytes))
    trial = _TrialOnCuda(model, frame_shape, torch.device(device))
    try:
        return largest_that_pays(trial, budget_bytes, most)
    finally:
        torch.cuda.empty_cache()


def cpu_batch_size(frame_bytes: int, budget_bytes: int = CPU_FRAMES_BYTES) -> int:
    """Give 8 frames, or as many as fit."""
    return max(1, min(_CPU_FRAMES, budget_bytes // frame_bytes))


def largest_that_pays(trial: Trial, budget_bytes: int, most: int = MOST_FRAMES) -> int:
    """Double a batch from 1 until twice as many frames are not a tenth faster each, or take more than the budget.

    A size that would not fit if it took twice the memory of half of it is not even tried.
    """
    best, best_rate, best_bytes = 1, 0.0, 0
    size = 1
    while size <= most and 2 * best_bytes <= budget_bytes:
        try:
            time_s, bytes_taken = trial(size)
        except torch.OutOfMemoryError:
            break
        if bytes_taken > budget_bytes:
            break
        rate = size / time_s
        if rate < best_rate * _WORTH_IT:
            break
        best, best_rate, best_bytes = size, rate, bytes_taken
        size *= 2
    return best


def device_budget_bytes(device: str, models: int, share: float = MEMORY_SHARE) -> int:
    """Give what each of so many models may take on `device` for its batches, when their weights are loaded."""
    if not device.startswith("cuda"):
        return CPU_FRAMES_BYTES
    free_bytes, _ = torch.cuda.mem_get_info(torch.device(device))
    return int(share * free_bytes / max(1, models))


class _TrialOnCuda:
    """Runs a model on noise: whatever it finds there, networks take as long as on pictures."""

    def __init__(self, model: VisionModel, frame_shape: tuple[int, int, int], device: torch.device) -> None:
        self._model, self._device = model, device
        self._frame: Frame = np.random.default_rng(0).integers(0, 256, frame_shape, dtype=np.uint8)

    def __call__(self, size: int) -> tuple[float, int]:
        frames = [self._frame] * size
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        time_s = math.inf
        for _ in range(_TRIES):
            started_s = time.perf_counter()
            self._model.predict(frames)
            torch.cuda.synchronize(self._device)
            time_s = time.perf_counter() - started_s
        taken = torch.cuda.max_memory_allocated(self._device) - before
        _log.info("%s frames together: %.1f a second, %.0f MiB", size, size / time_s, taken / 2**20)
        return time_s, taken
