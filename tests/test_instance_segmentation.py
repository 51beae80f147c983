"""Instance segmentation, mask for mask against transformers' own path; random weights, so every query has its say."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import supervision
import torch
import transformers
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from models.instance_segmentation import InstanceSegmentation
from models.request import InferenceParams
from models.vision_model import ModelLoadError
from tests.pictures import pictures
from tests.tiny_models import set_in_json
from tests.tiny_segmenters import INSTANCES, SEGMENTED_CLASSES, save_tiny_segmenter

SCORE, IOU = 1e-3, 0.99
FRAMES = [*pictures(2), *pictures(1, 150, 90, seed=5)]
"""Wide ones, and one that stands upright and is not much larger than what the network sees."""


@pytest.fixture(scope="module", params=list(INSTANCES))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_segmenter(tmp_path_factory.mktemp("models") / "segmenter", INSTANCES[family])


def loaded(folder: Path, **params: Any) -> InstanceSegmentation:
    model = InstanceSegmentation(folder, InferenceParams(**{"confidence": 0, "mask_format": "rle", **params}))
    model.setup("cpu")
    return model


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> InstanceSegmentation:
    return loaded(folder)


@pytest.fixture(scope="module")
def expected(family: str, folder: Path, segmenter: InstanceSegmentation) -> list[dict[str, Any]]:
    """What transformers says of the same frames, one at a time: masks of the instances, or a map of their numbers."""
    if family == "rf_detr":
        processor = segmenter.loaded.processor
        read: Any = post_process_of_rf_detr()
        network = transformers.RfDetrForInstanceSegmentation.from_pretrained(folder).eval()
    else:
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
        read = processor.post_process_instance_segmentation
        network = transformers.AutoModelForUniversalSegmentation.from_pretrained(folder).eval()
    options = {} if family == "eomt" else {"return_binary_maps": True}
    with torch.inference_mode():
        return [
            read(
                network(pixel_values=processor([frame], return_tensors="pt")["pixel_values"]),
                threshold=0,
                target_sizes=[frame.shape[:2]],
                **options,
            )[0]
            for frame in FRAMES
        ]


def post_process_of_rf_detr() -> Any:
    """transformers' own function, taken out of a module that cannot be imported without torchvision."""
    source = Path(transformers.__file__).parent / "models/rf_detr/image_processing_rf_detr.py"
    name = "post_process_instance_segmentation"
    (function,) = (node for node in ast.walk(ast.parse(source.read_text())) if getattr(node, "name", None) == name)
    names = {"torch": torch, "F": torch.nn.functional, "Any": Any}
    exec(compile(ast.Module([function], []), str(source), "exec"), names)
    return lambda *given, **options: names[name](SimpleNamespace(), *given, **options)


def masks_of(element: dict[str, Any]) -> NDArray[np.bool_]:
    """Masks `(n, height, width)` of an element, as supervision reads them."""
    return supervision.Detections.from_inference(element).mask


