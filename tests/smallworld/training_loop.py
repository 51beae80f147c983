"""The loop that trains any of the small models: AdamW, a warm-up, a cosine, checkpoints. Knows no task.

Every random number follows from the step, so that a run that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

BACKBONE_CHANNELS = [24, 48, 80, 112]
"""Of the four stages of every ResNet here."""

WARM_UP_STEPS = 100
_SEEDS_A_STEP = 64


@dataclass(frozen=True)
class Task:
    """One model to train; `network` may carry heads that only training needs, `save` leaves them out."""

    name: str
    steps: int
    batch: int
    learning_rate: float
    build: Callable[[Path], nn.Module]
    """From the folder of all weights, for a model that starts from another's."""
    loss: Callable[[nn.Module, range], torch.Tensor]
    """The loss on the scenes with these seeds."""
    save: Callable[[nn.Module, Path], None]
    """Writes the model and its processor in the layout of the hub."""
    score: Callable[[Path], float]
    """How well a saved model does on held-out stills."""
    score_every: int = 200
    cosine_steps: int | None = None
    """Where the learning rate would reach 0, if later than `steps`: training stops once the model is good enough."""


def train(task: Task, weights: Path, checkpoints: Path, *, log: Callable[[str], None] = print) -> None:
    """Train `task` from scratch, or on from its last checkpoint, and save the model into its folder of `weights`."""
    checkpoints.mkdir(parents=True, exist_ok=True)
    checkpoint = checkpoints / f"{task.name}.pt"
    torch.manual_seed(0)
    network = task.build(weights)
    optimizer = torch.optim.AdamW(network.parameters(), lr=task.learning_rate, weight_decay=1e-4)
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    log(f"{task.name}: {sum(value.numel() for value in network.parameters()):,} parameters, from step {first}")
    started = time.monotonic()
    for step in range(first, task.steps):
        for group in optimizer.param_groups:
            group["lr"] = task.learning_rate * _share(step, task.cosine_steps or task.steps)
        loss = _step(task, network, optimizer, step)
        done = step + 1
        if done % 20 == 0:
            log(f"{task.name}: step {done} loss {loss:.4f} ({time.monotonic() - started:.0f} s)")
        if done % task.score_every == 0:
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": done}
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
            task.save(network.eval(), checkpoints / task.name)
            held_out = task.score(checkpoints / task.name)
            log(f"{task.name}: step {done} held out {held_out:.4f} ({time.monotonic() - started:.0f} s)")
    task.save(network.eval(), weights / task.name)
    checkpoint.unlink(missing_ok=True)  # so that the next training starts from scratch


def _step(task: Task, network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> float:
    torch.manual_seed(step)
    network.train()
    seeds = range(step * _SEEDS_A_STEP, step * _SEEDS_A_STEP + task.batch)
    loss = task.loss(network, seeds)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _share(step: int, steps: int) -> float:
    """Of the learning rate: up in a line, down in half a cosine."""
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    return 0.5 * (1 + math.cos(math.pi * (step - WARM_UP_STEPS) / max(1, steps - WARM_UP_STEPS)))


def names(classes: tuple[str, ...]) -> dict[str, Any]:
    """The class names as a configuration wants them."""
    return {"id2label": dict(enumerate(classes)), "label2id": {name: index for index, name in enumerate(classes)}}
