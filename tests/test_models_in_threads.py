"""After `setup` a model is called from several threads at once: each type says in threads what it says alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from models.inference_types import TYPES, vision_model_class
from models.request import InferenceParams
from models.vision_model import VisionModel
from tests.pictures import pictures
from tests.test_vision_models import PARAMS, SAVE, said

BATCHES = [
    [np.roll(frame, 7 * number, axis=1) for frame in pictures(2, *((90, 160), (120, 96))[number % 2])]
    for number in range(6)
]
"""Batches of two shapes, no two alike: what one thread left for another would show."""
_THREADS = 3


def set_up(inference_type: str, folder: Path) -> VisionModel:
    model = vision_model_class(inference_type)(folder, InferenceParams(confidence=0, **PARAMS.get(inference_type, {})))
    model.setup("cpu")
    return model


@pytest.fixture(autouse=True)
def one_core_for_each_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("inference_type", TYPES)
def test_threads_get_what_a_model_of_their_own_would_say(inference_type: str, tmp_path: Path) -> None:
    folder = SAVE[inference_type](tmp_path / "model")
    own, shared = set_up(inference_type, folder), set_up(inference_type, folder)
    alone = [said(own, batch) for batch in BATCHES]

    def by_itself(batch: list[np.ndarray]) -> list[object]:
        torch.set_num_threads(1)
        return said(shared, batch)

    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in range(3):
            assert list(threads.map(by_itself, BATCHES)) == alone
    assert alone[0] != alone[2]
