"""Tiny detectors of many families with seeded random weights, saved as transformers saves them.

`DETECTORS` and `PROMPTED` say how each family is made: the network, and its image processor or, where that class
cannot be made without torchvision, the processor's configuration.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tests.tiny_models import DETECTOR_CLASSES

SIDE_PX = 64
PROMPTS = ["a red car", "bicycle", "two dogs"]
_NAMES: dict[str, Any] = {
    "id2label": dict(enumerate(DETECTOR_CLASSES)),
    "label2id": {name: index for index, name in enumerate(DETECTOR_CLASSES)},
}
_SQUARE = {"height": SIDE_PX, "width": SIDE_PX}
_TWO_EDGES = {"shortest_edge": 64, "longest_edge": 96}
_STAGES = ["stage2", "stage3", "stage4"]
_CONVOLUTIONS: dict[str, Any] = {
    "embedding_size": 16,
    "hidden_sizes": [16, 24, 32, 48],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
_DETR: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 1,
    "encoder_ffn_dim": 48,
    "encoder_attention_heads": 4,
    "decoder_layers": 2,
    "decoder_ffn_dim": 48,
    "decoder_attention_heads": 4,
    "num_queries": 12,
}
_HYBRID: dict[str, Any] = {
    **_DETR,
    "freeze_backbone_batch_norms": False,
    "encoder_in_channels": [24, 32, 48],
    "encoder_hidden_dim": 32,
    "hidden_expansion": 0.5,
    "decoder_in_channels": [32, 32, 32],
    "num_denoising": 0,
}
_SWIN: dict[str, Any] = {
    "image_size": SIDE_PX,
    "embed_dim": 16,
    "depths": [1] * 4,
    "num_heads": [2] * 4,
    "window_size": 4,
    "out_features": _STAGES,
}
_TRANSFORMER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_VISION: dict[str, Any] = {**_TRANSFORMER, "patch_size": 8, "image_size": SIDE_PX}

Made = tuple[Any, Any]


def _resnet(*stages: str) -> Any:
    return transformers.ResNetConfig(**_CONVOLUTIONS, out_features=list(stages))


def _detr() -> Made:
    config = transformers.DetrConfig(backbone_config=_resnet("stage4"), **_DETR, **_NAMES)
    return transformers.DetrForObjectDetection(config), transformers.DetrImageProcessorPil(size=_TWO_EDGES)


def _table_transformer() -> Made:
    config = transformers.TableTransformerConfig(backbone_config=_resnet("stage4"), **_DETR, **_NAMES)
    processor = transformers.DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 64})
    return transformers.TableTransformerForObjectDetection(config), processor


def _conditional_detr() -> Made:
    config = transformers.ConditionalDetrConfig(backbone_config=_resnet("stage4"), **_DETR, **_NAMES)
    processor = transformers.ConditionalDetrImageProcessorPil(size=_TWO_EDGES)
    return transformers.ConditionalDetrForObjectDetection(config), processor


def _dab_detr() -> Made:
    options = {name: value for name, value in _DETR.items() if name != "d_model"}
    config = transformers.DabDetrConfig(backbone_config=_resnet("stage4"), hidden_size=32, **options, **_NAMES)
    processor = transformers.ConditionalDetrImageProcessorPil(size=_TWO_EDGES)
    return transformers.DabDetrForObjectDetection(config), processor


def _deformable_detr() -> Made:
    config = transformers.DeformableDetrConfig(
        backbone_config=_resnet(*_STAGES), num_feature_levels=3, **_DETR, **_NAMES
    )
    processor = transformers.DeformableDetrImageProcessorPil(size=_TWO_EDGES)
    return transformers.DeformableDetrForObjectDetection(config), processor


def _d_fine() -> Made:
    backbone = transformers.HGNetV2Config(
        hidden_sizes=_CONVOLUTIONS["hidden_sizes"],
        stem_channels=[3, 8, 16],
        stage_in_channels=[16, 16, 24, 32],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[16, 24, 32, 48],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        out_features=_STAGES,
    )
    config = transformers.DFineConfig(backbone_config=backbone, **_HYBRID, **_NAMES)
    return transformers.DFineForObjectDetection(config), transformers.RTDetrImageProcessorPil(size=_SQUARE)


def _yolos() -> Made:
    config = transformers.YolosConfig(
        **_TRANSFORMER, image_size=[64, 96], patch_size=16, num_detection_tokens=12, **_NAMES
    )
    return transformers.YolosForObjectDetection(config), transformers.YolosImageProcessorPil(size=_TWO_EDGES)


def _lw_detr() -> Made:
    backbone = transformers.LwDetrViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=SIDE_PX,
        pretrain_image_size=SIDE_PX,
        patch_size=16,
        num_windows=4,
        window_block_indices=[0],
        out_features=["stage1", "stage2"],
    )
    config = transformers.LwDetrConfig(
        backbone_config=backbone,
        d_model=32,
        projector_scale_factors=[1.0],
        c2f_num_blocks=1,
        decoder_layers=2,
        decoder_n_points=2,
        decoder_ffn_dim=48,
        decoder_self_attention_heads=4,
        decoder_cross_attention_heads=4,
        num_queries=12,
        group_detr=1,
        **_NAMES,
    )
    return transformers.LwDetrForObjectDetection(config), transformers.DeformableDetrImageProcessorPil(size=_SQUARE)


def _rf_detr() -> Made:
    backbone = transformers.RfDetrDinov2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=SIDE_PX,
        patch_size=8,
        num_windows=2,
        out_features=["stage1", "stage2"],
    )
    config = transformers.RfDetrConfig(
        backbone_config=backbone,
        d_model=32,
        hidden_expansion=0.5,
        c2f_num_blocks=1,
        decoder_layers=2,
        decoder_n_points=2,
        decoder_ffn_dim=48,
        decoder_self_attention_heads=4,
        decoder_cross_attention_heads=4,
        num_queries=12,
        group_detr=1,
        **_NAMES,
    )
    processor = {"image_processor_type": "RfDetrImageProcessor", "size": _SQUARE}
    return transformers.RfDetrForObjectDetection(config), processor


DETECTORS: dict[str, Callable[[], Made]] = {
    "detr": _detr,
    "table-transformer": _table_transformer,
    "conditional_detr": _conditional_detr,
    "dab-detr": _dab_detr,
    "deformable_detr": _deformable_detr,
    "d_fine": _d_fine,
    "yolos": _yolos,
    "lw_detr": _lw_detr,
    "rf_detr": _rf_detr,
}
"""Detectors that find classes of their own."""


def _owl(version: str, side: int) -> Made:
    tokenizer = byte_tokenizer(positions=16)
    text = {**_TRANSFORMER, "vocab_size": len(tokenizer), "max_position_embeddings": 16, **_ends(tokenizer)}
    config = getattr(transformers, f"{version}Config")(text_config=text, vision_config=_VISION, projection_dim=32)
    processor = getattr(transformers, f"{version}ImageProcessorPil")(size={"height": side, "width": side})
    return getattr(transformers, f"{version}ForObjectDetection")(config), processor


def _grounding_dino(version: str) -> Made:
    config = getattr(transformers, f"{version}Config")(
        backbone_config=transformers.SwinConfig(**_SWIN),
        text_config=transformers.BertConfig(**_TRANSFORMER, vocab_size=len(word_tokenizer())),
        num_feature_levels=3,
        max_text_len=40,
        **_DETR,
    )
    processor = transformers.GroundingDinoImageProcessorPil(size=_TWO_EDGES)
    return getattr(transformers, f"{version}ForObjectDetection")(config), processor


def _omdet_turbo() -> Made:
    tokenizer = byte_tokenizer(positions=77)
    text = {**_TRANSFORMER, "hidden_size": 48, "vocab_size": len(tokenizer), **_ends(tokenizer), "projection_dim": 48}
    config = transformers.OmDetTurboConfig(
        backbone_config=transformers.SwinConfig(**_SWIN),
        text_config=transformers.CLIPTextConfig(**text, max_position_embeddings=77),
        apply_layernorm_after_vision_backbone=False,
        image_size=SIDE_PX,
        text_projection_in_dim=48,
        text_projection_out_dim=48,
        task_encoder_hidden_dim=48,
        class_embed_dim=48,
        num_queries=12,
        encoder_hidden_dim=32,
        vision_features_channels=[32, 32, 32],
        encoder_in_channels=[32, 64, 128],
        encoder_attention_heads=4,
        encoder_dim_feedforward=48,
        decoder_hidden_dim=32,
        decoder_num_heads=4,
        decoder_num_layers=2,
        decoder_dim_feedforward=48,
        disable_custom_kernels=True,
    )
    return transformers.OmDetTurboForObjectDetection(config), transformers.DetrImageProcessorPil(
        size=_SQUARE, do_pad=False
    )


PROMPTED: dict[str, Callable[[], Made]] = {
    "owlvit": lambda: _owl("OwlViT", SIDE_PX),
    "owlv2": lambda: _owl("Owlv2", SIDE_PX),
    "grounding-dino": lambda: _grounding_dino("GroundingDino"),
    "mm-grounding-dino": lambda: _grounding_dino("MMGroundingDino"),
    "omdet-turbo": _omdet_turbo,
}
"""Detectors that find what texts name."""


def byte_tokenizer(*, positions: int) -> Any:
    """CLIP's tokenizer without merges: each letter is a token."""
    characters = list(bytes_to_unicode().values())
    tokens = ["!", *characters, *(f"{one}</w>" for one in characters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return transformers.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=positions)


def word_tokenizer() -> Any:
    """BERT's tokenizer with whole words for `PROMPTS`, and letters for others."""
    words = {word for prompt in PROMPTS for word in prompt.split() if len(word) > 1}
    letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *letters, *sorted(words)]
    return transformers.BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})


