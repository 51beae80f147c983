"""Tiny segmenters with seeded random weights, saved as transformers saves them: for tests of everything but accuracy.

`INSTANCES` and `SEMANTIC` say how each family is made; a maker gives the network and its image processor, or the
processor's configuration where its class cannot be made without torchvision.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BeitConfig,
    BeitForSemanticSegmentation,
    BeitImageProcessorPil,
    DetrConfig,
    DPTConfig,
    DPTForSemanticSegmentation,
    DPTImageProcessorPil,
    EomtConfig,
    EomtDinov3Config,
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
    EomtImageProcessorPil,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessorPil,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    MaskFormerImageProcessorPil,
    MobileNetV2Config,
    MobileNetV2ForSemanticSegmentation,
    MobileNetV2ImageProcessorPil,
    MobileViTConfig,
    MobileViTForSemanticSegmentation,
    MobileViTImageProcessorPil,
    PreTrainedModel,
    ResNetConfig,
    RfDetrConfig,
    RfDetrDinov2Config,
    RfDetrForInstanceSegmentation,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessorPil,
    SwinConfig,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

SEGMENTED_CLASSES = ("background", "circle", "square", "triangle", "star", "ring")
_NAMES: dict[str, Any] = {
    "id2label": dict(enumerate(SEGMENTED_CLASSES)),
    "label2id": {name: index for index, name in enumerate(SEGMENTED_CLASSES)},
}
_SIDE_PX = 64
_SQUARE = {"height": _SIDE_PX, "width": _SIDE_PX}
_TRANSFORMER: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": _SIDE_PX,
    "patch_size": 8,
}
_STAGES = ["stage1", "stage2", "stage3", "stage4"]

Made = tuple[PreTrainedModel, Any]


def _swin() -> SwinConfig:
    return SwinConfig(
        image_size=_SIDE_PX, embed_dim=16, depths=[1] * 4, num_heads=[2] * 4, window_size=4, out_features=_STAGES
    )


def _mask2former() -> Made:
    config = Mask2FormerConfig(
        backbone_config=_swin(),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=64,
        dim_feedforward=64,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=4,
        num_queries=12,
        **_NAMES,
    )
    return Mask2FormerForUniversalSegmentation(config), Mask2FormerImageProcessorPil(size=_SQUARE)


def _maskformer() -> Made:
    decoder = DetrConfig(
        backbone_config=ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic"),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        decoder_attention_heads=4,
        encoder_attention_heads=4,
        decoder_ffn_dim=64,
        encoder_ffn_dim=64,
        num_queries=12,
    )
    config = MaskFormerConfig(
        backbone_config=_swin(), decoder_config=decoder, fpn_feature_size=32, mask_feature_size=32, **_NAMES
    )
    processor = MaskFormerImageProcessorPil(size={"shortest_edge": _SIDE_PX, "longest_edge": 200}, size_divisor=32)
    return MaskFormerForInstanceSegmentation(config), processor


def _eomt() -> Made:
    config = EomtConfig(
        **_TRANSFORMER, num_blocks=2, num_queries=12, num_upscale_blocks=1, num_register_tokens=1, **_NAMES
    )
    processor = EomtImageProcessorPil(size={"shortest_edge": _SIDE_PX, "longest_edge": _SIDE_PX}, do_pad=True)
    return EomtForUniversalSegmentation(config), processor


def _eomt_dinov3() -> Made:
    config = EomtDinov3Config(
        **_TRANSFORMER,
        intermediate_size=64,
        num_blocks=2,
        num_queries=12,
        num_upscale_blocks=1,
        num_register_tokens=1,
        **_NAMES,
    )
    processor = EomtImageProcessorPil(size={"shortest_edge": _SIDE_PX, "longest_edge": None}, do_split_image=True)
    return EomtDinov3ForUniversalSegmentation(config), processor


def _rf_detr() -> Made:
    backbone = RfDetrDinov2Config(**_TRANSFORMER, num_windows=2, out_features=["stage2", "stage4"])
    config = RfDetrConfig(
        backbone_config=backbone,
        d_model=32,
        hidden_expansion=0.5,
        c2f_num_blocks=1,
        decoder_layers=2,
        decoder_n_points=2,
        decoder_ffn_dim=64,
        decoder_self_attention_heads=4,
        decoder_cross_attention_heads=4,
        num_queries=12,
        group_detr=1,
        **_NAMES,
    )
    processor = {
        "image_processor_type": "RfDetrImageProcessor",
        "size": _SQUARE,
        "do_pad": False,
    }
    return RfDetrForInstanceSegmentation(config), processor


def _segformer() -> Made:
    config = SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1, 2, 2, 4], decoder_hidden_size=32, **_NAMES
    )
    return SegformerForSemanticSegmentation(config), SegformerImageProcessorPil(size=_SQUARE)


def _upernet() -> Made:
    backbone = ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 24, 32, 48], depths=[1] * 4, layer_type="basic", out_features=_STAGES
    )
    config = UperNetConfig(
        backbone_config=backbone, hidden_size=32, pool_scales=(1, 2), use_auxiliary_head=False, **_NAMES
    )
    return UperNetForSemanticSegmentation(config), SegformerImageProcessorPil(size=_SQUARE)


def _beit() -> Made:
    config = BeitConfig(
        **_TRANSFORMER,
        intermediate_size=64,
        use_relative_position_bias=True,
        pool_scales=[1, 2],
        use_auxiliary_head=False,
        out_indices=[1, 2, 3, 4],
        **_NAMES,
    )
    processor = BeitImageProcessorPil(size=_SQUARE, do_center_crop=False, do_reduce_labels=True)
    return BeitForSemanticSegmentation(config), processor


def _dpt() -> Made:
    config = DPTConfig(
        **_TRANSFORMER,
        intermediate_size=64,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 16, 24, 32],
        fusion_hidden_size=16,
        use_auxiliary_head=False,
        **_NAMES,
    )
    return DPTForSemanticSegmentation(config), DPTImageProcessorPil(size=_SQUARE)


def _mobilenet_v2() -> Made:
    config = MobileNetV2Config(depth_multiplier=0.25, image_size=_SIDE_PX, output_stride=8, **_NAMES)
    return MobileNetV2ForSemanticSegmentation(config), MobileNetV2ImageProcessorPil(size=_SQUARE, do_center_crop=False)


def _mobilevit() -> Made:
    config = MobileViTConfig(
        image_size=_SIDE_PX,
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 16, 16, 16, 24, 64],
        aspp_out_channels=16,
        output_stride=16,
        **_NAMES,
    )
    processor = MobileViTImageProcessorPil(size={"shortest_edge": 72}, crop_size=_SQUARE)
    return MobileViTForSemanticSegmentation(config), processor


INSTANCES: dict[str, Callable[[], Made]] = {
    "mask2former": _mask2former,
    "maskformer": _maskformer,
    "eomt": _eomt,
    "rf_detr": _rf_detr,
}
SEMANTIC: dict[str, Callable[[], Made]] = {
    "segformer": _segformer,
    "upernet": _upernet,
    "beit": _beit,
    "dpt": _dpt,
    "mobilenet_v2": _mobilenet_v2,
    "mobilevit": _mobilevit,
    "mask2former": _mask2former,
    "maskformer": _maskformer,
    "eomt": _eomt,
    "eomt_dinov3 in patches": _eomt_dinov3,
}


def save_tiny_segmenter(folder: Path, make: Callable[[], Made] = _mask2former, *, seed: int = 7) -> Path:
    """A segmenter of six classes that sees frames at 64 pixels."""
    torch.manual_seed(seed)
    network, processor = make()
    _stir(network.eval())
    network.save_pretrained(folder)
    if isinstance(processor, dict):
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    else:
        processor.save_pretrained(folder)
    return folder


def save_tiny_semantic(folder: Path) -> Path:
    """A SegFormer of six classes that sees frames at 64 × 64."""
    return save_tiny_segmenter(folder, _segformer)


def _stir(network: torch.nn.Module) -> None:
    """Make outputs follow what is seen, as weights fresh from the seed hardly do: classes and masks vary in a frame."""
    heads = (len(SEGMENTED_CLASSES), len(SEGMENTED_CLASSES) + 1)
    head_gain = 1 if isinstance(network, RfDetrForInstanceSegmentation) else 4
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.dim() >= 2:
                torch.nn.init.xavier_normal_(value, gain=head_gain if len(value) in heads else 1)
            elif name.endswith("bias"):
                torch.nn.init.normal_(value, std=0.1)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train().momentum = 1.0
            elif isinstance(module, torch.nn.Embedding):
                torch.nn.init.normal_(module.weight, std=3)
        coarse = torch.randn(8, 3, _SIDE_PX // 8, _SIDE_PX // 8)
        pixel_values = torch.nn.functional.interpolate(coarse, size=_SIDE_PX, mode="bicubic")
        network(pixel_values=pixel_values)
        outputs = network.eval()(pixel_values=pixel_values)
        biases = [v for name, v in network.named_parameters() if name.endswith("bias") and len(v) in heads]
        if len(biases) == 1:
            said = outputs["class_queries_logits"].mean((0, 1)) if "class_queries_logits" in outputs else None
            biases[0] -= outputs["logits"].mean((0, 2, 3)) if said is None else said
