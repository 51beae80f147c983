"""The models that whole jobs are measured with: real weights, small enough for a CPU."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.onnx_assets import YOLOX, asset_folder
from tests.smallworld import WEIGHTS

_CONFIDENCE = {"detector": 0.1, "yolox_nano": 0.02}
"""Low, so that pictures of no real things hold boxes to be post-processed, written and compared."""


@dataclass(frozen=True)
class BenchModel:
    """A model's folder and what it is asked for."""

    name: str
    label: str
    inference_type: str
    folder: Path

    @property
    def params(self) -> dict[str, Any]:
        """The inference parameters of a request."""
        return {"confidence": _CONFIDENCE[self.name]} if self.name in _CONFIDENCE else {}

    @property
    def order(self) -> dict[str, Any]:
        """What a measuring process is told of it; the very words of a request."""
        return {
            "model_id": str(self.folder),
            "alias": self.name,
            "inference_type": self.inference_type,
            "inference_params": self.params,
        }


def bench_models(folder: Path) -> dict[str, BenchModel]:
    """All that can be had, by name; without `REELMILL_ASSETS` only those of the small world. Cards go into `folder`."""
    found = [
        BenchModel("detector", "small world's RT-DETRv2, 160 × 160, fp32", "object-detection", WEIGHTS / "detector"),
        BenchModel("classifier", "small world's classifier", "classification", WEIGHTS / "classifier"),
    ]
    if "REELMILL_ASSETS" in os.environ:
        assets = Path(os.environ["REELMILL_ASSETS"]).resolve() / "models"
        kept = folder.resolve() / "models"
        yolox = kept / YOLOX.removesuffix(".onnx")
        if not (yolox / YOLOX).exists():
            asset_folder(kept, YOLOX)
        efficientnet = assets / "classification-efficientnet-lite0-hf"
        found[1:1] = [
            BenchModel("yolox_nano", "YOLOX-nano, 416 × 416, ONNX", "object-detection", yolox),
            BenchModel("efficientnet", "EfficientNet-Lite0, 224 × 224, fp32", "classification", efficientnet),
        ]
    return {model.name: model for model in found}
