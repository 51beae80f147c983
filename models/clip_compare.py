"""How near a frame is to each of some texts, by CLIP and its kin; zero-shot classes where asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.classification import one_label
from models.detections import CONFIDENCE_DECIMALS, image_size
from models.elements import SimilarityElement
from models.prompts import NamedPrompts, asked_prompts
from models.vision_model import Frame, Precision

if TYPE_CHECKING:
    from models.contrastive import ContrastiveNetwork
    from models.request import InferenceParams


class ClipCompare:
    """A network that sees and reads. The prompts are embedded once, by `setup`.

    Zero-shot classes are the softmax, over the prompts, of the network's own logits: its scale times the cosine, plus
    its bias. SigLIP was trained to judge each text by itself (a sigmoid); its softmax says which of the prompts fits
    best, not that one of them fits.
    """

    inference_type = "clip-compare"

    def __init__(self, folder: Path, params: InferenceParams, *, precision: Precision = "auto") -> None:
        """Remember what to load; reads nothing."""
        self._folder, self._params, self._precision = folder, params, precision
        self._network: ContrastiveNetwork | None = None
        self._prompts: NamedPrompts | None = None
        self._texts: NDArray[np.float32] | None = None

    def setup(self, device: str) -> None:
        """Load weights onto `device` and embed the prompts. Raises `PromptsMissingError` and `ModelLoadError`."""
        from models.contrastive import load_contrastive

        network = load_contrastive(
            self._folder,
            inference_type=self.inference_type,
            device=device,
            precision=self._precision,
            with_texts=True,
        )
        self._prompts = asked_prompts(self._params, self.inference_type)
        self._texts = unit_length(network.embed_texts(self._prompts.texts))
        self._network = network

    def predict(self, frames: Sequence[Frame]) -> list[SimilarityElement]:
        """Give each frame's cosine with each prompt, in their order, and classes where they were asked for."""
        assert self._network is not None, "setup comes before predict"
        assert self._prompts is not None
        assert self._texts is not None
        cosines = unit_length(self._network.embed(frames)) @ self._texts.T
        elements = [similarities(one, self._prompts) for one in cosines]
        if self._params.zero_shot:
            for element, logits in zip(elements, self._network.logits(cosines), strict=True):
                best = one_label(softmax(logits), self._prompts.names, image_size(frames[0]), self._params.top_k)
                element["predictions"] = best["predictions"]
                element["top"], element["confidence"] = best["top"], best["confidence"]
        return elements


def similarities(cosines: NDArray[np.float32], prompts: NamedPrompts) -> SimilarityElement:
    """Cosines `(prompts,)` as the request gave the prompts: in their order, or by name."""
    numbers = cosines.astype(np.float64).round(CONFIDENCE_DECIMALS).tolist()
    return {"similarity": dict(zip(prompts.names, numbers, strict=True)) if prompts.by_name else numbers}


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide each of `(n, size)` by its length."""
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shares `(classes,)` that add up to 1."""
    powers = np.exp(logits - logits.max())
    shares: NDArray[np.float32] = powers / powers.sum()
    return shares
