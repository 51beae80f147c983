"""Detectors that find what texts name, against transformers' own path; random weights, every box compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoImageProcessor, AutoModelForZeroShotObjectDetection, AutoTokenizer

from models.object_detection import ObjectDetection
from models.prompts import PromptsMissingError
from models.request import BadRequestError, InferenceParams
from models.vision_model import Frame, ModelLoadError
from tests.pictures import pictures
from tests.test_object_detection import BOX_PX, SCORE, worst_differences
from tests.tiny_detectors import PROMPTED, PROMPTS, save_tiny_prompted

SHAPES = {"landscape": pictures(3, 144, 232), "portrait": pictures(3, 210, 160)}
OVERLAP = 0.5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("models")
    return {family: save_tiny_prompted(home / family, family) for family in PROMPTED}


def set_up(folder: Path, **params: Any) -> ObjectDetection:
    asked = {"confidence": 0, "iou_threshold": OVERLAP, "prompts": PROMPTS, **params}
    model = ObjectDetection(folder, InferenceParams(**asked))
    model.setup("cpu")
    return model


def transformers_own(folder: Path, frames: list[Frame], prompts: list[str] = PROMPTS) -> list[dict]:
    """What transformers says of the frames, one at a time, texts read anew for each."""
    network = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    own = {"owlvit": owl_own, "owlv2": owl_own, "omdet-turbo": omdet_own}.get(network.config.model_type, grounding_own)
    parts = (
        network,
        AutoImageProcessor.from_pretrained(folder, backend="pil"),
        AutoTokenizer.from_pretrained(folder),
    )
    with torch.inference_mode():
        return [own(*parts, frame, prompts) for frame in frames]


def owl_own(network: Any, images: Any, tokenizer: Any, frame: Frame, prompts: list[str]) -> dict:
    kind = "Owlv2" if network.config.model_type == "owlv2" else "OwlViT"
    processor = getattr(transformers, f"{kind}Processor")(images, tokenizer)
    outputs = network(**processor(text=[prompts], images=frame, return_tensors="pt"))
    return processor.post_process_grounded_object_detection(outputs, threshold=0, target_sizes=[frame.shape[:2]])[0]


def grounding_own(network: Any, images: Any, tokenizer: Any, frame: Frame, prompts: list[str]) -> dict:
    """Boxes and scores are the processor's; the class is that of the prompt whose word scores best."""
    processor = transformers.GroundingDinoProcessor(images, tokenizer)
    inputs = processor(text=[prompts], images=frame, return_tensors="pt")
    outputs = network(**inputs)
    found = processor.post_process_grounded_object_detection(outputs, threshold=0, target_sizes=[frame.shape[:2]])[0]
    words = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    owners = {word: index for index, prompt in enumerate(prompts) for word in prompt.split()}
    places = [place for place, word in enumerate(words) if word in owners]
    best = outputs.logits[0][:, places].argmax(dim=-1)
    labels = torch.tensor([owners[words[places[int(place)]]] for place in best])
    return {"scores": found["scores"], "boxes": found["boxes"], "labels": labels}


