"""The small world's committed weights are small, load with transformers alone and see what they were made to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.smallworld import WEIGHTS
from tests.smallworld.cards import JUDGED
from tests.smallworld.measuring import held_out

FLOORS = {"detector": 0.90, "semantic": 0.88, "instance": 0.86, "classifier": 0.93, "clip": 0.88}
"""Below the cards' scores by what so few stills may be off by chance."""
STILLS = 24


@pytest.mark.parametrize("name", FLOORS)
def test_committed_weights_see(name: str) -> None:
    judged = JUDGED[name]
    assert judged.measure(WEIGHTS / name, held_out(judged.kind, STILLS)) >= FLOORS[name]


@pytest.mark.parametrize("name", FLOORS)
def test_a_model_comes_with_what_it_needs_and_stays_small(name: str) -> None:
    folder: Path = WEIGHTS / name
    files = {path.name for path in folder.iterdir()}
    assert {"config.json", "preprocessor_config.json", "model.safetensors", "README.md"} <= files
    assert (folder / "model.safetensors").stat().st_size <= 5_000_000
    assert "| held-out stills" in (folder / "README.md").read_text()


def test_scores_of_the_wrong_truth_are_low() -> None:
    judged = JUDGED["detector"]
    samples = held_out(judged.kind, STILLS)
    exchanged = [
        type(sample)(sample.rgb, other.truth, sample.seed)
        for sample, other in zip(samples, samples[1:] + samples[:1], strict=True)
    ]
    assert judged.measure(WEIGHTS / "detector", exchanged) < 0.2
