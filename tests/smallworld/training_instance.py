"""The instance model: a Mask2Former that finds shapes by their masks in scenes of kind `CROWD`.

Its backbone starts as the semantic model's. While it trains, 1 × 1 heads on every level of its pixel decoder say which
shape is where: attention alone learns too slowly where edges run. The heads are left out of the saved model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import (
    AutoModelForSemanticSegmentation,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessorPil,
    ResNetConfig,
)

from tests.smallworld.measuring import held_out, measure_instance
from tests.smallworld.scenes import CROWD, Frame
from tests.smallworld.shapes import SHAPES
from tests.smallworld.stills import pixel_values, sampled, worn_stills
from tests.smallworld.training_loop import BACKBONE_CHANNELS, Task, names

SIDE_PX = 128
_WIDTH = 64
_LEVELS = 4
_DENSE_WEIGHT = 10.0


def processor() -> Any:
    return Mask2FormerImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX}, ignore_index=255)


class WithDenseHeads(nn.Module):
    """A Mask2Former and the heads that only training needs."""

    def __init__(self, model: Mask2FormerForUniversalSegmentation) -> None:
        super().__init__()
        self.model = model
        self.heads = nn.ModuleList(nn.Conv2d(_WIDTH, 1 + len(SHAPES), 1) for _ in range(_LEVELS))

    def forward(self, pixels: torch.Tensor, label_maps: torch.Tensor, frames: list[Frame]) -> torch.Tensor:
        """The loss; `label_maps` is `(n, SIDE_PX, SIDE_PX)`."""
        masks = [torch.from_numpy(_masks(frame)) for frame in frames]
        classes = [torch.tensor([seen.class_id for seen in frame.seen], dtype=torch.int64) for frame in frames]
        outputs = self.model(pixel_values=pixels, mask_labels=masks, class_labels=classes, output_hidden_states=True)
        levels = [*outputs.pixel_decoder_hidden_states, outputs.pixel_decoder_last_hidden_state]
        whole = torch.eye(1 + len(SHAPES))[label_maps].permute(0, 3, 1, 2)
        dense = torch.zeros(())
        for head, level in zip(self.heads, levels, strict=True):
            shares = nn.functional.adaptive_avg_pool2d(whole, level.shape[-1])
            dense = dense - (shares * head(level).log_softmax(1)).sum(1).mean() / _LEVELS
        return outputs.loss.sum() + _DENSE_WEIGHT * dense


def _masks(frame: Frame) -> np.ndarray:
    """`(objects, SIDE_PX, SIDE_PX)` of 0 and 1."""
    masks = [sampled(seen.mask, SIDE_PX) for seen in frame.seen]
    return np.array(masks, np.float32).reshape(-1, SIDE_PX, SIDE_PX)


def build(weights: Path) -> nn.Module:
    backbone = ResNetConfig(
        embedding_size=BACKBONE_CHANNELS[0],
        hidden_sizes=BACKBONE_CHANNELS,
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=_WIDTH,
        mask_feature_size=_WIDTH,
        hidden_dim=_WIDTH,
        encoder_feedforward_dim=2 * _WIDTH,
        dim_feedforward=2 * _WIDTH,
        encoder_layers=1,
        decoder_layers=4,
        num_attention_heads=4,
        num_queries=16,
        train_num_points=1024,
        class_weight=4.0,
        **names(SHAPES),
    )
    model = Mask2FormerForUniversalSegmentation(config)
    semantic = AutoModelForSemanticSegmentation.from_pretrained(weights / "semantic")
    model.model.pixel_level_module.encoder.load_state_dict(semantic.backbone.state_dict())
    return WithDenseHeads(model)


def loss(network: nn.Module, seeds: range) -> torch.Tensor:
    pictures, frames = worn_stills(CROWD, seeds)
    label_maps = np.stack([sampled(frame.label_map, SIDE_PX) for frame in frames])
    return network(pixel_values(processor(), pictures), torch.from_numpy(label_maps).long(), frames)


def save(network: nn.Module, folder: Path) -> None:
    network.model.save_pretrained(folder)
    processor().save_pretrained(folder)


TASK = Task(
    name="instance",
    steps=2_000,
    cosine_steps=3_000,
    batch=16,
    learning_rate=1e-3,
    build=build,
    loss=loss,
    save=save,
    score=lambda folder: measure_instance(folder, held_out(CROWD, 100)),
    score_every=250,
)
