"""A tiny pose network with seeded weights, and a detector in its folder, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
    VitPoseImageProcessorPil,
)

from tests.tiny_models import save_tiny_detector

POINT_NAMES = ("nose", "left hand", "right hand", "left foot", "right foot")
PICTURE = {"height": 64, "width": 48}
_PATCH_PX = 8
_USUAL_PLACES = ((1.5, 2.5), (3.2, 1.3), (3.4, 4.1), (6.2, 1.6), (6.1, 3.7))
"""Row and column of the patch around which each point is expected."""


def save_tiny_pose(folder: Path, *, experts: int = 1, simple: bool = True, seed: int = 10) -> Path:
    """A ViTPose of five points that sees boxes at 64 × 48, and the tiny detector of four shapes beside it."""
    torch.manual_seed(seed)
    config = VitPoseConfig(
        backbone_config=VitPoseBackboneConfig(
            image_size=[PICTURE["height"], PICTURE["width"]],
            patch_size=[_PATCH_PX, _PATCH_PX],
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            mlp_ratio=2,
            num_experts=experts,
            part_features=8 if experts > 1 else 0,
            out_indices=[2],
        ),
        use_simple_decoder=simple,
        id2label=dict(enumerate(POINT_NAMES)),
        label2id={name: number for number, name in enumerate(POINT_NAMES)},
    )
    network = VitPoseForPoseEstimation(config)
    with torch.no_grad():
        for value in network.parameters():
            if value.dim() >= 2:
                torch.nn.init.normal_(value, std=0.1)
        if simple:
            _expect_points(network)
    network.save_pretrained(folder)
    VitPoseImageProcessorPil(size=PICTURE).save_pretrained(folder)
    save_tiny_detector(folder / "detector")
    return folder


def _expect_points(network: Any) -> None:
    """Give each map one hill, which what is seen moves by pixels.

    Maps of random weights have plateaus and several equal tops, between which a point jumps for a grey level.
    """
    embeddings = network.backbone.embeddings
    torch.nn.init.normal_(embeddings.patch_embeddings.projection.weight, std=0.0125)
    rows, columns = (torch.arange(PICTURE[side] / _PATCH_PX) for side in ("height", "width"))
    patches = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).view(-1, 1, 2)
    apart = (patches - torch.tensor(_USUAL_PLACES)).square().sum(dim=-1)
    embeddings.position_embeddings[0, 1:, : len(POINT_NAMES)] += 3 * torch.exp(-apart / 2)
    network.head.conv.weight.mul_(0.18)
    for point in range(len(POINT_NAMES)):
        network.head.conv.weight[point, point, 1, 1] += 0.07
