"""The image processor of a model's folder, loaded without torchvision.

transformers' processors come in two kinds, for torchvision and for Pillow; ours are Pillow's. A few classes have no
such twin and cannot even be imported without torchvision: for those, `models.configured_processor` reads the folder's
configuration itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError

from models.configured_processor import ConfiguredProcessor, is_configured
from models.processor_steps import NotCoveredError
from models.vision_model import ModelLoadError

LOAD_ERRORS = (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError, AttributeError, SafetensorError)
"""What transformers raises where a folder is not as it should be."""


def load_image_processor(folder: Path) -> Any:
    """Load what prepares frames for the model, and reads its outputs. Raises `ModelLoadError`."""
    try:
        config = _configuration(folder)
        if is_configured(config):
            return ConfiguredProcessor(config)
        load: Any = transformers.AutoImageProcessor.from_pretrained
        return load(folder, backend="pil", trust_remote_code=False, local_files_only=True)
    except (*LOAD_ERRORS, NotCoveredError) as error:
        raise ModelLoadError(
            f"the image processor (preprocessor_config.json) cannot be loaded: {in_one_line(error)}"
        ) from error


def in_one_line(error: BaseException) -> str:
    """The error's text without line breaks, 300 characters at most."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:299] + "…"


def _configuration(folder: Path) -> dict[str, Any]:
    """What the folder says of its image processor, and the model's type, from which a missing class is told."""
    told: dict[str, Any] = _read(folder / "processor_config.json").get("image_processor") or _read(
        folder / "preprocessor_config.json"
    )
    return {"model_type": _read(folder / "config.json").get("model_type"), **told} if told else {}


def _read(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_bytes()) if path.is_file() else {}
    return content if isinstance(content, dict) else {}
