"""A folder of weights and configuration → a network of transformers on a device, with its processor's work.

Only safetensors are read and no code from the folder is ever run. What cannot be loaded is said before transformers
says it in its own words. Knows nothing of elements: each model type reads the network's outputs itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging as transformers_logging

from models.architectures import types_of
from models.compiled_network import CompiledNetwork
from models.errors import PermanentError
from models.image_processors import LOAD_ERRORS, in_one_line, load_image_processor
from models.kept_memory import keep_freed_memory
from models.preprocessing import Preprocessor
from models.vision_model import Frame, ModelLoadError, Precision

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_PATCH_CONVOLUTIONS = 2
"""Most that a network of patches and attention has: for its picture, and for its positions."""
_COUNTERS = "num_batches_tracked"
"""A batch normalisation's counter: old checkpoints lack it, and it plays no part in inference."""


_ANSWERS = (
    "logits",
    "pred_boxes",
    "pred_masks",
    "class_queries_logits",
    "masks_queries_logits",
    "heatmaps",
    "decoder_class_logits",
    "decoder_coord_logits",
    "image_embeds",
    "text_embeds",
    "logits_per_image",
    "pooler_output",
)
"""Outputs of networks that elements are made of; what else they give may be infinite where they mask something."""


class OverflowInFloat16Error(PermanentError):
    """The network's numbers leave the range of float16: what it says would be nothing, silently."""


class NotANumberError(PermanentError):
    """The network's answer is no number: what it says would be nothing, silently."""


@dataclass(frozen=True)
class LoadedModel:
    """A network ready for inference, its processor, and the names of its classes."""

    network: Any
    processor: Any
    preprocess: Preprocessor
    class_names: tuple[str, ...]
    """The name of each class index; the index itself, as text, where the configuration names none."""
    compiled: CompiledNetwork | None = None
    """The network as `forward` calls it, where it is compiled."""

    def forward(self, frames: Sequence[Frame]) -> Any:
        """Run frames of one shape through processor and network; gives the network's outputs, floats as float32.

        Raises what `checked` raises.
        """
        with torch.inference_mode():
            return checked((self.compiled or self.network)(**self.preprocess(frames)))


