"""What every model type promises, whichever it is: one suite over all entries of TYPES."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import supervision

from models.inference_types import TYPES, vision_model_class
from models.request import InferenceParams
from models.vision_model import ModelLoadError, VisionModel
from tests.onnx_networks import save_tiny_gaze
from tests.pictures import pictures
from tests.tiny_clip import save_tiny_clip
from tests.tiny_models import save_tiny_classifier, save_tiny_detector
from tests.tiny_pose import save_tiny_pose
from tests.tiny_segmenters import save_tiny_segmenter, save_tiny_semantic

SAVE = {
    "object-detection": save_tiny_detector,
    "instance-segmentation": save_tiny_segmenter,
    "semantic-segmentation": save_tiny_semantic,
    "classification": save_tiny_classifier,
    "keypoint-detection": save_tiny_pose,
    "gaze-detection": save_tiny_gaze,
    "clip-embed-image": save_tiny_clip,
    "clip-compare": save_tiny_clip,
}
"""How the tests get a tiny model of each type: a new type adds its own."""
PARAMS = {"clip-compare": {"prompts": {"star": "a red star", "street": "an empty street"}, "zero_shot": True}}
"""What a request of that type has beside `confidence`."""
APART = {"keypoint-detection": 0.5}
"""How far a number may be from that of the frame alone: on the flat maps of random weights the refined place of a point
is the quotient of two small numbers, and half a pixel is what results are held to."""
BOXES = ["object-detection", "instance-segmentation", "keypoint-detection"]
"""Types whose elements supervision reads as detections."""


@pytest.fixture(scope="module", params=list(TYPES))
def inference_type(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(inference_type: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SAVE[inference_type](tmp_path_factory.mktemp("models") / inference_type)


@pytest.fixture(scope="module")
def model(inference_type: str, folder: Path) -> VisionModel:
    model = vision_model_class(inference_type)(folder, InferenceParams(confidence=0, **PARAMS.get(inference_type, {})))
    model.setup("cpu")
    return model


def numbers(value: object) -> list[float]:
    """Every number in an element, in order."""
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [float(value)] if isinstance(value, (int, float)) else []


def said(model: VisionModel, frames: list[np.ndarray]) -> list[object]:
    """The elements of the frames, without how long parts of the work took."""
    return [
        {key: value for key, value in element.items() if not key.startswith("time_")}
        if isinstance(element, dict)
        else element
        for element in model.predict(frames)
    ]


def test_the_constructor_reads_nothing(inference_type: str, tmp_path: Path) -> None:
    model = vision_model_class(inference_type)(tmp_path / "missing", InferenceParams())
    with pytest.raises(ModelLoadError, match=r"config\.json|reelmill\.yaml"):
        model.setup("cpu")


def test_it_is_made_as_the_protocol_says(inference_type: str) -> None:
    made = vision_model_class(inference_type)
    for name in ("__init__", "setup", "predict"):
        ours, protocol = (inspect.signature(getattr(cls, name)).parameters for cls in (made, VisionModel))
        assert [(p.name, p.kind, p.default) for p in ours.values()] == [
            (p.name, p.kind, p.default) for p in protocol.values()
        ]


def test_a_batch_says_of_each_frame_what_it_says_of_it_alone(inference_type: str, model: VisionModel) -> None:
    frames = pictures(4)
    together, alone = said(model, frames), [said(model, [frame])[0] for frame in frames]
    assert len(together) == 4
    for one, other in zip(together, alone, strict=True):
        assert np.allclose(sorted(numbers(one)), sorted(numbers(other)), rtol=0, atol=APART.get(inference_type, 0.01))
    assert together[0] != together[1]


def test_the_same_batch_twice_is_the_same(model: VisionModel) -> None:
    frames = pictures(2)
    assert said(model, frames) == said(model, frames)


def test_frames_are_left_as_they_are(model: VisionModel) -> None:
    frames = pictures(1)
    before = frames[0].copy()
    frames[0].setflags(write=False)
    model.predict(frames)
    assert np.array_equal(frames[0], before)


def test_elements_hold_plain_python_values_and_neither_time_nor_ids(model: VisionModel) -> None:
    def check(value: object) -> None:
        assert type(value) in (dict, list, str, float, int), type(value)
        if isinstance(value, dict):
            assert not {"time", "detection_id"} & value.keys()
            for item in value.values():
                check(item)
        elif isinstance(value, list):
            for item in value:
                check(item)

    for element in model.predict(pictures(2)):
        check(element)


@pytest.mark.parametrize("inference_type", BOXES, indirect=True)
def test_supervision_reads_elements_with_boxes(model: VisionModel) -> None:
    (element,) = model.predict(pictures(1))
    read = supervision.Detections.from_inference(element)
    first = element["predictions"][0]
    assert len(read) == len(element["predictions"])
    assert read.xyxy[0] == pytest.approx(
        [
            first["x"] - first["width"] / 2,
            first["y"] - first["height"] / 2,
            first["x"] + first["width"] / 2,
            first["y"] + first["height"] / 2,
        ],
        abs=1e-3,
    )
    assert read.confidence[0] == pytest.approx(first["confidence"])
    assert (read.class_id[0], read.data["class_name"][0]) == (first["class_id"], first["class"])
