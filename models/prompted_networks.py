"""How each family of detectors with prompts reads texts, and what its outputs mean.

transformers' processors for these families do the same for one call at a time; here the texts are read once, and the
one that needs torchvision is done without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from transformers.image_transforms import center_to_corners_format

from models.detections import FoundBoxes
from models.frame_sizes import Size
from models.request import BadRequestError, InferenceParams
from models.suppression import suppress
from models.transformers_detector import found_boxes
from models.transformers_loading import LoadedModel

_OMDET_TOKENS = 77
"""OmDet-Turbo's processor cuts every text off there."""

Inputs = Mapping[str, torch.Tensor]


class PromptedNetwork(Protocol):
    """A network with the prompts of one request in it."""

    def __init__(self, loaded: LoadedModel, tokenizer: Any, texts: Sequence[str]) -> None:
        """Read the texts. Raises `BadRequestError` where the network cannot hold them."""

    def answer(self, inputs: Inputs) -> Any:
        """Run the network on prepared frames."""

    def found(self, outputs: Any, size: Size, params: InferenceParams) -> list[FoundBoxes]:
        """Give what was found in each frame of `size`; class ids are places in the list of prompts."""


class Owl:
    """OWL-ViT and OWLv2: a text's embedding is compared with each patch's."""

    def __init__(self, loaded: LoadedModel, tokenizer: Any, texts: Sequence[str]) -> None:
        """Embed the texts."""
        self._network, self._processor = loaded.network, loaded.processor
        most = int(self._network.config.text_config.max_position_embeddings)
        for text in texts:
            if len(tokenizer(text, verbose=False)["input_ids"]) > most:
                raise BadRequestError(f"the model reads {most} tokens of a prompt, and {text!r} is longer; shorten it.")
        tokens = tokenizer(list(texts), padding="max_length", max_length=most, return_tensors="pt")
        tokens = {name: tokens[name].to(self._network.device) for name in ("input_ids", "attention_mask")}
        towers = getattr(self._network, self._network.base_model_prefix)
        embedded = towers.get_text_features(**tokens).pooler_output
        self._texts = embedded / torch.linalg.norm(embedded, dim=-1, keepdim=True)

    def answer(self, inputs: Inputs) -> dict[str, torch.Tensor]:
        """Give `logits` (n, patches, prompts) and `pred_boxes`, as the whole network does."""
        grid = self._network.image_embedder(inputs["pixel_values"])[0]
        patches = grid.flatten(1, 2)
        logits, _ = self._network.class_predictor(patches, self._texts.expand(len(grid), -1, -1))
        return {"logits": logits, "pred_boxes": self._network.box_predictor(patches, grid)}

    def found(self, outputs: Any, size: Size, params: InferenceParams) -> list[FoundBoxes]:
        """One box for each patch, of the prompt that is nearest to it."""
        found = self._processor.post_process_object_detection(
            _Named(outputs), threshold=params.confidence, target_sizes=[size] * len(outputs["logits"])
        )
        return [found_boxes(one) for one in found]


class Grounded:
    """Grounding DINO and MM Grounding DINO: all texts form one sentence, whose words are looked for."""

    def __init__(self, loaded: LoadedModel, tokenizer: Any, texts: Sequence[str]) -> None:
        """Join the texts, and note which prompt each token of the sentence belongs to."""
        self._network = loaded.network
        cleaned = [" ".join(text.lower().replace(".", " ").split()) for text in texts]
        if "" in cleaned:
            raise BadRequestError(f"the prompt {texts[cleaned.index('')]!r} holds no word; leave it out.")
        tokens = tokenizer(". ".join(cleaned) + ".", return_offsets_mapping=True, return_tensors="pt")
        most = int(self._network.config.max_text_len)
        count = tokens["input_ids"].shape[1]
        if count > most:
            raise BadRequestError(
                f"the prompts take {count} tokens together, and the model reads {most}; give fewer or shorter ones."
            )
        ends = np.cumsum([len(text) + 2 for text in cleaned])
        spans = tokens.pop("offset_mapping")[0].numpy()
        # A full stop ends a prompt and is part of none; nor are the marks around the sentence, which span nothing.
        inside = (spans[:, 1] > spans[:, 0]) & ~np.isin(spans[:, 0], ends - 2)
        self._places = torch.from_numpy(np.flatnonzero(inside)).to(self._network.device)
        self._owners = torch.from_numpy(np.searchsorted(ends, spans[inside, 0], side="right")).to(self._network.device)
        self._prompts = len(cleaned)
        self._tokens = {name: value.to(self._network.device) for name, value in tokens.items()}

    def answer(self, inputs: Inputs) -> Any:
        """Run the network, which reads the sentence anew with each frame: its texts and frames look at each other."""
        count = len(inputs["pixel_values"])
        return self._network(**inputs, **{name: value.expand(count, -1) for name, value in self._tokens.items()})

    def found(self, outputs: Any, size: Size, params: InferenceParams) -> list[FoundBoxes]:
        """One box for each query: its score is that of its best token, its class the prompt with the best of its own.

        transformers names a box by all tokens above a threshold, which may be words of several prompts.
        """
        tokens = outputs["logits"].sigmoid()
        scores = tokens.amax(dim=-1)
        own = tokens[..., self._places]
        best = own.new_zeros((*own.shape[:-1], self._prompts))
        best = best.scatter_reduce(-1, self._owners.expand_as(own), own, "amax", include_self=True)
        boxes = center_to_corners_format(outputs["pred_boxes"]) * _scale(size, scores.device)
        everything = zip(scores, best.argmax(dim=-1), boxes, strict=True)
        return [_sure(*one, params.confidence) for one in everything]


