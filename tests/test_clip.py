"""CLIP and its kin, number for number against transformers' own path; random weights of six families."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
import transformers

from models.clip import ClipEmbedImage, shortest_decimals
from models.clip_compare import ClipCompare
from models.prompts import PromptsMissingError
from models.request import InferenceParams
from models.vision_model import ModelLoadError
from tests.pictures import pictures
from tests.tiny_clip import EMBEDDING_SIZE, SAVE_CONTRASTIVE, save_tiny_clip, save_tiny_clip_eyes
from tests.tiny_models import save_tiny_classifier, set_in_json

COSINE, SIMILARITY = 0.9999, 1e-3
PROMPTS = ["a red star", "two blue squares", "an empty street", "A red star"]
FRAMES = pictures(3)


@pytest.fixture(scope="module", params=list(SAVE_CONTRASTIVE))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SAVE_CONTRASTIVE[request.param](tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("models") / "clip")


@lru_cache(maxsize=16)
def embedder(folder: Path) -> ClipEmbedImage:
    model = ClipEmbedImage(folder, InferenceParams())
    model.setup("cpu")
    return model


def comparer(folder: Path, prompts: Any = PROMPTS, **params: Any) -> ClipCompare:
    model = ClipCompare(folder, InferenceParams(prompts=prompts, **params))
    model.setup("cpu")
    return model


@lru_cache(maxsize=16)
def in_transformers(folder: Path) -> tuple[Any, Any, Any]:
    """Its network, processor and tokens of `PROMPTS`, padded as each family's documentation says."""
    network = transformers.AutoModel.from_pretrained(folder).eval()
    family = network.config.model_type
    makers = {"siglip": transformers.PreTrainedTokenizerFast, "siglip2": transformers.Siglip2Tokenizer}
    tokenizer = makers.get(family, transformers.AutoTokenizer).from_pretrained(folder)
    padding = "max_length" if family in makers else True
    tokens = tokenizer(
        PROMPTS, padding=padding, truncation=True, max_length=tokenizer.model_max_length, return_tensors="pt"
    )
    return network, transformers.AutoImageProcessor.from_pretrained(folder, backend="pil"), tokens


def said_by_transformers(folder: Path, frame: np.ndarray) -> Any:
    """Its own outputs for one frame and all of `PROMPTS`."""
    network, processor, tokens = in_transformers(folder)
    with torch.inference_mode():
        return network(**tokens, **processor([frame], return_tensors="pt"))


def cosine(a: list[float], b: torch.Tensor) -> float:
    other = b.numpy()
    return float(np.dot(a, other) / np.linalg.norm(a) / np.linalg.norm(other))


def test_embeddings_point_where_those_of_transformers_do(folder: Path) -> None:
    ours = embedder(folder).predict(FRAMES)
    theirs = [said_by_transformers(folder, frame).image_embeds[0] for frame in FRAMES]
    for one, other in zip(ours, theirs, strict=True):
        assert cosine(one, other) >= COSINE
    assert cosine(ours[0], theirs[1]) < COSINE


def test_embeddings_are_not_normalised(clip_folder: Path) -> None:
    network, processor, _ = in_transformers(clip_folder)
    (ours,) = embedder(clip_folder).predict(FRAMES[:1])
    with torch.inference_mode():
        theirs = network.get_image_features(**processor(FRAMES[:1], return_tensors="pt")).pooler_output[0]
    assert ours == pytest.approx(theirs.tolist(), rel=1e-4)
    assert abs(np.linalg.norm(ours) - 1) > 0.1


def test_the_half_that_sees_embeds_with_its_projection(tmp_path: Path) -> None:
    folder = save_tiny_clip_eyes(tmp_path / "eyes")
    network = transformers.CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    (ours,) = embedder(folder).predict(FRAMES[:1])
    with torch.inference_mode():
        theirs = network(**processor(FRAMES[:1], return_tensors="pt")).image_embeds[0]
    assert len(ours) == EMBEDDING_SIZE
    assert ours == pytest.approx(theirs.tolist(), rel=1e-4)


def test_similarities_and_zero_shot_classes_are_those_of_transformers(folder: Path) -> None:
    elements = comparer(folder, zero_shot=True).predict(FRAMES)
    for frame, element in zip(FRAMES, elements, strict=True):
        theirs = said_by_transformers(folder, frame)
        cosines = [cosine(theirs.image_embeds[0].tolist(), text) for text in theirs.text_embeds]
        assert element["similarity"] == pytest.approx(cosines, abs=SIMILARITY)
        scores = theirs.logits_per_image[0].softmax(dim=0).tolist()
        assert {one["class_id"]: one["confidence"] for one in element["predictions"]} == pytest.approx(
            dict(enumerate(scores)), abs=SIMILARITY
        )
        assert element["top"] == PROMPTS[int(np.argmax(scores))]
        assert element["confidence"] == element["predictions"][0]["confidence"] == pytest.approx(max(scores), abs=1e-3)


def test_prompts_are_told_apart_frame_by_frame(folder: Path) -> None:
    similarities = np.array([element["similarity"] for element in comparer(folder).predict(FRAMES)])
    assert similarities.std(axis=0).max() > 10 * SIMILARITY
    assert similarities.std(axis=1).max() > 10 * SIMILARITY