def omdet_own(network: Any, images: Any, tokenizer: Any, frame: Frame, prompts: list[str]) -> dict:
    """As in OmDetTurboProcessor, which needs torchvision: the best pairs, suppressed class by class, clipped."""
    options = {"padding": "max_length", "truncation": True, "max_length": 77, "return_tensors": "pt"}
    classes, task = tokenizer(prompts, **options), tokenizer([f"Detect {', '.join(prompts)}."], **options)
    outputs = network(
        pixel_values=images([frame], return_tensors="pt")["pixel_values"],
        classes_input_ids=classes["input_ids"],
        classes_attention_mask=classes["attention_mask"],
        tasks_input_ids=task["input_ids"],
        tasks_attention_mask=task["attention_mask"],
        classes_structure=torch.tensor([len(prompts)]),
    )
    scores, pairs = outputs.decoder_class_logits[0].sigmoid().flatten().sort(descending=True)
    queries = len(outputs.decoder_class_logits[0])
    height, width = frame.shape[:2]
    kept: list[tuple[torch.Tensor, int, torch.Tensor]] = []
    for score, pair in zip(scores[:queries], pairs[:queries].tolist(), strict=True):
        x, y, w, h = outputs.decoder_coord_logits[0][pair // len(prompts)] * torch.tensor([width, height] * 2)
        box = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        if all(label != pair % len(prompts) or overlap(box, other) <= OVERLAP for _, label, other in kept):
            kept.append((score, pair % len(prompts), box))
    boxes = torch.stack([box for _, _, box in kept])
    edges = torch.tensor([width, height] * 2)
    return {
        "scores": torch.stack([score for score, _, _ in kept]),
        "labels": torch.tensor([label for _, label, _ in kept]),
        "boxes": boxes.clamp(min=0).minimum(edges),
    }


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    low, high = torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:])
    shared = (high - low).clamp(min=0).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", PROMPTED)
def test_equals_transformers_box_for_box(folders: dict[str, Path], family: str, shape: str) -> None:
    frames = SHAPES[shape]
    box, score = worst_differences(set_up(folders[family]).predict(frames), transformers_own(folders[family], frames))
    assert box < BOX_PX
    assert score < SCORE


@pytest.mark.parametrize("family", PROMPTED)
def test_other_prompts_give_other_scores(folders: dict[str, Path], family: str) -> None:
    frames = SHAPES["landscape"][:1]
    one, other = (
        np.sort([p["confidence"] for p in set_up(folders[family], prompts=prompts).predict(frames)[0]["predictions"]])
        for prompts in (["bicycle"], ["two dogs"])
    )
    assert len(one) != len(other) or np.abs(one - other).max() > SCORE


@pytest.mark.parametrize("family", PROMPTED)
def test_a_prompt_may_have_a_name_of_its_own(folders: dict[str, Path], family: str) -> None:
    by_text = set_up(folders[family]).predict(SHAPES["landscape"][:1])[0]["predictions"]
    named = dict(zip(("car", "bike", "dogs"), PROMPTS, strict=True))
    by_name = set_up(folders[family], prompts=named).predict(SHAPES["landscape"][:1])[0]["predictions"]
    assert [named[p["class"]] for p in by_name] == [p["class"] for p in by_text]
    assert [p["class"] for p in by_text] == [PROMPTS[p["class_id"]] for p in by_text]


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("family", PROMPTED)
def test_half_precision_runs(folders: dict[str, Path], family: str, precision: str) -> None:
    model = ObjectDetection(folders[family], InferenceParams(confidence=0, prompts=PROMPTS), precision=precision)
    model.setup("cpu")
    assert model.predict(SHAPES["landscape"][:1])[0]["predictions"]


def test_prompts_that_are_missing_or_too_long_are_said(folders: dict[str, Path]) -> None:
    with pytest.raises(PromptsMissingError, match="add prompts"):
        set_up(folders["owlv2"], prompts=None)
    with pytest.raises(BadRequestError, match="reads 16 tokens of a prompt"):
        set_up(folders["owlv2"], prompts=["a very long description of a red car"])
    with pytest.raises(BadRequestError, match=r"take \d+ tokens together, and the model reads 40"):
        set_up(folders["grounding-dino"], prompts=[f"word{number}" for number in range(30)])
    with pytest.raises(BadRequestError, match="holds no word"):
        set_up(folders["grounding-dino"], prompts=["bicycle", " . "])


def test_a_folder_without_a_tokenizer_is_said(tmp_path: Path) -> None:
    folder = save_tiny_prompted(tmp_path / "owlv2", "owlv2")
    for path in folder.glob("*token*"):
        path.unlink()
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(ModelLoadError, match="tokenizer"):
        set_up(folder)
