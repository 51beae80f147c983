"""Processors that transformers has for torchvision only, against the same steps written out in torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn.functional import interpolate

from models.configured_processor import ConfiguredProcessor, is_configured, processor_class
from models.image_processors import load_image_processor
from models.preprocessing import Preprocessor
from models.vision_model import ModelLoadError
from tests.pictures import pictures

FRAMES = pictures(2, 90, 150)


def levels() -> torch.Tensor:
    return torch.stack([torch.from_numpy(frame).permute(2, 0, 1) for frame in FRAMES]).float()


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"image_processor_type": "RfDetrImageProcessorFast"}, "RfDetrImageProcessor"),
        ({"model_type": "rf_detr"}, "RfDetrImageProcessor"),
        ({"model_type": "rf_detr", "image_processor_type": "DetrImageProcessor"}, "DetrImageProcessor"),
        ({"image_processor_type": "ViTImageProcessorPil"}, "ViTImageProcessor"),
    ],
)
def test_the_class_is_what_the_configuration_names_else_what_its_model_has(config: dict, name: str) -> None:
    assert processor_class(config) == name
    assert is_configured(config) == (name == "RfDetrImageProcessor")


def test_rf_detr_resizes_rescaled_values_and_rounds_nothing() -> None:
    size = {"height": 40, "width": 56}
    inputs = ConfiguredProcessor({"image_processor_type": "RfDetrImageProcessor", "size": size})(FRAMES)
    resized = interpolate(levels() / 255, size=(40, 56), mode="bilinear", align_corners=False)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (resized - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    assert torch.allclose(inputs["pixel_values"], expected, atol=1e-5)
    assert inputs["pixel_mask"].shape == (2, 40, 56)
    assert inputs["pixel_mask"].all()


def test_what_is_padded_is_masked() -> None:
    config = {"image_processor_type": "RfDetrImageProcessor", "size": {"height": 40, "width": 56}}
    inputs = ConfiguredProcessor({**config, "pad_size": {"height": 48, "width": 64}})(FRAMES)
    assert inputs["pixel_values"].shape == (2, 3, 48, 64)
    assert inputs["pixel_mask"].sum() == 2 * 40 * 56
    assert inputs["pixel_mask"][:, :40, :56].all()
    assert not inputs["pixel_values"][:, :, 40:].any()


def test_a_document_s_layout_is_seen_without_antialias_in_whole_grey_levels() -> None:
    config = {"image_processor_type": "PPDocLayoutV3ImageProcessor", "size": {"height": 40, "width": 56}}
    values = ConfiguredProcessor(config)(FRAMES)["pixel_values"]
    resized = interpolate(levels(), size=(40, 56), mode="bicubic", align_corners=False).round().clamp(0, 255)
    assert torch.allclose(values * 255, resized, atol=1e-3)


def test_the_preprocessor_runs_it_on_the_device_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    processor = ConfiguredProcessor({"image_processor_type": "Tipsv2ImageProcessor"})
    inputs = Preprocessor(processor, torch.device("cpu"))(FRAMES)
    assert inputs["pixel_values"].shape == (2, 3, 448, 448)
    assert 0 <= inputs["pixel_values"].min() < inputs["pixel_values"].max() <= 1
    assert not caplog.records


def test_a_configuration_that_cannot_be_done_is_said(tmp_path: Path) -> None:
    config = {"image_processor_type": "RfDetrImageProcessor", "size": 224}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match="the size 224 is no set of named edges"):
        load_image_processor(tmp_path)
