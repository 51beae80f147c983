"""Classifiers and embedders in ONNX, through the types that users ask for, against onnxruntime's plain path."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from models.classification import Classification
from models.clip import ClipEmbedImage
from models.onnx_runtime import OnnxRunError
from models.request import InferenceParams
from models.vision_model import ModelLoadError
from tests.onnx_networks import NetworkBuilder, save_classifier, write_card
from tests.pictures import pictures

CLASSIFIER = "inference_type: classification\ninput: {scale: 1/255}\n"
EMBEDDER = "{inference_type: clip-embed-image, output: embedding, input: {scale: 1/255}}"


def plain(path: Path, frame: np.ndarray) -> np.ndarray:
    values = cv2.resize(frame, (64, 64)).transpose(2, 0, 1)[None].astype(np.float32) / 255
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"picture": values})[0][0].astype(np.float64)


def classifier(folder: Path, **params: object) -> Classification:
    model = Classification(folder, InferenceParams(**params))
    model.setup("cpu")
    return model


def test_one_label_is_the_softmax_of_the_plain_path(tmp_path: Path) -> None:
    path = save_classifier(
        write_card(tmp_path, CLASSIFIER + "output: logits\nclasses: [red, green, blue]") / "x.onnx", 3
    )
    frames = pictures(3)
    tops = set()
    for frame, element in zip(frames, classifier(tmp_path).predict(frames), strict=True):
        logits = plain(path, frame)
        expected = np.exp(logits) / np.exp(logits).sum()
        scores = {one["class_id"]: one["confidence"] for one in element["predictions"]}
        assert [scores[index] for index in range(3)] == pytest.approx(expected, abs=1e-5)
        assert element["top"] == ("red", "green", "blue")[expected.argmax()]
        tops.add(element["confidence"])
    assert len(tops) == 3
    assert len(classifier(tmp_path, top_k=1).predict(frames[:1])[0]["predictions"]) == 1


def test_many_labels_are_sigmoids(tmp_path: Path) -> None:
    card = CLASSIFIER + "output: {decode: logits, activation: sigmoid}\nclasses: [red, green, blue]"
    path = save_classifier(write_card(tmp_path, card) / "x.onnx", 3)
    (frame,) = pictures(1)
    (element,) = classifier(tmp_path, confidence=0.5).predict([frame])
    expected = 1 / (1 + np.exp(-plain(path, frame)))
    assert [one["confidence"] for one in element["predictions"].values()] == pytest.approx(expected, abs=1e-5)
    assert set(element["predicted_classes"]) == {
        name for name, score in zip(("red", "green", "blue"), expected, strict=True) if score >= 0.5
    }


def test_scores_that_are_scores_already_stay(tmp_path: Path) -> None:
    card = CLASSIFIER + "output: {decode: logits, activation: none}\nclasses: [red, green, blue]"
    path = save_classifier(write_card(tmp_path, card) / "x.onnx", 3)
    (frame,) = pictures(1)
    (element,) = classifier(tmp_path).predict([frame])
    assert element["confidence"] == pytest.approx(plain(path, frame).max(), abs=1e-5)


def test_classes_without_names_are_called_by_number(tmp_path: Path) -> None:
    save_classifier(write_card(tmp_path, CLASSIFIER + "output: logits") / "x.onnx", 3)
    (element,) = classifier(tmp_path).predict(pictures(1))
    assert {one["class"] for one in element["predictions"]} == {"0", "1", "2"}


def test_more_scores_than_names_are_told(tmp_path: Path) -> None:
    save_classifier(write_card(tmp_path, CLASSIFIER + "output: logits\nclasses: [a, b]") / "x.onnx", 3)
    with pytest.raises(OnnxRunError, match=r"gives 3 scores, and the card has 2 classes"):
        classifier(tmp_path).predict(pictures(1))


def test_an_embedding_is_the_networks_own(tmp_path: Path) -> None:
    path = save_classifier(write_card(tmp_path, EMBEDDER) / "x.onnx", 48)
    model = ClipEmbedImage(tmp_path, InferenceParams())
    model.setup("cpu")
    frames = pictures(2)
    for frame, element in zip(frames, model.predict(frames), strict=True):
        expected = plain(path, frame)
        assert all(type(number) is float for number in element)
        cosine = np.dot(element, expected) / np.linalg.norm(element) / np.linalg.norm(expected)
        assert cosine > 0.99999
        assert np.linalg.norm(element) == pytest.approx(np.linalg.norm(expected), rel=1e-4)


def test_a_map_is_no_list_of_scores(tmp_path: Path) -> None:
    net = NetworkBuilder()
    net.conv("picture", 4, 8)
    net.save(write_card(tmp_path, CLASSIFIER + "output: logits") / "x.onnx", [net.nodes[-1].output[0]])
    with pytest.raises(OnnxRunError, match=r"has the shape \(1, 4, 8, 8\); \(n, numbers\) was to be expected"):
        classifier(tmp_path).predict(pictures(1))


def test_a_network_with_several_inputs_is_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    path = save_classifier(write_card(tmp_path, CLASSIFIER + "output: logits") / "x.onnx", 3)
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("text", TensorProto.FLOAT, ["n", 3]))
    model.graph.node.append(helper.make_node("Identity", ["text"], ["again"]))
    model.graph.output.append(helper.make_empty_tensor_value_info("again"))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelLoadError, match=r"takes picture, text; only networks with one picture in can be run"):
        classifier(tmp_path)


def test_a_folder_whose_network_is_none_fails_at_setup(tmp_path: Path) -> None:
    (write_card(tmp_path, CLASSIFIER + "output: logits") / "x.onnx").write_bytes(b"no network")
    with pytest.raises(ModelLoadError, match=r"x\.onnx cannot be loaded by onnxruntime"):
        classifier(tmp_path)
