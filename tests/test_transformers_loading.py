"""What is loaded, in which precision, and how a folder that cannot be loaded is spoken of."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    SegformerImageProcessorPil,
    SwinConfig,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

from models.preprocessing import Preprocessor
from models.transformers_loading import (
    NotANumberError,
    OverflowInFloat16Error,
    checked,
    load_model,
    memory_layout,
    resolve_precision,
)
from models.vision_model import ModelLoadError
from tests.pictures import pictures
from tests.tiny_models import save_tiny_classifier, set_in_json


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_classifier(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "tiny")


def load(folder: Path, inference_type: str = "classification", precision: str = "auto"):
    auto_class = {
        "classification": "AutoModelForImageClassification",
        "object-detection": "AutoModelForObjectDetection",
    }
    return load_model(
        folder, inference_type=inference_type, auto_class=auto_class[inference_type], device="cpu", precision=precision
    )


def without_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.1.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def with_code_of_its_own(folder: Path) -> None:
    (folder / "code.py").write_text("raise SystemExit('ran')")
    auto = {"AutoConfig": "code.Config", "AutoModelForImageClassification": "code.ModelForImageClassification"}
    set_in_json(folder / "config.json", model_type="its_own", auto_map=auto)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no model.safetensors"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "can run code"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"cut off"), "the model cannot be loaded"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "image processor"),
        (lambda folder: set_in_json(folder / "config.json", model_type="no-such-thing"), "the model cannot be loaded"),
        (lambda folder: set_in_json(folder / "config.json", hidden_sizes=[8, 8, 8, 8]), "the model cannot be loaded"),
        (without_weight, "lacks weights of 1 parts"),
        (with_code_of_its_own, "code of its own"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_sentence(folder: Path, spoil, complaint: str) -> None:
    spoil(folder)
    with pytest.raises(ModelLoadError, match=complaint) as raised:
        load(folder)
    assert "\n" not in str(raised.value)


def test_a_model_of_another_type_is_named_with_what_it_can_do(folder: Path) -> None:
    with pytest.raises(ModelLoadError, match="ForImageClassification, not a model for object-detection; ask for class"):
        load(folder, "object-detection")
    set_in_json(folder / "config.json", architectures=["ResNetModel"])
    with pytest.raises(ModelLoadError, match="ResNetModel, not a model for classification"):
        load(folder)


def test_precision_is_that_of_the_weights_on_the_device(folder: Path) -> None:
    for precision, dtype in [("auto", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)]:
        network = load(folder, precision=precision).network
        assert next(network.parameters()).dtype == dtype
        assert not network.training


def test_auto_is_whole_precision_on_a_cpu_whatever_the_file_holds(folder: Path) -> None:
    weights = {
        name: w.half() if w.is_floating_point() else w for name, w in load_file(folder / "model.safetensors").items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    set_in_json(folder / "config.json", dtype="float16")
    assert next(load(folder).network.parameters()).dtype == torch.float32
    assert resolve_precision("auto", torch.device("cpu")) == torch.float32
    assert resolve_precision("auto", torch.device("cuda")) == torch.float16


def test_numbers_too_large_for_float16_are_an_error_and_not_an_empty_answer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["classifier.1.weight"] *= 1e6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(folder, precision="bfloat16").forward(pictures(1)).logits.isfinite().all()
    with pytest.raises(OverflowInFloat16Error, match="precision bfloat16"):
        load(folder, precision="float16").forward(pictures(1))


def test_an_answer_that_is_no_number_is_an_error_in_any_precision(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["classifier.1.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for precision in ("float32", "bfloat16"):
        with pytest.raises(NotANumberError, match="its weights are damaged"):
            load(folder, precision=precision).forward(pictures(1))


def test_masked_places_and_outputs_that_nobody_reads_may_be_infinite() -> None:
    masked = torch.tensor([0.5, float("-inf")], dtype=torch.float16)
    read = checked({"logits": masked, "anchors": torch.tensor([float("inf")]), "count": torch.tensor([1])})
    assert read["logits"].dtype == torch.float32
    assert read["count"].dtype == torch.int64
    with pytest.raises(NotANumberError):
        checked({"anchors": torch.tensor([float("nan")])})


def test_a_weight_that_its_part_can_do_without_may_be_missing(tmp_path: Path) -> None:
    """The Swin checkpoints of Mask2Former, MaskFormer and UperNet on the hub lack a normalisation that nobody reads."""
    backbone = SwinConfig(
        embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4, out_features=["stage1", "stage2"]
    )
    config = UperNetConfig(backbone_config=backbone, hidden_size=16, use_auxiliary_head=False, num_labels=3)
    UperNetForSemanticSegmentation(config).save_pretrained(tmp_path)
    SegformerImageProcessorPil().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    unread = [name for name in weights if name.startswith("backbone.swin.layernorm")]
    assert len(unread) == 2
    for name in unread:
        del weights[name]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    options = {"auto_class": "AutoModelForSemanticSegmentation", "device": "cpu", "precision": "auto"}
    load_model(tmp_path, inference_type="semantic-segmentation", **options)
    del weights["backbone.hidden_states_norms.stage1.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match="hidden_states_norms"):
        load_model(tmp_path, inference_type="semantic-segmentation", **options)


def test_loading_is_quiet(folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="models"):
        load(folder)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_pictures_lie_channels_last_where_a_network_convolves_again_and_again() -> None:
    patches = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 4), torch.nn.Conv2d(8, 8, 1), torch.nn.Conv2d(8, 8, 1))
    convolving = torch.nn.Sequential(*(torch.nn.Conv2d(3, 3, 3) for _ in range(3)))
    assert memory_layout(patches) == torch.preserve_format
    assert memory_layout(convolving) == torch.channels_last


def test_the_layout_changes_no_number_of_the_pictures(folder: Path) -> None:
    loaded = load(folder)
    values = loaded.preprocess(pictures(2))["pixel_values"]
    assert values.is_contiguous(memory_format=torch.channels_last)
    plain = Preprocessor(loaded.processor, torch.device("cpu"))(pictures(2))["pixel_values"]
    assert plain.is_contiguous()
    assert torch.equal(values, plain)
