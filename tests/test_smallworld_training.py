"""A training that was interrupted goes on as if it had not been, and leaves nothing that the next would start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.smallworld.training_loop import WARM_UP_STEPS, Task, train


def loss(network: nn.Module, seeds: range) -> torch.Tensor:
    """Depends on the seeds, on torch's random numbers and on whether the network is in training."""
    assert network.training
    inputs = torch.rand(4, 3) + seeds.start / 1000
    return (network(inputs) - 1).square().mean()


def save(network: nn.Module, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folder / "weights.pt")


TASK = Task(
    name="line",
    steps=WARM_UP_STEPS + 13,
    batch=4,
    learning_rate=0.05,
    build=lambda _: nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.3)),
    loss=loss,
    save=save,
    score=lambda folder: float((folder / "weights.pt").exists()),
    score_every=10,
)


def trained(task: Task, folder: Path) -> dict[str, torch.Tensor]:
    train(task, folder / "weights", folder / "checkpoints", log=lambda _: None)
    return torch.load(folder / "weights" / task.name / "weights.pt", weights_only=True)


def test_an_interrupted_training_ends_where_it_would_have_ended(tmp_path: Path) -> None:
    straight = trained(TASK, tmp_path / "straight")

    def interrupted(network: nn.Module, seeds: range) -> torch.Tensor:
        if seeds.start > 64 * 64:
            raise KeyboardInterrupt
        return loss(network, seeds)

    with pytest.raises(KeyboardInterrupt):
        trained(replace(TASK, loss=interrupted), tmp_path / "resumed")
    assert not (tmp_path / "resumed" / "weights").exists()
    resumed = trained(TASK, tmp_path / "resumed")
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert not list((tmp_path / "resumed" / "checkpoints").glob("*.pt"))


def test_a_cosine_that_goes_on_longer_trains_otherwise(tmp_path: Path) -> None:
    short = trained(TASK, tmp_path / "short")
    longer = trained(replace(TASK, cosine_steps=4 * TASK.steps), tmp_path / "longer")
    assert not any(torch.equal(short[name], longer[name]) for name in short)
