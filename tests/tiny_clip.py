"""Tiny contrastive models of several families with seeded random weights and tokenizers made here, for tests."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tests.tiny_models import set_in_json

POSITIONS = 24
SIDE_PX = 32
EMBEDDING_SIZE = 20
_LETTERS = (*string.ascii_lowercase, *string.digits)
_TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_VISION: dict[str, Any] = {**_TOWER, "patch_size": 8, "image_size": SIDE_PX}
_CROPPED: dict[str, Any] = {
    "size": {"shortest_edge": SIDE_PX},
    "crop_size": {"height": SIDE_PX, "width": SIDE_PX},
}


def save_tiny_clip(folder: Path) -> Path:
    """A CLIP with a byte-level tokenizer."""
    tokenizer = _byte_tokenizer()
    network = transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config={**_text_config(tokenizer), "max_position_embeddings": POSITIONS},
            vision_config=_VISION,
            projection_dim=EMBEDDING_SIZE,
        )
    )
    return _save(folder, network, tokenizer, transformers.CLIPImageProcessorPil(**_CROPPED))


def save_tiny_clip_eyes(folder: Path) -> Path:
    """The half of a CLIP that sees, with its projection; it knows no texts."""
    network = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(**_VISION, projection_dim=EMBEDDING_SIZE)
    )
    return _save(folder, network, None, transformers.CLIPImageProcessorPil(**_CROPPED))


def save_tiny_metaclip_2(folder: Path) -> Path:
    """A MetaCLIP 2 with a unigram tokenizer."""
    tokenizer = _unigram_tokenizer()
    network = transformers.MetaClip2Model(
        transformers.MetaClip2Config(
            text_config={**_text_config(tokenizer), "max_position_embeddings": POSITIONS},
            vision_config=_VISION,
            projection_dim=EMBEDDING_SIZE,
        )
    )
    return _save(folder, network, tokenizer, transformers.CLIPImageProcessorPil(**_CROPPED))


def save_tiny_altclip(folder: Path) -> Path:
    """An AltCLIP, whose text tower is a RoBERTa: its positions count from the padding's number on."""
    tokenizer = _unigram_tokenizer()
    network = transformers.AltCLIPModel(
        transformers.AltCLIPConfig(
            text_config={
                **_text_config(tokenizer),
                "max_position_embeddings": POSITIONS + tokenizer.pad_token_id + 1,
                "project_dim": 24,
            },
            vision_config=_VISION,
            projection_dim=EMBEDDING_SIZE,
        )
    )
    return _save(folder, network, tokenizer, transformers.CLIPImageProcessorPil(**_CROPPED))


def save_tiny_chinese_clip(folder: Path) -> Path:
    """A Chinese-CLIP with a WordPiece tokenizer."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    tokenizer = transformers.BertTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, model_max_length=POSITIONS
    )
    network = transformers.ChineseCLIPModel(
        transformers.ChineseCLIPConfig(
            text_config={**_text_config(tokenizer), "max_position_embeddings": POSITIONS},
            vision_config=_VISION,
            projection_dim=EMBEDDING_SIZE,
        )
    )
    return _save(folder, network, tokenizer, transformers.ChineseCLIPImageProcessorPil(**_CROPPED))


def save_tiny_siglip(folder: Path) -> Path:
    """A SigLIP whose tokenizer is named as on the hub, after a class that asks for the package sentencepiece."""
    network = transformers.SiglipModel(
        transformers.SiglipConfig(text_config=_padded_text_config(_lower_case_tokenizer()), vision_config=_VISION)
    )
    processor = transformers.SiglipImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX})
    _save(folder, network, _lower_case_tokenizer(), processor)
    set_in_json(folder / "tokenizer_config.json", tokenizer_class="SiglipTokenizer")
    return folder


def save_tiny_siglip_2(folder: Path) -> Path:
    """A SigLIP 2 that keeps a frame's shape: as many patches as fit, with a mask."""
    network = transformers.Siglip2Model(
        transformers.Siglip2Config(
            text_config=_padded_text_config(_lower_case_tokenizer()),
            vision_config={**_TOWER, "patch_size": 8, "num_patches": 16},
        )
    )
    processor = transformers.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=20)
    return _save(folder, network, _lower_case_tokenizer(), processor)


SAVE_CONTRASTIVE: dict[str, Callable[[Path], Path]] = {
    "clip": save_tiny_clip,
    "metaclip_2": save_tiny_metaclip_2,
    "altclip": save_tiny_altclip,
    "chinese_clip": save_tiny_chinese_clip,
    "siglip": save_tiny_siglip,
    "siglip2": save_tiny_siglip_2,
}
"""Families that know texts."""


def _text_config(tokenizer: Any) -> dict[str, Any]:
    return {
        **_TOWER,
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _padded_text_config(tokenizer: Any) -> dict[str, Any]:
    return {**_text_config(tokenizer), "max_position_embeddings": POSITIONS, "projection_size": _TOWER["hidden_size"]}


def _byte_tokenizer() -> Any:
    characters = list(bytes_to_unicode().values())
    tokens = [*characters, *(f"{one}</w>" for one in characters), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, merges=[], model_max_length=POSITIONS
    )


def _unigram_tokenizer() -> Any:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *_LETTERS, "▁a", "ed", "re", "<mask>"]
    return transformers.XLMRobertaTokenizer(
        vocab=[(piece, -float(number)) for number, piece in enumerate(pieces)], model_max_length=POSITIONS
    )


def _lower_case_tokenizer() -> Any:
    """One token for each letter, and an end that is also the padding, as in SigLIP's."""
    tokens = ["</s>", "<unk>", *_LETTERS]
    backend = Tokenizer(models.WordLevel({token: number for number, token in enumerate(tokens)}, unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", pad_token="</s>", unk_token="<unk>", model_max_length=POSITIONS
    )


def _save(folder: Path, network: Any, tokenizer: Any, processor: Any, *, seed: int = 7) -> Path:
    """Random weights that are large enough for pictures and texts to matter."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in network.parameters():
            if value.dim() >= 2:
                torch.nn.init.normal_(value, std=0.2)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder
