"""Detectors of many families, box for box against transformers' own path; random weights, every query compared."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import supervision
import torch
from torch.nn.functional import interpolate
from transformers import AutoImageProcessor, AutoModelForObjectDetection

from models.object_detection import ObjectDetection
from models.prompts import UnusedPromptsError
from models.request import InferenceParams
from models.vision_model import Frame
from tests.pictures import pictures
from tests.test_object_detection import BOX_PX, SCORE, worst_differences
from tests.tiny_detectors import DETECTORS, SIDE_PX, save_tiny

SHAPES = {"landscape": pictures(3, 144, 232), "portrait": pictures(3, 210, 160)}


@pytest.fixture(scope="module", params=DETECTORS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp(request.param) / "model", DETECTORS[request.param]())


def set_up(folder: Path, **params: Any) -> ObjectDetection:
    model = ObjectDetection(folder, InferenceParams(**{"confidence": 0, **params}))
    model.setup("cpu")
    return model


def transformers_own(folder: Path, frames: list[Frame]) -> list[dict]:
    """What transformers says of the frames, one at a time."""
    network = AutoModelForObjectDetection.from_pretrained(folder).eval()
    if network.config.model_type == "rf_detr":
        return [rf_detr_own(network, frame) for frame in frames]
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.inference_mode():
        return [
            processor.post_process_object_detection(
                network(**processor([frame], return_tensors="pt")), threshold=0, target_sizes=[frame.shape[:2]]
            )[0]
            for frame in frames
        ]


def rf_detr_own(network: Any, frame: Frame) -> dict:
    """As in RfDetrImageProcessor, which needs torchvision: rescaled first, then resized in floats without antialias."""
    values = torch.from_numpy(frame).permute(2, 0, 1)[None] * (1 / 255)
    values = interpolate(values, size=(SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    values = (values - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    with torch.inference_mode():
        outputs = network(pixel_values=values, pixel_mask=torch.ones((1, SIDE_PX, SIDE_PX), dtype=torch.int64))
    queries, classes = outputs.logits.shape[1:]
    scores, pairs = outputs.logits.sigmoid().flatten().sort(descending=True)
    scores, pairs = scores[:queries], pairs[:queries]
    x, y, width, height = (outputs.pred_boxes[0, pairs // classes] * torch.tensor([*frame.shape[1::-1]] * 2)).unbind(-1)
    corners = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=-1)
    return {"scores": scores, "labels": pairs % classes, "boxes": corners}


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_transformers_box_for_box(folder: Path, shape: str) -> None:
    frames = SHAPES[shape]
    box, score = worst_differences(set_up(folder).predict(frames), transformers_own(folder, frames))
    assert box < BOX_PX
    assert score < SCORE


def test_another_picture_gives_other_boxes(folder: Path) -> None:
    """Else two networks that see nothing would agree as well."""
    one, other = set_up(folder).predict(SHAPES["landscape"][:2])
    (expected,) = transformers_own(folder, SHAPES["landscape"][1:2])
    assert worst_differences([other], [expected])[0] < BOX_PX
    try:
        box, _ = worst_differences([one], [expected])
    except AssertionError:
        return
    assert box > 10 * BOX_PX


def test_supervision_takes_the_element(folder: Path) -> None:
    element = set_up(folder, confidence=0.05).predict(SHAPES["portrait"][:1])[0]
    taken = supervision.Detections.from_inference(element)
    assert len(taken) == len(element["predictions"])


def test_prompts_for_a_detector_with_classes_of_its_own_are_refused(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model", DETECTORS["yolos"]())
    with pytest.raises(UnusedPromptsError, match="takes no prompts"):
        set_up(folder, prompts=["a red car"])


def test_rf_detr_gives_its_instances_too(tmp_path: Path) -> None:
    """Masks of the queries that are sure, each its own; the processor of transformers needs torchvision."""
    from models.image_processors import load_image_processor

    processor = load_image_processor(save_tiny(tmp_path / "model", DETECTORS["rf_detr"]()))
    masks = torch.full((1, 3, 8, 8), -1.0)
    masks[0, 1, :, :4] = 1.0
    masks[0, 2, :4] = 1.0
    logits = torch.tensor([[[-9.0, 4.0], [3.0, -9.0], [-9.0, 2.0]]])
    outputs = {"logits": logits, "pred_masks": masks}
    (found,) = processor.post_process_instance_segmentation(outputs, threshold=0.5, target_sizes=[(16, 32)])
    assert [(one["label_id"], round(one["score"], 3)) for one in found["segments_info"]] == [(0, 0.953), (1, 0.881)]
    assert found["segmentation"].shape == (2, 16, 32)
    assert found["segmentation"][0, :, :15].all()
    assert not found["segmentation"][0, :, 17:].any()
    (nothing,) = processor.post_process_instance_segmentation(outputs, threshold=0.99, target_sizes=[(16, 32)])
    assert (nothing["segmentation"].shape, nothing["segments_info"]) == ((0, 16, 32), [])
    best = processor.post_process_object_detection(
        NamedOutputs(logits=logits, pred_boxes=torch.full((1, 3, 4), 0.5)), 0.5, [(16, 32)]
    )
    assert best[0]["labels"].tolist() == [1, 0, 1]


class NamedOutputs(SimpleNamespace):
    """Outputs by attribute and by name, as transformers gives them."""

    def __getitem__(self, name: str) -> torch.Tensor:
        return getattr(self, name)
