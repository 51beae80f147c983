"""How many cores a GPU run's decoders get."""

from __future__ import annotations

import pytest

from tasks.gpu_run import decoders_beside


@pytest.mark.parametrize(
    ("cores", "models", "device", "torch_threads", "decoders"),
    [
        (1, 1, "cpu", 0, 1),
        (2, 1, "cpu", 0, 1),
        (2, 3, "cpu", 0, 1),
        (8, 1, "cpu", 0, 4),
        (8, 3, "cpu", 0, 2),
        (8, 1, "cpu", 6, 2),
        (8, 1, "cpu", 64, 1),
        (1, 1, "cuda", 0, 1),
        (2, 1, "cuda", 0, 1),
        (8, 3, "cuda:1", 0, 7),
        (64, 1, "cuda", 0, 16),
    ],
)
def test_decoders_take_the_cores_that_models_leave(monkeypatch, cores, models, device, torch_threads, decoders) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert decoders_beside(models, device, torch_threads) == decoders
