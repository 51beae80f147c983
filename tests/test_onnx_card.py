"""Model cards: what they may say, what they need not say, and what is said of those that cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.class_lists import COCO_80, COCO_91
from models.onnx_card import GazeCard, OnnxCard, OnnxCardError, parse_card
from models.onnx_folder import class_names, is_onnx_folder, network_files, read_card
from tests.onnx_networks import write_card

DETECTOR = "inference_type: object-detection\n"


def test_a_short_card_prepares_frames_as_the_authors_do() -> None:
    card = parse_card(DETECTOR + "output: yolo")
    assert isinstance(card, OnnxCard)
    assert (card.input.resize, card.input.place, card.input.colour) == ("letterbox", "centre", "rgb")
    assert card.input.scale == pytest.approx(1 / 255)
    yolox = parse_card(DETECTOR + "output: yolox")
    assert isinstance(yolox, OnnxCard)
    assert (yolox.input.place, yolox.input.colour, yolox.input.scale) == ("top-left", "bgr", 1)


def test_what_the_card_says_overrules_the_authors() -> None:
    card = parse_card(DETECTOR + "output: {decode: yolo}\ninput: {resize: stretch, scale: 1, size: [32, 48]}")
    assert isinstance(card, OnnxCard)
    assert (card.input.resize, card.input.scale, card.input.size) == ("stretch", 1, (32, 48))


def test_classifiers_have_many_labels_where_the_card_or_a_sigmoid_says_so() -> None:
    def many(output: str) -> bool:
        card = parse_card(f"inference_type: classification\noutput: {output}")
        assert isinstance(card, OnnxCard)
        return card.output.many_labels

    assert not many("logits")
    assert many("{decode: logits, activation: sigmoid}")
    assert not many("{decode: logits, activation: sigmoid, labels: one}")
    assert many("{decode: logits, activation: none, labels: many}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("inference_type: [", "is not YAML"),
        ("- a\n- b", "is no list of fields"),
        ("inference_type: tracking", "inference_type is 'tracking'; take one of: object-detection"),
        (DETECTOR, "output"),
        (DETECTOR + "output: logits", "cannot be read by 'logits'; take detections or yolox or yolo"),
        (DETECTOR + "output: darknet", "output.decode"),
        (DETECTOR + "output: detections", "output: detections need the names of the outputs"),
        (DETECTOR + "output: yolo\nfile: ../weights.onnx", "file: String should match"),
        (DETECTOR + "output: yolo\nfile: /etc/weights.onnx", "file: String should match"),
        (DETECTOR + "output: yolo\ninput: {colour: grey}", "input.colour"),
        (DETECTOR + "output: yolo\ninput: {scale: 1/0}", "input.scale: '1/0' is no number"),
        (DETECTOR + "output: yolo\ninput: {mean: [1, 2]}", "input.mean: give one number, or one for each"),
        (DETECTOR + "output: yolo\ninput: {std: [1, 0, 1]}", "input.std: a standard deviation cannot be 0"),
        (DETECTOR + "output: yolo\ninput: {size: [640]}", "input.size"),
        (DETECTOR + "output: yolo\ncolor: rgb", "color: Extra inputs"),
        ("inference_type: gaze-detection\nfaces: a.onnx\ngaze: {estimator: eyes}", "estimator"),
        ("inference_type: gaze-detection\nfaces: a.onnx\ngaze: {estimator: l2cs, file: ../a.onnx}", "gaze.l2cs.file"),
    ],
)
def test_a_card_that_cannot_be_meant_is_refused_with_the_field(text: str, told: str) -> None:
    with pytest.raises(OnnxCardError, match=r"reelmill\.yaml") as refused:
        parse_card(text)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_only_network_of_a_folder_need_not_be_named(tmp_path: Path) -> None:
    folder = write_card(tmp_path, DETECTOR + "output: yolo")
    with pytest.raises(OnnxCardError, match=r"holds none; say which with file"):
        read_card(folder)
    (folder / "best.onnx").touch()
    card = read_card(folder)
    assert network_files(card, ["best.onnx", "reelmill.yaml"]) == ("best.onnx",)
    (folder / "worst.onnx").touch()
    with pytest.raises(OnnxCardError, match=r"holds 2 of them \(best\.onnx, worst\.onnx\)"):
        read_card(folder)


def test_a_file_that_the_card_names_must_be_there(tmp_path: Path) -> None:
    folder = write_card(tmp_path, DETECTOR + "output: yolo\nfile: weights.onnx")
    with pytest.raises(OnnxCardError, match=r"names weights\.onnx, which the model's folder does not hold"):
        read_card(folder)
    gaze = write_card(
        tmp_path / "gaze", "inference_type: gaze-detection\nfaces: f.onnx\ngaze: {estimator: l2cs, file: g.onnx}"
    )
    (gaze / "f.onnx").touch()
    with pytest.raises(OnnxCardError, match=r"names g\.onnx"):
        read_card(gaze)
    (gaze / "g.onnx").touch()
    assert isinstance(read_card(gaze), GazeCard)


def test_a_folder_without_a_card_is_none_of_ours(tmp_path: Path) -> None:
    assert not is_onnx_folder(tmp_path)
    with pytest.raises(OnnxCardError, match=r"holds no reelmill\.yaml"):
        read_card(tmp_path)


def test_classes_are_a_list_a_file_or_a_known_list(tmp_path: Path) -> None:
    def names(classes: str) -> tuple[str, ...]:
        card = parse_card(f"{DETECTOR}output: yolo\n{classes}")
        assert isinstance(card, OnnxCard)
        return class_names(card, tmp_path)

    (tmp_path / "labels.txt").write_text("cat\ndog \n\n", "utf-8")
    assert names("") == ()
    assert names("classes: [cat, dog]") == names("classes: labels.txt") == ("cat", "dog")
    assert names("classes: coco80") == COCO_80
    for classes in ("classes: nowhere.txt", "classes: ../labels.txt", f"classes: {tmp_path}/labels.txt"):
        with pytest.raises(OnnxCardError, match=r"take coco80 or coco91"):
            names(classes)


def test_the_lists_of_coco_are_cocos() -> None:
    assert (len(COCO_80), len(COCO_91)) == (80, 91)
    assert (COCO_80[0], COCO_80[56], COCO_80[79]) == ("person", "chair", "toothbrush")
    assert (COCO_91[1], COCO_91[62], COCO_91[90]) == ("person", "chair", "toothbrush")