class OmDet:
    """OmDet-Turbo: a task in words, and a class for each prompt; what overlaps is suppressed."""

    def __init__(self, loaded: LoadedModel, tokenizer: Any, texts: Sequence[str]) -> None:
        """Turn task and prompts into tokens; the network remembers what it makes of them."""
        self._network = loaded.network
        options = {"padding": "max_length", "truncation": True, "max_length": _OMDET_TOKENS, "return_tensors": "pt"}
        device = self._network.device
        self._classes = tokenizer(list(texts), **options).to(device)
        self._task = tokenizer([f"Detect {', '.join(texts)}."], **options).to(device)

    def answer(self, inputs: Inputs) -> Any:
        """Run the network."""
        count, prompts = len(inputs["pixel_values"]), len(self._classes["input_ids"])
        return self._network(
            pixel_values=inputs["pixel_values"],
            classes_input_ids=self._classes["input_ids"].repeat(count, 1),
            classes_attention_mask=self._classes["attention_mask"].repeat(count, 1),
            tasks_input_ids=self._task["input_ids"].expand(count, -1),
            tasks_attention_mask=self._task["attention_mask"].expand(count, -1),
            classes_structure=torch.full((count,), prompts, dtype=torch.long, device=self._network.device),
        )

    def found(self, outputs: Any, size: Size, params: InferenceParams) -> list[FoundBoxes]:
        """The best pairs of query and prompt, suppressed prompt by prompt and clipped to the frame."""
        logits = outputs["decoder_class_logits"]
        queries, prompts = logits.shape[1:]
        scores, pairs = logits.sigmoid().flatten(1).topk(queries, dim=-1)
        boxes = center_to_corners_format(outputs["decoder_coord_logits"]) * _scale(size, logits.device)
        rows = torch.div(pairs, prompts, rounding_mode="floor")
        everything = zip(scores, pairs % prompts, boxes.gather(1, rows[..., None].expand(-1, -1, 4)), strict=True)
        return [_apart(_sure(*one, params.confidence), size, params) for one in everything]


FAMILIES: dict[str, type[PromptedNetwork]] = {
    "owlvit": Owl,
    "owlv2": Owl,
    "grounding-dino": Grounded,
    "mm-grounding-dino": Grounded,
    "omdet-turbo": OmDet,
}
"""By `model_type`."""


class _Named:
    """Outputs whose names are attributes, as transformers' processors read them."""

    def __init__(self, outputs: Mapping[str, torch.Tensor]) -> None:
        self.logits, self.pred_boxes = outputs["logits"], outputs["pred_boxes"]


def _scale(size: Size, device: torch.device) -> torch.Tensor:
    height, width = size
    return torch.tensor([width, height, width, height], dtype=torch.float32, device=device)


def _sure(scores: torch.Tensor, class_ids: torch.Tensor, boxes: torch.Tensor, confidence: float) -> FoundBoxes:
    kept = scores > confidence
    return found_boxes({"scores": scores[kept], "labels": class_ids[kept], "boxes": boxes[kept]})


def _apart(found: FoundBoxes, size: Size, params: InferenceParams) -> FoundBoxes:
    stays = suppress(
        found.boxes,
        found.scores,
        found.class_ids,
        iou_threshold=params.iou_threshold,
        most=params.max_detections,
    )
    height, width = size
    boxes = found.boxes[stays].clip(0, [width, height, width, height])
    return FoundBoxes(scores=found.scores[stays], class_ids=found.class_ids[stays], boxes=boxes)
