"""The embedding of a frame, by CLIP and its kin, or by a network in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from models.clip_columns import EmbeddingColumns
from models.elements import EmbeddingElement
from models.onnx_folder import is_onnx_folder
from models.vision_model import Frame, Precision

if TYPE_CHECKING:
    import pyarrow as pa

    from models.request import InferenceParams


class Embedder(Protocol):
    """A network that sees."""

    def embed(self, frames: Sequence[Frame]) -> NDArray[np.float32]:
        """Give `(n, length)`."""


class ClipEmbedImage:
    """A network that sees, whose embedding of a frame is the element, as the network gives it: not normalised."""

    inference_type = "clip-embed-image"

    def __init__(self, folder: Path, params: InferenceParams, *, precision: Precision = "auto") -> None:
        """Remember what to load; reads nothing."""
        self._folder, self._params, self._precision = folder, params, precision
        self._network: Embedder | None = None

    def setup(self, device: str) -> None:
        """Load weights onto `device`. Raises `ModelLoadError`."""
        if is_onnx_folder(self._folder):
            from models.onnx_models import OnnxEmbedder

            embedder = OnnxEmbedder(self._folder, self._params)
            embedder.setup(device)
            self._network = embedder
            return
        from models.contrastive import load_contrastive

        self._network = load_contrastive(
            self._folder,
            inference_type=self.inference_type,
            device=device,
            precision=self._precision,
            with_texts=False,
        )

    def predict(self, frames: Sequence[Frame]) -> list[EmbeddingElement]:
        """Give one flat list of floats per frame."""
        return [one.tolist() for one in self._embeddings(frames)]

    def predict_rows(self, frames: Sequence[Frame]) -> pa.RecordBatch:
        """Give the same as columns."""
        return EmbeddingColumns().of_numbers(self._embeddings(frames))

    def _embeddings(self, frames: Sequence[Frame]) -> NDArray[np.float64]:
        """`(n, length)`."""
        assert self._network is not None, "setup comes before predict"
        embedded = self._network.embed(frames)
        return np.array(shortest_decimals(embedded.reshape(-1))).reshape(embedded.shape)


def shortest_decimals(numbers: NDArray[np.float32]) -> list[float]:
    """Floats whose text is the shortest that names the same float32: 0.1, not 0.10000000149011612."""
    import orjson

    if not np.isfinite(numbers).all():
        return [float(number) for number in numbers]
    shortest: list[float] = orjson.loads(orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY))
    return shortest
