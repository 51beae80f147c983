"""The detector: an RT-DETRv2 that finds shapes in scenes of kind `CROWD`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import RTDetrImageProcessorPil, RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

from tests.smallworld.measuring import held_out, measure_detection
from tests.smallworld.scenes import CROWD, Frame
from tests.smallworld.shapes import SHAPES
from tests.smallworld.stills import pixel_values, worn_stills
from tests.smallworld.training_loop import BACKBONE_CHANNELS, Task, names


def processor() -> Any:
    return RTDetrImageProcessorPil(size={"height": 160, "width": 160})


def build(_: Path) -> nn.Module:
    backbone = RTDetrResNetConfig(
        embedding_size=BACKBONE_CHANNELS[0],
        hidden_sizes=BACKBONE_CHANNELS,
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrV2Config(
        backbone_config=backbone,
        freeze_backbone_batch_norms=False,
        encoder_in_channels=BACKBONE_CHANNELS[1:],
        feat_strides=[8, 16, 32],
        d_model=64,
        encoder_hidden_dim=64,
        encoder_layers=1,
        encoder_ffn_dim=128,
        encoder_attention_heads=4,
        hidden_expansion=0.5,
        decoder_layers=3,
        decoder_n_points=4,
        decoder_ffn_dim=128,
        decoder_attention_heads=4,
        decoder_in_channels=[64, 64, 64],
        num_queries=24,
        num_denoising=24,
        **names(SHAPES),
    )
    return RTDetrV2ForObjectDetection(config)


def loss(network: nn.Module, seeds: range) -> torch.Tensor:
    pictures, frames = worn_stills(CROWD, seeds)
    return network(pixel_values=pixel_values(processor(), pictures), labels=[_labels(frame) for frame in frames]).loss


def _labels(frame: Frame) -> dict[str, torch.Tensor]:
    """Boxes as centre and size in shares of the frame."""
    boxes = torch.tensor([seen.box for seen in frame.seen], dtype=torch.float32).reshape(-1, 4)
    boxes = boxes / torch.tensor([CROWD.width_px, CROWD.height_px, CROWD.width_px, CROWD.height_px])
    centred = torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], dim=1)
    return {"class_labels": torch.tensor([seen.class_id for seen in frame.seen], dtype=torch.int64), "boxes": centred}


def save(network: nn.Module, folder: Path) -> None:
    network.save_pretrained(folder)
    processor().save_pretrained(folder)


TASK = Task(
    name="detector",
    steps=1_000,
    cosine_steps=2_000,
    batch=16,
    learning_rate=1e-3,
    build=build,
    loss=loss,
    save=save,
    score=lambda folder: measure_detection(folder, held_out(CROWD, 100)),
    score_every=250,
)