def overlaps(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Intersection over union of every pair, `(n, m)`."""
    one, other = ours.reshape(len(ours), -1).astype(np.float32), theirs.reshape(len(theirs), -1).astype(np.float32)
    both = one @ other.T
    return both / (one.sum(axis=1)[:, None] + other.sum(axis=1)[None] - both)


def paired(element: dict[str, Any], theirs: dict[str, Any], worst: NDArray[np.float64]) -> tuple[Any, Any]:
    """Pair our predictions with their segments so that no two classes meet; `worst` adds to what a pair costs."""
    segments = theirs["segments_info"]
    found = element["predictions"]
    assert len(found) == len(segments) > 0
    other_class = np.array([[one["class_id"] != other["label_id"] for other in segments] for one in found])
    apart = np.array([[abs(one["confidence"] - other["score"]) for other in segments] for one in found])
    rows, columns = linear_sum_assignment(apart / SCORE + worst + 1e9 * other_class)
    assert not other_class[rows, columns].any(), "classes differ"
    assert apart[rows, columns].max() < SCORE
    return rows, columns


def compare(element: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Hold an element against transformers' answer."""
    ours = masks_of(element)
    wanted = theirs["segmentation"].numpy()
    if wanted.ndim == 3:
        shared = overlaps(ours, wanted.astype(bool))
        rows, columns = paired(element, theirs, (1 - shared) / (1 - IOU))
        assert shared[rows, columns].min() >= IOU
        return
    rows, columns = paired(element, theirs, np.zeros((len(ours), len(ours))))
    canvas = np.full(wanted.shape, -1.0)
    for row in rows[np.argsort(columns)]:
        canvas[ours[row]] = columns[rows == row][0]
    assert (canvas == wanted).mean() > 0.999


def test_equals_transformers_mask_for_mask(segmenter: InstanceSegmentation, expected: list[dict[str, Any]]) -> None:
    for frame, theirs in zip(FRAMES, expected, strict=True):
        (element,) = segmenter.predict([frame])
        assert element["image"] == {"width": frame.shape[1], "height": frame.shape[0]}
        compare(element, theirs)


def test_a_batch_equals_transformers_too(segmenter: InstanceSegmentation, expected: list[dict[str, Any]]) -> None:
    for element, theirs in zip(segmenter.predict(FRAMES[:2]), expected[:2], strict=True):
        compare(element, theirs)


def test_a_shift_by_two_pixels_fails_the_same_comparison(
    segmenter: InstanceSegmentation, expected: list[dict[str, Any]]
) -> None:
    (element,) = segmenter.predict([np.roll(FRAMES[0], 2, axis=1)])
    with pytest.raises(AssertionError):
        compare(element, expected[0])


def test_polygons_and_run_lengths_are_of_the_same_objects(folder: Path, segmenter: InstanceSegmentation) -> None:
    (runs,), (polygons,) = segmenter.predict(FRAMES[2:]), loaded(folder, mask_format="polygon").predict(FRAMES[2:])
    for one, other in zip(runs["predictions"], polygons["predictions"], strict=True):
        assert {**one, "rle": 0, "mask_format": 0} | {"points": 0} == {**other, "rle": 0, "mask_format": 0, "points": 0}
    read = supervision.Detections.from_inference(polygons)
    assert read.mask.shape == (len(polygons["predictions"]), 150, 90)


def test_boxes_hold_their_masks_and_classes_are_named(family: str, segmenter: InstanceSegmentation) -> None:
    (element,) = segmenter.predict(FRAMES[:1])
    read = supervision.Detections.from_inference(element)
    if family != "rf_detr":
        assert np.array_equal(read.xyxy, np.add(supervision.mask_to_xyxy(read.mask), (0, 0, 1, 1)))
    assert [one["class"] for one in element["predictions"]] == [
        SEGMENTED_CLASSES[one["class_id"]] for one in element["predictions"]
    ]


def test_the_surest_come_first_and_no_more_than_asked(folder: Path, segmenter: InstanceSegmentation) -> None:
    everything = segmenter.predict(FRAMES[:1])[0]["predictions"]
    confidences = [one["confidence"] for one in everything]
    assert confidences == sorted(confidences, reverse=True)
    assert loaded(folder, max_detections=3).predict(FRAMES[:1])[0]["predictions"] == everything[:3]
    middle = (confidences[3] + confidences[4]) / 2
    assert loaded(folder, confidence=middle).predict(FRAMES[:1])[0]["predictions"] == everything[:4]
    assert loaded(folder, confidence=1).predict(FRAMES[:1])[0]["predictions"] == []


@pytest.fixture(scope="module")
def mask2former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_segmenter(tmp_path_factory.mktemp("models") / "mask2former")


def test_rf_detr_s_boxes_are_its_own(tmp_path: Path) -> None:
    segmenter = loaded(save_tiny_segmenter(tmp_path / "rf_detr", INSTANCES["rf_detr"]))
    for frame in FRAMES:
        (element,) = segmenter.predict([frame])
        read = supervision.Detections.from_inference(element)
        (theirs,) = transformers.DeformableDetrImageProcessorPil().post_process_object_detection(
            segmenter.loaded.forward([frame]), threshold=0, target_sizes=[frame.shape[:2]], top_k=12
        )
        assert len(read) > 3
        for box, score, class_id in zip(read.xyxy, read.confidence, read.class_id, strict=True):
            same = (theirs["scores"] - score).abs().lt(1e-3) & (theirs["labels"] == int(class_id))
            assert (theirs["boxes"][same] - torch.from_numpy(box)).abs().amax(dim=1).min() < 0.5


def test_half_precision_runs(mask2former: Path) -> None:
    model = InstanceSegmentation(mask2former, InferenceParams(confidence=0), precision="bfloat16")
    model.setup("cpu")
    assert model.predict(FRAMES[:1])[0]["predictions"]


def test_a_processor_of_another_kind_is_refused(mask2former: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(mask2former, tmp_path / "other")
    set_in_json(folder / "preprocessor_config.json", image_processor_type="ViTImageProcessor")
    with pytest.raises(ModelLoadError, match="ViTImageProcessor, whose instances cannot be read; take a model with"):
        loaded(folder)


def test_a_model_of_another_type_is_refused(tmp_path: Path) -> None:
    from tests.tiny_segmenters import save_tiny_semantic

    folder = save_tiny_semantic(tmp_path / "semantic")
    with pytest.raises(ModelLoadError, match="not a model for instance-segmentation; ask for semantic-segmentation"):
        loaded(folder)


@pytest.mark.parametrize("config", ['{"architectures": ["A"]', "[]", '{"model_type": ["x"]}'])
def test_a_configuration_that_tells_no_type_is_refused_in_a_sentence(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelLoadError):
        loaded(tmp_path)