def checked(outputs: Any) -> Any:
    """Take a network's outputs, by name, as float32; any other call of a network ends with it too.

    An answer may be minus infinity, where a text's padding is masked, but neither infinity nor no number at all.
    Raises `OverflowInFloat16Error` and `NotANumberError`.
    """
    floats = {
        name: value for name, value in outputs.items() if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
    answers = [floats[name] for name in _ANSWERS if name in floats] or list(floats.values())
    if answers and bool(torch.stack([(one.isnan() | one.isposinf()).any() for one in answers]).any()):
        if any(value.dtype == torch.float16 for value in floats.values()):
            raise OverflowInFloat16Error(
                "the model's numbers grow too large for float16; ask for it with precision bfloat16 or float32, in its "
                "catalog entry or by REELMILL_PRECISION."
            )
        raise NotANumberError(
            "the model answers with infinity, or with what is no number (NaN): its weights are damaged, or its "
            "training diverged; give an earlier checkpoint."
        )
    for name, value in floats.items():
        outputs[name] = value.float()
    return outputs


def load_model(
    folder: Path, *, inference_type: str, auto_class: str, device: str, precision: Precision, compiled: bool = False
) -> LoadedModel:
    """Load what `folder` holds as `auto_class` (a name in transformers) onto `device`, ready for inference.

    With `compiled`, `LoadedModel.forward` compiles it when it is first called with a size of batch.

    Raises `ModelLoadError` where the folder lacks something, or holds a model of another type.
    """
    labels = _labels(_checked_config(folder, inference_type))
    target = torch.device(device)
    dtype = resolve_precision(precision, target)
    if target.type == "cpu":
        keep_freed_memory()
    with _quiet():
        network = _network(folder, auto_class, dtype, inference_type)
        processor = load_image_processor(folder)
    layout = memory_layout(network)
    network = network.to(target, memory_format=layout).eval()
    count = max([int(network.config.num_labels), *(index + 1 for index in labels)])
    return LoadedModel(
        network=network,
        processor=processor,
        preprocess=Preprocessor(processor, target, dtype, layout),
        class_names=tuple(labels.get(index, str(index)) for index in range(count)),
        compiled=CompiledNetwork(network) if compiled else None,
    )


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Give the type to compute in: `auto` is float16 on CUDA, else float32.

    Not bfloat16: with its 8 binary places a box of a 1920 × 1080 frame is off by 3 pixels, with float16's 11 by 0.4. On
    60 held-out stills of each kind of the small world (`tests/smallworld/half_precision.py`, on a CPU) no task's score
    changes by more than 0.0001 in float16 and 0.0014 in bfloat16, and boxes move by 0.25 and 1.9 pixels at most.
    """
    if precision != "auto":
        return _DTYPES[precision]
    return torch.float16 if device.type == "cuda" else torch.float32


def memory_layout(network: torch.nn.Module) -> torch.memory_format:
    """How pictures lie in memory on their way through `network`: channels last where it convolves again and again.

    On a CPU the small world's networks take 4 to 28 % less time so, EfficientNet and DeepLab 10 to 13 %, and logits
    differ by less than 0.0001, as by another order of summing up. One convolution that cuts a picture into patches
    gains nothing.
    """
    convolutions = sum(isinstance(part, torch.nn.Conv2d) and max(part.kernel_size) > 1 for part in network.modules())
    return torch.channels_last if convolutions > _PATCH_CONVOLUTIONS else torch.preserve_format


def read_config(folder: Path) -> dict[str, Any]:
    """Read the folder's config.json. Raises `ModelLoadError`."""
    path = folder / "config.json"
    if not path.is_file():
        raise ModelLoadError(f"{folder} holds no config.json; give the folder that save_pretrained wrote.")
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise ModelLoadError(f"{path} is not JSON ({error}); save the model again.") from None
    if not isinstance(config, dict):
        raise ModelLoadError(f"{path} holds no configuration; save the model again.")
    return config


def architectures_of(config: Mapping[str, Any]) -> list[str]:
    """The classes of transformers that a config.json names; empty where it names none."""
    return [str(name) for name in config.get("architectures") or []]


def _labels(config: Mapping[str, Any]) -> dict[int, str]:
    """The classes' names as far as config.json has them; transformers' own stand-ins (LABEL_0 …) are no names."""
    named = config.get("id2label")
    return {int(index): str(name) for index, name in named.items()} if isinstance(named, Mapping) else {}


def _checked_config(folder: Path, inference_type: str) -> dict[str, Any]:
    config = read_config(folder)
    architectures = architectures_of(config)
    runs = types_of(architectures)
    if architectures and inference_type not in runs:
        hint = f"ask for {' or '.join(runs)}" if runs else "give a model whose head is for that"
        raise ModelLoadError(f"the model is a {', '.join(architectures)}, not a model for {inference_type}; {hint}.")
    if not any((folder / name).is_file() for name in _WEIGHTS):
        raise ModelLoadError(_no_weights(folder))
    return config


def _no_weights(folder: Path) -> str:
    pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
    if pickled:
        return (
            f"the model has its weights only as {pickled[0]}, a format that can run code when it is read; load it "
            "with transformers where you trust it and call save_pretrained, which writes model.safetensors."
        )
    return "the folder holds no model.safetensors; give the folder that save_pretrained wrote."


def _network(folder: Path, auto_class: str, dtype: torch.dtype, inference_type: str) -> Any:
    try:
        network, report = getattr(transformers, auto_class).from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except LOAD_ERRORS as error:
        if "trust_remote_code" in str(error):
            raise ModelLoadError(
                "the model brings code of its own, which is never run; take a model that transformers knows."
            ) from error
        raise ModelLoadError(f"the model cannot be loaded for {inference_type}: {in_one_line(error)}") from error
    missing = sorted(name for name in report["missing_keys"] if not name.endswith(_COUNTERS))
    if missing:
        raise ModelLoadError(
            f"the model lacks weights of {len(missing)} parts ({', '.join(missing[:3])}…), which would be random; "
            "give the fine-tuned model, not the one it started from."
        )
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars and its advice about backends out of the log while a model loads."""
    log: Any = transformers_logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(logging.ERROR)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
