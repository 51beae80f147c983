"""Tiny models with seeded random weights, saved as transformers saves them: for tests of everything but accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    RTDetrImageProcessorPil,
    ViTImageProcessorPil,
)

from tests.smallworld.shapes import SHAPES
from tests.smallworld.training_detection import build

DETECTOR_CLASSES = SHAPES
COLOURS = ("red", "green", "blue", "yellow", "violet")
_EMBEDDING, _HIDDEN, _DEPTHS = 24, [24, 48, 80, 112], [1, 1, 1, 1]


def save_tiny_detector(folder: Path, *, side_px: int = 160, seed: int = 7) -> Path:
    """The small world's detector before it learned anything, seeing frames at `side_px` squared."""
    torch.manual_seed(seed)
    network = build(folder)
    _stir(network, side_px)
    network.save_pretrained(folder)
    RTDetrImageProcessorPil(size={"height": side_px, "width": side_px}).save_pretrained(folder)
    return folder


def save_tiny_classifier(folder: Path, *, many_labels: bool = False, seed: int = 7) -> Path:
    """A ResNet of five classes that sees frames at 64 × 64; with `many_labels`, classes do not exclude each other."""
    torch.manual_seed(seed)
    config = ResNetConfig(
        embedding_size=_EMBEDDING,
        hidden_sizes=_HIDDEN,
        depths=_DEPTHS,
        layer_type="basic",
        id2label=dict(enumerate(COLOURS)),
        label2id={name: index for index, name in enumerate(COLOURS)},
        problem_type="multi_label_classification" if many_labels else "single_label_classification",
    )
    network = ResNetForImageClassification(config)
    _stir(network, 64)
    network.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def set_in_json(path: Path, **values: object) -> None:
    """Overwrite values at the top of a JSON file; None removes one."""
    content = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def _stir(network: torch.nn.Module, side_px: int) -> None:
    """Make outputs follow what is seen, and follow it smoothly.

    Fresh weights answer nearly the same to every picture. Statistics taken from pictures, and these gains, move a box
    by hundredths of a pixel where a grey level is rounded differently, and by pixels where the picture is shifted.
    """
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.dim() == 2:
                torch.nn.init.xavier_normal_(value, gain=0.3)
            elif name.endswith("bias"):
                torch.nn.init.normal_(value, std=0.1)
        for module in network.eval().modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train().momentum = 1.0
                torch.nn.init.constant_(module.weight, 0.2)
        coarse = torch.rand(8, 3, side_px // 8, side_px // 8)
        network(pixel_values=torch.nn.functional.interpolate(coarse, size=side_px, mode="bicubic"))
    network.eval()
