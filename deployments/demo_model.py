"""The demo's classifier: EfficientNet-Lite0's published weights, laid out as a transformers model folder.

Lite0 is EfficientNet-B0 without squeeze-and-excitation and with ReLU6. The transformers class always has
squeeze-and-excitation, so its layers are made to multiply by one: the reducing convolution gives 0, the expanding one
30, and sigmoid(30) is 1 in float32.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import PermanentError

if TYPE_CHECKING:
    import torch

CLASS_NAMES = Path(__file__).with_name("imagenet_classes.txt")
"""ImageNet-1k's class names, WordNet's words of each synset: line i is class i."""

_SATURATED = 30.0
_MEAN, _STD = 127 / 255, 128 / 255
"""Of the original's pre-processing: (pixel - 127) / 128, here of pixels in 0…1."""

_PREPROCESSING: dict[str, Any] = {
    "image_processor_type": "EfficientNetImageProcessor",
    "do_resize": True,
    "size": {"height": 224, "width": 224},
    "resample": 3,  # bicubic
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "rescale_offset": False,
    "do_normalize": True,
    "image_mean": [_MEAN] * 3,
    "image_std": [_STD] * 3,
    "include_top": False,
}

_OUTER_NAMES = {
    "_conv_stem": "efficientnet.embeddings.convolution",
    "_bn0": "efficientnet.embeddings.batchnorm",
    "_conv_head": "efficientnet.encoder.top_conv",
    "_bn1": "efficientnet.encoder.top_bn",
    "_fc": "classifier",
}
_BLOCK_NAMES = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}


class WeightsFileError(PermanentError):
    """The weights file is not EfficientNet-Lite0's."""


def build_model_folder(weights: Path, folder: Path) -> Path:
    """Make `folder` hold config.json, model.safetensors and preprocessor_config.json; what stands is kept.

    `weights` is the original's state dict. The folder appears whole or not at all. Raises `WeightsFileError`.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _save_model(weights, scratch)
        (scratch / "preprocessor_config.json").write_text(json.dumps(_PREPROCESSING, indent=2) + "\n")
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def class_names() -> list[str]:
    """ImageNet-1k's 1,000 names by class id."""
    return CLASS_NAMES.read_text(encoding="utf-8").splitlines()


def transformers_name(name: str) -> str:
    """The transformers name of one of the original's tensors. Raises `KeyError` for any other."""
    module, _, tensor = name.rpartition(".")
    if module.startswith("_blocks."):
        _, number, layer = module.split(".")
        return f"efficientnet.encoder.blocks.{number}.{_BLOCK_NAMES[layer]}.{tensor}"
    return f"{_OUTER_NAMES[module]}.{tensor}"


def _save_model(weights: Path, folder: Path) -> None:
    from transformers import EfficientNetConfig, EfficientNetForImageClassification
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    names = class_names()
    config = EfficientNetConfig(
        width_coefficient=1.0,
        depth_coefficient=1.0,
        image_size=224,
        hidden_act="relu6",
        hidden_dim=1280,
        depthwise_padding=[],
        dropout_rate=0.2,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    model = EfficientNetForImageClassification(config)
    original = _read(weights)
    try:
        state = {transformers_name(name): tensor for name, tensor in original.items()}
        model.load_state_dict(state | _neutral_squeeze_excite(model.state_dict()), strict=True)
    except (KeyError, RuntimeError) as error:
        raise WeightsFileError(
            f"{weights.name} holds the tensors of another network than EfficientNet-Lite0; delete it and run again."
        ) from error
    model.save_pretrained(folder)


def _read(weights: Path) -> dict[str, torch.Tensor]:
    import pickle

    import torch

    try:
        state: dict[str, torch.Tensor] = torch.load(weights, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise WeightsFileError(f"{weights.name} is no file of PyTorch weights; delete it and run again.") from error
    return state


def _neutral_squeeze_excite(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    import torch

    return {
        name: torch.full_like(tensor, _SATURATED if name.endswith(".expand.bias") else 0.0)
        for name, tensor in state.items()
        if ".squeeze_excite." in name
    }
