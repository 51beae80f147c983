"""The classifier: a ResNet that names colour and shape of the one large object in scenes of kind `SINGLE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessorPil

from tests.smallworld.captions import LABELS
from tests.smallworld.measuring import held_out, measure_classification
from tests.smallworld.scenes import SINGLE
from tests.smallworld.stills import pixel_values, worn_stills
from tests.smallworld.training_loop import BACKBONE_CHANNELS, Task, names


def processor() -> Any:
    return ViTImageProcessorPil(size={"height": 64, "width": 64})


def build(_: Path) -> nn.Module:
    config = ResNetConfig(
        embedding_size=BACKBONE_CHANNELS[0],
        hidden_sizes=BACKBONE_CHANNELS,
        depths=[1, 1, 1, 1],
        layer_type="basic",
        problem_type="single_label_classification",
        **names(LABELS),
    )
    return ResNetForImageClassification(config)


def loss(network: nn.Module, seeds: range) -> torch.Tensor:
    pictures, frames = worn_stills(SINGLE, seeds)
    labels = torch.tensor([LABELS.index(frame.objects[0].label) for frame in frames])
    return network(pixel_values=pixel_values(processor(), pictures), labels=labels).loss


def save(network: nn.Module, folder: Path) -> None:
    network.save_pretrained(folder)
    processor().save_pretrained(folder)


TASK = Task(
    name="classifier",
    steps=4_800,
    batch=32,
    learning_rate=2e-3,
    build=build,
    loss=loss,
    save=save,
    score=lambda folder: measure_classification(folder, held_out(SINGLE, 400)),
    score_every=300,
)
