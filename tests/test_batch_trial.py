"""How large batches become: a device's memory and speed are stood in for by numbers, its errors are torch's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from models.elements import Element
from models.vision_model import Frame
from tasks.batch_trial import batch_size_for, cpu_batch_size, device_budget_bytes, largest_that_pays

MIB = 2**20


class Device:
    """A batch takes `fixed_s` and so much for each frame; frames take `frame_bytes` of `memory_bytes`."""

    def __init__(
        self, *, fixed_s: float = 0.1, frame_s: float = 0.001, frame_bytes: int = 10, memory_bytes: int = 10**9
    ):
        self._fixed_s, self._frame_s = fixed_s, frame_s
        self._frame_bytes, self._memory_bytes = frame_bytes, memory_bytes
        self.tried: list[int] = []

    def __call__(self, size: int) -> tuple[float, int]:
        self.tried.append(size)
        if size * self._frame_bytes > self._memory_bytes:
            raise torch.OutOfMemoryError("none left")
        return self._fixed_s + size * self._frame_s, size * self._frame_bytes


def test_batches_grow_as_long_as_that_pays() -> None:
    device = Device(fixed_s=0.008, frame_s=0.002)
    assert largest_that_pays(device, 10**9) == 32
    assert device.tried == [1, 2, 4, 8, 16, 32, 64]


def test_where_a_batch_costs_what_its_frames_cost_none_is_made() -> None:
    assert largest_that_pays(Device(fixed_s=0), 10**9) == 1


def test_they_grow_to_an_end() -> None:
    assert largest_that_pays(Device(frame_s=1e-9), 10**9, most=64) == 64


def test_the_budget_is_kept_and_nothing_tried_beyond_it() -> None:
    device = Device()
    assert largest_that_pays(device, 100) == 8
    assert device.tried == [1, 2, 4, 8]


def test_lack_of_memory_ends_the_trial() -> None:
    device = Device(memory_bytes=50)
    assert largest_that_pays(device, 10**9) == 4
    assert device.tried[-1] == 8


def test_a_frame_that_does_not_fit_alone_is_left_to_the_run() -> None:
    assert largest_that_pays(Device(memory_bytes=5), 10**9) == 1
    assert largest_that_pays(Device(), 5) == 1


class Untried:
    def predict(self, frames: Sequence[Frame]) -> list[Element]:
        raise AssertionError("no trial on a CPU")


@pytest.mark.parametrize(
    ("shape", "budget_bytes", "frames"),
    [
        ((1080, 1920, 3), 256 * MIB, 8),
        ((2160, 3840, 3), 256 * MIB, 8),
        ((4320, 7680, 3), 256 * MIB, 2),
        ((1080, 1920, 3), 30 * MIB, 5),
        ((1080, 1920, 3), 1, 1),
    ],
)
def test_on_a_cpu_frames_decide(shape: tuple[int, int, int], budget_bytes: int, frames: int) -> None:
    assert batch_size_for(Untried(), shape, "cpu", budget_bytes) == frames
    assert cpu_batch_size(int(np.prod(shape)), budget_bytes) == frames


def test_a_cpu_s_budget_is_that_of_its_frames() -> None:
    assert device_budget_bytes("cpu", 3) == 256 * MIB


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_memory_ends_the_trial() -> None:
    class Squares:
        def predict(self, frames: Sequence[Frame]) -> list[Element]:
            taken = torch.ones((len(frames), 64, 2**20), dtype=torch.uint8, device="cuda")
            assert int(taken.sum())
            return []

    budget_bytes = min(512 * MIB, device_budget_bytes("cuda", 1))
    assert 1 <= batch_size_for(Squares(), (8, 8, 3), "cuda", budget_bytes) <= 8
