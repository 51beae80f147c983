"""What models say as columns is what they say as elements, for every inference type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from models.detections import FoundBoxes, rounded_boxes
from models.element_columns import ELEMENT_COLUMNS, ElementShapeError, predicted_rows
from models.inference_types import TYPES, vision_model_class
from models.request import InferenceParams
from models.vision_model import RowsModel
from tests.pictures import pictures
from tests.test_vision_models import PARAMS, SAVE

AS_ROWS = {"object-detection", "instance-segmentation", "keypoint-detection", "classification", "clip-embed-image"}
"""Types that may find many things in a frame, or say many numbers of it."""


def ready(inference_type: str, folder: Path, **params: Any) -> Any:
    made = vision_model_class(inference_type)(
        folder, InferenceParams(**{"confidence": 0, **PARAMS.get(inference_type, {}), **params})
    )
    made.setup("cpu")
    return made


@pytest.mark.parametrize("inference_type", TYPES)
def test_columns_say_what_elements_say(inference_type: str, tmp_path: Path) -> None:
    model, frames = ready(inference_type, SAVE[inference_type](tmp_path / "model")), pictures(3)
    columns = ELEMENT_COLUMNS[inference_type]
    rows = predicted_rows(model, inference_type, frames)
    assert rows.schema.equals(columns.schema())
    assert isinstance(model, RowsModel) == (inference_type in AS_ROWS)
    said = model.predict(frames)
    if inference_type != "gaze-detection":  # whose elements hold times of their own
        assert orjson.dumps(columns.elements(rows)) == orjson.dumps(said)
        assert columns.json_texts(rows) == [orjson.dumps(element) for element in said]


@pytest.mark.parametrize("inference_type", ["object-detection", "keypoint-detection"])
def test_frames_without_objects_have_rows_too(inference_type: str, tmp_path: Path) -> None:
    model = ready(inference_type, SAVE[inference_type](tmp_path / "model"), confidence=1.0)
    rows = predicted_rows(model, inference_type, pictures(2))
    assert [element["predictions"] for element in ELEMENT_COLUMNS[inference_type].elements(rows)] == [[], []]


def test_boxes_of_a_batch_stay_with_their_frames_the_surest_first() -> None:
    frames = [
        FoundBoxes(np.array([0.5, 0.9, 0.7]), np.array([2, 0, 1]), np.arange(12.0).reshape(3, 4)),
        FoundBoxes(np.zeros(0), np.zeros(0, np.int64), np.zeros((0, 4))),
        FoundBoxes(np.array([0.25]), np.array([7]), np.array([[0.0, 0.0, 1.00049, 3.0]])),
    ]
    boxes = rounded_boxes(frames, 2)
    assert boxes.counts.tolist() == [2, 0, 1]
    assert boxes.confidences.tolist() == [0.9, 0.7, 0.25]
    assert boxes.places.tolist() == [[5.0, 6.0, 2.0, 2.0], [9.0, 10.0, 2.0, 2.0], [0.5, 1.5, 1.0, 3.0]]
    assert boxes.columns(("a", "b", "c"))["class"].to_pylist() == ["a", "b", "7"]
    kept = boxes.where(np.array([False, True, True]))
    assert kept.counts.tolist() == [1, 0, 1]
    assert kept.class_ids.tolist() == [1, 7]


def test_a_model_that_forgets_a_frame_is_told(tmp_path: Path) -> None:
    model = ready("semantic-segmentation", SAVE["semantic-segmentation"](tmp_path / "model"))
    forgetful = type("Forgetful", (), {"predict": lambda self, frames: model.predict(frames[1:])})()
    with pytest.raises(ElementShapeError, match="1 elements for 2 frames"):
        predicted_rows(forgetful, "semantic-segmentation", pictures(2))
