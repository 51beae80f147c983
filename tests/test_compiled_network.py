"""Compiled networks: the same numbers, few sizes of batch, and a way on where compiling fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from models.classification import Classification
from models.compiled_network import CompiledNetwork
from models.object_detection import ObjectDetection
from models.request import InferenceParams
from tests.smallworld import WEIGHTS


class Network(torch.nn.Module):
    """Pictures to five numbers each, by name as transformers' networks give them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.convolution, self.head = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 5)

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.head(self.convolution(pixel_values).mean(dim=(2, 3)))}


class Recording:
    """A backend of torch.compile that runs what it is given, and notes the rows that it is asked for."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, graph, inputs):
        self.rows += [len(one) for one in inputs if one.ndim == 4 and one.shape[-1] == 16]
        return graph.forward


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    with torch.inference_mode():
        yield
    torch._dynamo.reset()


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("asked", "compiled"), [((8, 8, 3, 5, 1, 7, 2, 4, 6), {1, 2, 4, 8}), ((7, 5, 6, 3), {4, 7}), ((1, 2, 3), {1, 2, 3})]
)
def test_tails_are_filled_up_and_cut_off_and_no_batch_is_larger_than_one_that_came(pictures, asked, compiled) -> None:
    backend, plain = Recording(), Network()
    network = CompiledNetwork(plain, backend)
    for rows in asked:
        logits = network(pixel_values=pictures[:rows])["logits"]
        assert torch.allclose(logits, plain(pictures[:rows])["logits"], atol=1e-6)
        assert len(logits) == rows
    assert set(backend.rows) == compiled
    assert len(backend.rows) == len(compiled)


def test_what_cannot_be_compiled_runs_as_it_is(pictures, caplog) -> None:
    def refuse(graph, inputs):
        raise RuntimeError("no compiler on this machine")

    plain = Network()
    network = CompiledNetwork(plain, refuse)
    with caplog.at_level(logging.WARNING, logger="models.compiled_network"):
        for _ in range(2):
            assert torch.equal(network(pixel_values=pictures)["logits"], plain(pictures)["logits"])
    (said,) = [record.message for record in caplog.records if "not compiled" in record.message]
    assert "no compiler on this machine" in said


def test_wrong_inputs_are_no_fault_of_compiling(pictures, caplog) -> None:
    network = CompiledNetwork(Network(), Recording())
    with pytest.raises(RuntimeError, match="channels"):
        network(pixel_values=pictures[:, :2])
    assert network(pixel_values=pictures)["logits"].shape == (8, 5)
    assert not [record for record in caplog.records if "not compiled" in record.message]


@pytest.mark.long  # the compiler takes a minute for each
@pytest.mark.parametrize(("kind", "weights"), [(ObjectDetection, "detector"), (Classification, "classifier")])
def test_models_that_are_asked_for_compiled_say_the_same(kind, weights: str, tmp_path: Path) -> None:
    frames = list(np.random.default_rng(6).integers(0, 256, (5, 96, 128, 3), dtype=np.uint8))
    said = []
    for compiled in (False, True):
        model = kind(WEIGHTS / weights, InferenceParams(confidence=0, compile=compiled, max_detections=5))
        model.setup("cpu")
        said.append([*model.predict(frames), *model.predict(frames[:3])])
    for plain, compiled in zip(*said, strict=True):
        assert len(plain["predictions"]) == len(compiled["predictions"]) > 0
        for one, other in zip(plain["predictions"], compiled["predictions"], strict=True):
            assert other["class"] == one["class"]
            assert other["confidence"] == pytest.approx(one["confidence"], abs=1e-4)