def test_a_batch_says_of_each_frame_what_it_says_of_it_alone(folder: Path) -> None:
    for model in (embedder(folder), comparer(folder)):
        together = model.predict(FRAMES)
        alone = [model.predict([frame])[0] for frame in FRAMES]
        for one, other in zip(together, alone, strict=True):
            numbers, others = (said["similarity"] if isinstance(said, dict) else said for said in (one, other))
            assert numbers == pytest.approx(others, abs=1e-4)


def test_frames_of_other_shapes(folder: Path) -> None:
    model = embedder(folder)
    for height, width in [(90, 60), (33, 32), (61, 333)]:
        (frame,) = pictures(1, height, width)
        assert cosine(model.predict([frame])[0], said_by_transformers(folder, frame).image_embeds[0]) >= COSINE


def test_prompts_by_name_give_similarities_and_classes_by_name(clip_folder: Path) -> None:
    named = {"star": PROMPTS[0], "squares": PROMPTS[1]}
    (by_name,) = comparer(clip_folder, named, zero_shot=True).predict(FRAMES[:1])
    (in_order,) = comparer(clip_folder, PROMPTS[:2], zero_shot=True).predict(FRAMES[:1])
    assert by_name["similarity"] == dict(zip(named, in_order["similarity"], strict=True))
    assert {one["class"] for one in by_name["predictions"]} == set(named)
    assert by_name["confidence"] == in_order["confidence"]


def test_without_zero_shot_there_are_similarities_only(clip_folder: Path) -> None:
    (element,) = comparer(clip_folder).predict(FRAMES[:1])
    assert element.keys() == {"similarity"}


def test_only_the_best_classes_where_that_is_asked(clip_folder: Path) -> None:
    (element,) = comparer(clip_folder, zero_shot=True, top_k=2).predict(FRAMES[:1])
    assert len(element["predictions"]) == 2
    assert len(element["similarity"]) == len(PROMPTS)


def test_many_prompts_are_what_each_is_by_itself(folder: Path) -> None:
    prompts = [f"number {number}" for number in range(66)]
    (many,) = comparer(folder, prompts).predict(FRAMES[:1])
    (few,) = comparer(folder, prompts[63:65]).predict(FRAMES[:1])
    assert many["similarity"][63:65] == pytest.approx(few["similarity"], abs=1e-4)


def test_a_prompt_that_is_too_long_is_cut_and_the_log_says_so(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    short, long = "a" * 10, "a " * 200
    (element,) = comparer(folder, [short, long, long + " and more"]).predict(FRAMES[:1])
    assert element["similarity"][1] == element["similarity"][2]
    assert [record.getMessage()[:25] for record in caplog.records if "tokens" in record.getMessage()] == [
        "the model reads 24 tokens"
    ] * 2


def test_no_prompts_is_a_sentence(clip_folder: Path) -> None:
    model = ClipCompare(clip_folder, InferenceParams())
    with pytest.raises(PromptsMissingError, match="add prompts to inference_params"):
        model.setup("cpu")


def test_the_half_that_sees_compares_nothing(tmp_path: Path) -> None:
    model = ClipCompare(save_tiny_clip_eyes(tmp_path / "eyes"), InferenceParams(prompts=PROMPTS))
    with pytest.raises(ModelLoadError, match="not a model for clip-compare; ask for clip-embed-image"):
        model.setup("cpu")


def test_a_classifier_is_no_clip(tmp_path: Path) -> None:
    model = ClipEmbedImage(save_tiny_classifier(tmp_path / "classifier"), InferenceParams())
    with pytest.raises(ModelLoadError, match="ask for classification"):
        model.setup("cpu")


def test_a_folder_without_its_tokenizer_is_named(tmp_path: Path) -> None:
    folder = save_tiny_clip(tmp_path / "clip")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    embedder(folder)
    with pytest.raises(ModelLoadError, match=r"tokenizer.*tokenizer\.json"):
        comparer(folder)


def test_a_tokenizer_of_the_folders_own_code_is_never_run(tmp_path: Path) -> None:
    folder = save_tiny_clip(tmp_path / "clip")
    (folder / "mine.py").write_text("raise SystemExit('run')")
    set_in_json(
        folder / "tokenizer_config.json", tokenizer_class="Mine", auto_map={"AutoTokenizer": ["mine.Mine", None]}
    )
    with suppress(ModelLoadError):  # what counts is that the process lives on
        comparer(folder)


def test_numbers_are_written_as_short_as_float32_allows() -> None:
    numbers = np.array([0.1, -1 / 3, 1e-30, 3.4e38, 1.0, -0.0], np.float32)
    assert shortest_decimals(numbers) == [float(str(number)) for number in numbers]
    assert np.array_equal(np.array(shortest_decimals(numbers), np.float32), numbers)
    assert len(orjson.dumps(shortest_decimals(numbers[:2]))) == len("[0.1,-0.33333334]")
    assert np.isnan(shortest_decimals(np.array([np.nan, 1.0], np.float32))[0])
