"""Semantic segmentation, pixel for pixel against transformers' own path, with random weights and with real ones."""

from __future__ import annotations

import json
from base64 import b64decode
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from models.class_maps import class_map
from models.frame_patches import patch_spans
from models.request import InferenceParams
from models.semantic_segmentation import SemanticSegmentation
from models.transformers_loading import NotANumberError
from models.vision_model import Frame, ModelLoadError
from tests.pictures import pictures
from tests.requirements import assets, needs
from tests.tiny_models import set_in_json
from tests.tiny_segmenters import SEGMENTED_CLASSES, SEMANTIC, save_tiny_segmenter, save_tiny_semantic

IOU, SAME_PIXELS = 0.99, 0.999
FRAMES = [*pictures(2), *pictures(1, 150, 90, seed=5)]
"""Wide ones, and one that stands upright and is not much larger than what the network sees."""


def loaded(folder: Path) -> SemanticSegmentation:
    model = SemanticSegmentation(folder, InferenceParams())
    model.setup("cpu")
    return model


def read_png(text: str) -> NDArray[np.uint8]:
    return cv2.imdecode(np.frombuffer(b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)


def reference(folder: Path, frames: list[Frame]) -> list[tuple[NDArray, NDArray]]:
    """What transformers says of each frame: class ids `(height, width)`, and how sure it is of them, 0 to 1."""
    (architecture,) = json.loads((folder / "config.json").read_text())["architectures"]
    network = getattr(transformers, architecture).from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    said = []
    for frame in frames:
        with torch.inference_mode():
            outputs = network(**processor([frame], return_tensors="pt"))
        (one,) = processor.post_process_semantic_segmentation(
            outputs, target_sizes=[frame.shape[:2]], return_segmentation_scores=True
        )
        scores = one.segmentation_scores
        sure = scores.softmax(dim=0) if "Semantic" in architecture else scores.clamp(max=1)
        said.append((one.segmentation.numpy(), sure.amax(dim=0).numpy()))
    return said


def compare(element: dict[str, Any], wanted: NDArray, sure: NDArray) -> None:
    """Hold an element's map, its confidence and its list of classes against transformers' answer."""
    masks = element["predictions"]
    ours = read_png(masks["segmentation_mask"])
    assert ours.shape == wanted.shape
    assert masks["present_class_ids"] == np.unique(wanted).tolist()
    for class_id in np.unique(wanted):
        one, other = ours == class_id, wanted == class_id
        assert (one ^ other).sum() <= max(1, (1 - IOU) * (one | other).sum())
    assert (ours == wanted).mean() >= SAME_PIXELS
    assert np.abs(read_png(masks["confidence_mask"]) - sure * 255).max() < 1


@pytest.fixture(scope="module", params=list(SEMANTIC))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_segmenter(tmp_path_factory.mktemp("models") / "segmenter", SEMANTIC[request.param])


def test_equals_transformers_pixel_for_pixel(folder: Path) -> None:
    segmenter, expected = loaded(folder), reference(folder, FRAMES)
    elements = [*segmenter.predict(FRAMES[:2]), *segmenter.predict(FRAMES[2:])]
    for frame, element, theirs in zip(FRAMES, elements, expected, strict=True):
        assert element["image"] == {"width": frame.shape[1], "height": frame.shape[0]}
        compare(element, *theirs)
    assert len(set(np.concatenate([one["predictions"]["present_class_ids"] for one in elements]))) > 1
    alone = segmenter.predict(FRAMES[1:2])[0]["predictions"]["segmentation_mask"]
    together = elements[1]["predictions"]["segmentation_mask"]
    assert (read_png(alone) == read_png(together)).mean() >= SAME_PIXELS


@pytest.fixture(scope="module")
def segformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_semantic(tmp_path_factory.mktemp("models") / "segformer")


def test_a_shift_by_two_pixels_fails_the_same_comparison(segformer: Path) -> None:
    (element,) = loaded(segformer).predict([np.roll(FRAMES[0], 2, axis=1)])
    with pytest.raises(AssertionError):
        compare(element, *reference(segformer, FRAMES[:1])[0])


def test_every_class_is_named_whether_it_is_there_or_not(segformer: Path) -> None:
    for element in loaded(segformer).predict(FRAMES[:2]):
        assert element["predictions"]["class_map"] == {str(i): name for i, name in enumerate(SEGMENTED_CLASSES)}


def test_half_precision_runs(segformer: Path) -> None:
    model = SemanticSegmentation(segformer, InferenceParams(), precision="bfloat16")
    model.setup("cpu")
    assert model.predict(FRAMES[:1])[0]["predictions"]["present_class_ids"]


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("classes_at_once", [1, 3, 7])
def test_class_maps_are_the_same_however_many_classes_are_looked_at_together(
    classes_at_once: int, softmax: bool
) -> None:
    logits = torch.randn(7, 12, 16, generator=torch.Generator().manual_seed(1)) * 3
    scores = logits if softmax else logits.sigmoid()
    size = (45, 80)
    whole = torch.nn.functional.interpolate(scores[None], size=size, mode="bilinear")[0]
    got = class_map(scores, size, softmax=softmax, block_values=classes_at_once * 45 * 80)
    assert np.array_equal(got.class_ids, whole.argmax(dim=0).numpy())
    sure = (whole.softmax(dim=0) if softmax else whole).amax(dim=0)
    assert np.abs(got.confidence - sure.numpy() * 255).max() < 0.51


def test_confidence_is_at_most_one() -> None:
    got = class_map(torch.full((2, 3, 3), 1.5), (6, 6), softmax=False)
    assert (got.confidence == 255).all()


@pytest.mark.parametrize("size", [(64, 64), (64, 65), (64, 114), (64, 640), (150, 64), (64, 128)])
def test_patches_lie_where_the_processor_cuts_them(size: tuple[int, int]) -> None:
    edges = {"shortest_edge": 64, "longest_edge": None}
    processor = transformers.EomtImageProcessorPil(size=edges, do_split_image=True)
    theirs = processor([np.zeros((*size, 3), np.uint8)], return_tensors="pt")["patch_offsets"]
    assert patch_spans(size, 64) == [(int(start), int(stop)) for _, start, stop in theirs]


def test_more_classes_than_a_png_file_holds_are_refused(tmp_path: Path) -> None:
    def many() -> Any:
        network, processor = SEMANTIC["segformer"]()
        network.config.num_labels = 257
        return type(network)(network.config), processor

    folder = save_tiny_segmenter(tmp_path / "many", many)
    with pytest.raises(ModelLoadError, match="257 classes; a map of classes has 8 bits for each pixel"):
        loaded(folder)


@pytest.mark.parametrize("family", ["segformer", "mask2former"])
def test_scores_that_are_no_numbers_are_not_drawn_as_classes(family: str, tmp_path: Path) -> None:
    folder = save_tiny_segmenter(tmp_path / family, SEMANTIC[family])
    weights = load_file(folder / "model.safetensors")
    heads = {name: value * torch.nan for name, value in weights.items() if value.dim() and len(value) in (6, 7)}
    save_file({**weights, **heads}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(NotANumberError, match="no number"):
        loaded(folder).predict(FRAMES[:1])


def test_a_processor_whose_masks_cannot_be_read_is_refused(tmp_path: Path) -> None:
    folder = save_tiny_segmenter(tmp_path / "mask2former")
    set_in_json(folder / "preprocessor_config.json", image_processor_type="ViTImageProcessor")
    with pytest.raises(ModelLoadError, match="ViTImageProcessor, whose masks cannot be read"):
        loaded(folder)


@needs("assets")
def test_deeplab_says_what_transformers_says_of_a_street() -> None:
    folder = assets() / "models/semantic-deeplabv3-mnv2-hf"
    with av.open(assets() / "videos/bikes.mp4") as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in islice(video.decode(video=0), 30, 121, 90)]
    elements = loaded(folder).predict(frames)
    for element, theirs in zip(elements, reference(folder, frames), strict=True):
        compare(element, *theirs)
    said = [element["predictions"] for element in elements]
    seen = [{one["class_map"][str(class_id)] for class_id in one["present_class_ids"]} for one in said]
    assert {"background", "car", "person"} <= seen[0]
    assert {"background", "bus", "person", "bicycle"} <= seen[1]
