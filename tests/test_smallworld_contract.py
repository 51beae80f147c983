"""The small world's trained models, number for number against transformers' own path, as random ones are elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from models.classification import Classification
from models.clip import ClipEmbedImage
from models.clip_compare import ClipCompare
from models.instance_segmentation import InstanceSegmentation
from models.object_detection import ObjectDetection
from models.request import InferenceParams
from models.semantic_segmentation import SemanticSegmentation
from models.vision_model import Frame
from tests.smallworld import FIRST_VIDEO_SEED, WEIGHTS
from tests.smallworld.captions import candidate_captions
from tests.smallworld.scenes import CROWD, PAIR, SINGLE, Kind, Scene
from tests.test_clip import COSINE, SIMILARITY, cosine
from tests.test_instance_segmentation import compare as compare_masks
from tests.test_object_detection import BOX_PX, SCORE, worst_differences
from tests.test_semantic_segmentation import compare as compare_maps
from tests.test_semantic_segmentation import reference

SEED = FIRST_VIDEO_SEED + 600


def scenes(kind: Kind) -> list[Frame]:
    return [Scene(kind, seed).still().rgb for seed in range(SEED, SEED + 6)]


def said(model_class: Any, name: str, frames: list[Frame], **params: Any) -> Any:
    model = model_class(WEIGHTS / name, InferenceParams(**params))
    model.setup("cpu")
    return model.predict(frames)


def plain(auto_class: str, name: str) -> tuple[Any, Any]:
    """The network and its processor, as transformers loads them."""
    network = getattr(transformers, auto_class).from_pretrained(WEIGHTS / name).eval()
    return network, transformers.AutoImageProcessor.from_pretrained(WEIGHTS / name, backend="pil")


def inputs(processor: Any, frame: Frame) -> Any:
    return processor([frame], return_tensors="pt")


@torch.inference_mode()
def test_detector() -> None:
    frames = scenes(CROWD)
    network, processor = plain("AutoModelForObjectDetection", "detector")
    expected = [
        processor.post_process_object_detection(
            network(**inputs(processor, frame)), threshold=0, target_sizes=[frame.shape[:2]]
        )[0]
        for frame in frames
    ]
    box, score = worst_differences(said(ObjectDetection, "detector", frames, confidence=0), expected)
    assert box < BOX_PX
    assert score < SCORE


@torch.inference_mode()
def test_instances() -> None:
    frames = scenes(CROWD)
    network, processor = plain("AutoModelForUniversalSegmentation", "instance")
    elements = said(InstanceSegmentation, "instance", frames, confidence=0, mask_format="rle")
    for frame, element in zip(frames, elements, strict=True):
        theirs = processor.post_process_instance_segmentation(
            network(**inputs(processor, frame)), threshold=0, target_sizes=[frame.shape[:2]], return_binary_maps=True
        )[0]
        compare_masks(element, theirs)


def test_semantic() -> None:
    frames = scenes(CROWD)
    elements = said(SemanticSegmentation, "semantic", frames)
    for element, (wanted, sure) in zip(elements, reference(WEIGHTS / "semantic", frames), strict=True):
        compare_maps(element, wanted, sure)


@torch.inference_mode()
def test_classifier() -> None:
    frames = scenes(SINGLE)
    network, processor = plain("AutoModelForImageClassification", "classifier")
    for frame, element in zip(frames, said(Classification, "classifier", frames), strict=True):
        (expected,) = network(**inputs(processor, frame)).logits.softmax(-1)
        ours = {one["class_id"]: one["confidence"] for one in element["predictions"]}
        assert element["top"] == network.config.id2label[int(expected.argmax())]
        assert [ours[index] for index in range(20)] == pytest.approx(expected.tolist(), abs=SCORE)


@torch.inference_mode()
def test_clip() -> None:
    frames = scenes(PAIR)
    prompts = candidate_captions(SEED)
    network, processor = plain("CLIPModel", "clip")
    tokens = transformers.AutoTokenizer.from_pretrained(WEIGHTS / "clip")(prompts, padding=True, return_tensors="pt")
    embeddings = said(ClipEmbedImage, "clip", frames)
    similarities = said(ClipCompare, "clip", frames, prompts=prompts)
    for frame, embedding, similarity in zip(frames, embeddings, similarities, strict=True):
        outputs = network(**tokens, **inputs(processor, frame))
        assert cosine(embedding, outputs.image_embeds[0]) >= COSINE
        expected = outputs.logits_per_image[0] / network.logit_scale.exp()
        assert similarity["similarity"] == pytest.approx(expected.tolist(), abs=SIMILARITY)