def _ends(tokenizer: Any) -> dict[str, Any]:
    return {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}


def save_tiny(folder: Path, made: Made, tokenizer: Any = None, *, seed: int = 7) -> Path:
    """Give the network weights that follow what it sees, and follow it smoothly, and save it with its processor."""
    network, processor = made
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.dim() == 4:
                torch.nn.init.kaiming_normal_(value, nonlinearity="relu")
            elif value.dim() >= 2:
                torch.nn.init.normal_(value, std=_spread(name, value))
            elif name.endswith("bias"):
                torch.nn.init.normal_(value, std=0.1)
    network.save_pretrained(folder)
    if isinstance(processor, dict):
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    else:
        processor.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder


def _spread(name: str, value: torch.Tensor) -> float:
    """Queries lie far apart and boxes move little; the rest keeps the size of what goes through it."""
    if "quer" in name or "refpoint" in name or ("reference_point" in name and value.shape[0] > value.shape[1]):
        return 1.0
    return (3.0 if "attn" in name or "attention" in name else 1.0) / float(value.shape[-1]) ** 0.5


def save_tiny_prompted(folder: Path, family: str) -> Path:
    """A detector of `PROMPTED` with the tokenizer that its family has."""
    if "dino" in family:
        return save_tiny(folder, PROMPTED[family](), word_tokenizer())
    return save_tiny(folder, PROMPTED[family](), byte_tokenizer(positions=77 if family == "omdet-turbo" else 16))
