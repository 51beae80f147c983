"""CLIP: a picture and its caption side by side, in scenes of kind `PAIR`.

While it trains, a head on the patch tokens says which of the twenty objects, or none, is in each patch: from captions
alone shapes are learned far more slowly than colours. The head is left out of the saved model.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTextConfig, CLIPVisionConfig

from tests.smallworld.captions import LABELS, caption_of, scene_caption
from tests.smallworld.measuring import held_out, measure_clip
from tests.smallworld.scenes import PAIR, Frame, Scene
from tests.smallworld.stills import pixel_values, sampled, worn_stills
from tests.smallworld.tokens import POSITIONS, make_tokenizer
from tests.smallworld.training_loop import Task

SIDE_PX = 64
BATCH = 64
_PATCH_PX = 8
_PROJECTION = 128
_DENSE_WEIGHT = 2.0


@cache
def processor() -> Any:
    size = {"height": SIDE_PX, "width": SIDE_PX}
    return CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)


class WithPatchHead(nn.Module):
    """A CLIP model and the head that only training needs."""

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.model = model
        self.head = nn.Linear(model.config.vision_config.hidden_size, 1 + len(LABELS))

    def forward(self, pixels: torch.Tensor, tokens: dict[str, torch.Tensor], shares: torch.Tensor) -> torch.Tensor:
        """The loss; `shares` is `(n, patches, 1 + labels)`: how much of each patch each label covers."""
        outputs = self.model(pixel_values=pixels, **tokens, return_loss=True)
        patches = outputs.vision_model_output.last_hidden_state[:, 1:]
        dense = -(shares * self.head(patches).log_softmax(-1)).sum(-1).mean()
        return outputs.loss + _DENSE_WEIGHT * dense


_tokenizer = cache(make_tokenizer)


def build(_: Path) -> nn.Module:
    tokenizer = _tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=POSITIONS,
        projection_dim=_PROJECTION,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        image_size=SIDE_PX,
        patch_size=_PATCH_PX,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        projection_dim=_PROJECTION,
    )
    return WithPatchHead(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=_PROJECTION)))


def loss(network: nn.Module, seeds: range) -> torch.Tensor:
    chosen = _different(seeds)
    pictures, frames = worn_stills(PAIR, chosen)
    captions = [caption_of([thing.label for thing in frame.objects]) for frame in frames]
    tokens = _tokenizer()(captions, padding=True, return_tensors="pt")
    shares = torch.from_numpy(np.stack([_shares(frame) for frame in frames]))
    return network(pixel_values(processor(), pictures), dict(tokens), shares)


def _different(seeds: range) -> list[int]:
    """`BATCH` seeds of which no two have equal captions, drawn on from the first of `seeds`."""
    found: dict[str, int] = {}
    # Steps keep their seeds apart: each may look at four times as many scenes as it takes.
    seed = seeds.start * 4
    while len(found) < BATCH:
        found.setdefault(scene_caption(Scene(PAIR, seed)), seed)
        seed += 1
    return list(found.values())


def _shares(frame: Frame) -> np.ndarray:
    """`(patches, 1 + labels)`."""
    ids = np.array([0, *(1 + LABELS.index(thing.label) for thing in frame.objects)])
    small = sampled(ids[frame.owners + 1], SIDE_PX)
    patches = small.reshape(SIDE_PX // _PATCH_PX, _PATCH_PX, SIDE_PX // _PATCH_PX, _PATCH_PX)
    one_hot = np.eye(1 + len(LABELS), dtype=np.float32)[patches]
    return one_hot.mean((1, 3)).reshape(-1, 1 + len(LABELS))


def save(network: nn.Module, folder: Path) -> None:
    network.model.save_pretrained(folder)
    CLIPProcessor(processor(), make_tokenizer()).save_pretrained(folder)
    processor().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


TASK = Task(
    name="clip",
    steps=3_000,
    batch=BATCH,
    learning_rate=1e-3,
    build=build,
    loss=loss,
    save=save,
    score=lambda folder: measure_clip(folder, held_out(PAIR, 300)),
    score_every=250,
)
