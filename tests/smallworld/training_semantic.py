"""The semantic model: a UPerNet on a ResNet that says which shape is in each pixel of `CROWD` scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import ResNetConfig, SegformerImageProcessorPil, UperNetConfig, UperNetForSemanticSegmentation

from tests.smallworld.measuring import held_out, measure_semantic
from tests.smallworld.scenes import CROWD
from tests.smallworld.shapes import SHAPES
from tests.smallworld.stills import pixel_values, sampled, worn_stills
from tests.smallworld.training_loop import BACKBONE_CHANNELS, Task, names

SIDE_PX = 160
SEMANTIC_CLASSES = ("background", *SHAPES)


def processor() -> Any:
    return SegformerImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX})


def build(_: Path) -> nn.Module:
    backbone = ResNetConfig(
        embedding_size=BACKBONE_CHANNELS[0],
        hidden_sizes=BACKBONE_CHANNELS,
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = UperNetConfig(
        backbone_config=backbone,
        hidden_size=48,
        pool_scales=(1, 2),
        auxiliary_in_channels=BACKBONE_CHANNELS[2],
        auxiliary_channels=32,
        **names(SEMANTIC_CLASSES),
    )
    return UperNetForSemanticSegmentation(config)


def loss(network: nn.Module, seeds: range) -> torch.Tensor:
    pictures, frames = worn_stills(CROWD, seeds)
    labels = np.stack([sampled(frame.label_map, SIDE_PX) for frame in frames])
    return network(pixel_values=pixel_values(processor(), pictures), labels=torch.from_numpy(labels).long()).loss


def save(network: nn.Module, folder: Path) -> None:
    network.save_pretrained(folder)
    processor().save_pretrained(folder)


TASK = Task(
    name="semantic",
    steps=1_200,
    cosine_steps=1_600,
    batch=16,
    learning_rate=2e-3,
    build=build,
    loss=loss,
    save=save,
    score=lambda folder: measure_semantic(folder, held_out(CROWD, 100)),
)
