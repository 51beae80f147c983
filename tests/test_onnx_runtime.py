"""Networks in ONNX: any number of rows through whatever batch they were exported with, and every way to be broken."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.onnx_runtime import OnnxNetwork, OnnxRunError
from models.vision_model import ModelLoadError
from tests.onnx_networks import NetworkBuilder, save_classifier, save_with_weights_in


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(5).random((count, 3, 64, 64), dtype=np.float32)


def test_a_network_of_any_batch_takes_all_rows_at_once(tmp_path: Path) -> None:
    network = OnnxNetwork(save_classifier(tmp_path / "a.onnx", 5), "cpu")
    picture = network.inputs["picture"]
    assert (picture.shape, picture.dtype) == ((None, 3, 64, 64), np.float32)
    assert network.run({"picture": rows(3)})["logits"].shape == (3, 5)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_gives_the_same_for_every_row(tmp_path: Path, batch: int) -> None:
    free = OnnxNetwork(save_classifier(tmp_path / "free.onnx", 5), "cpu")
    fixed = OnnxNetwork(save_classifier(tmp_path / "fixed.onnx", 5, shape=(batch, 3, 64, 64)), "cpu")
    for count in (1, 3, 4, 6):
        expected = free.run({"picture": rows(count)})["logits"]
        assert len(expected) == count
        assert fixed.run({"picture": rows(count)})["logits"] == pytest.approx(expected, abs=1e-6)


def test_half_precision_goes_in_and_single_precision_comes_out(tmp_path: Path) -> None:
    net = NetworkBuilder()
    net.node("Mul", "picture", net.weight(np.float16(0.5)), output="half")
    network = OnnxNetwork(net.save(tmp_path / "half.onnx", ["half"], dtype=TensorProto.FLOAT16), "cpu")
    output = network.run({"picture": rows(2)})["half"]
    assert output.dtype == np.float32
    assert output == pytest.approx(rows(2) / 2, abs=1e-3)


def test_numbers_that_are_none_are_an_error_not_a_result(tmp_path: Path) -> None:
    net = NetworkBuilder()
    net.node("Sqrt", "picture", output="roots")
    network = OnnxNetwork(net.save(tmp_path / "roots.onnx", ["roots"]), "cpu")
    network.run({"picture": rows(1)})
    with pytest.raises(OnnxRunError, match=r"roots\.onnx gives numbers that are none \(NaN\) in roots"):
        network.run({"picture": -rows(1)})


def test_pictures_of_a_wrong_shape_are_told_by_onnxruntime(tmp_path: Path) -> None:
    network = OnnxNetwork(save_classifier(tmp_path / "a.onnx", 5), "cpu")
    with pytest.raises(OnnxRunError, match=r"a\.onnx did not run through: .*picture") as told:
        network.run({"picture": rows(1)[:, :, :32]})
    assert "\n" not in str(told.value)


def test_an_output_without_a_row_for_each_frame_is_refused(tmp_path: Path) -> None:
    net = NetworkBuilder()
    net.node("ReduceMean", "picture", keepdims=0, output="mean")
    network = OnnxNetwork(net.save(tmp_path / "mean.onnx", ["mean"]), "cpu")
    with pytest.raises(OnnxRunError, match=r"gives mean as \(\) for 2 frames; export it with one batch axis"):
        network.run({"picture": rows(2)})


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x09" * 500])
def test_what_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"broken\.onnx cannot be loaded by onnxruntime: "):
        OnnxNetwork(path, "cpu")


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = save_classifier(tmp_path / "cut.onnx", 5)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelLoadError, match=r"cut\.onnx cannot be loaded"):
        OnnxNetwork(path, "cpu")


def test_operators_that_need_a_library_of_their_own_are_refused(tmp_path: Path) -> None:
    net = NetworkBuilder()
    net.node("Decode", "picture", output="boxes", domain="somebody.else")
    path = net.save(tmp_path / "own.onnx", ["boxes"])
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("somebody.else", 1))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelLoadError, match=r"own\.onnx cannot be loaded by onnxruntime: .*Decode"):
        OnnxNetwork(path, "cpu")


def test_weights_in_a_file_beside_it_are_read(tmp_path: Path) -> None:
    path = save_with_weights_in(tmp_path / "big.onnx", "big.onnx.data")
    expected = OnnxNetwork(save_classifier(tmp_path / "whole.onnx", 5), "cpu").run({"picture": rows(1)})["logits"]
    assert OnnxNetwork(path, "cpu").run({"picture": rows(1)})["logits"] == pytest.approx(expected)


def test_weights_outside_its_folder_are_never_read(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for location in ("../secret.data", str(tmp_path / "secret.data")):
        with pytest.raises(ModelLoadError, match=r"big\.onnx cannot be loaded"):
            OnnxNetwork(save_with_weights_in(tmp_path / "model" / "big.onnx", location), "cpu")


def test_cuda_that_is_not_there_is_told_once_and_the_cpu_does_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with caplog.at_level(logging.WARNING):
        network = OnnxNetwork(save_classifier(tmp_path / "a.onnx", 5), "cuda:0")
    assert "onnxruntime-gpu" in caplog.text
    assert network.run({"picture": rows(1)})["logits"].shape == (1, 5)
