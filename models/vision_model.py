"""What every model type is: a cheap constructor, a heavy `setup` once per worker, `predict` on a batch of frames.

A model knows nothing of videos, samples, shards or Prefect: it gets pixels and gives elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.elements import Element
from models.errors import PermanentError

if TYPE_CHECKING:
    import pyarrow as pa

    from models.request import InferenceParams

Frame = NDArray[np.uint8]
"""One RGB frame as a player shows it: `(height, width, 3)`, uint8, rotation already applied."""

Precision = Literal["auto", "float32", "float16", "bfloat16"]
"""`auto` is half precision (float16) on CUDA and float32 on a CPU."""


class ModelLoadError(PermanentError):
    """The model's folder cannot be loaded as the type that was asked for."""


class VisionModel(Protocol):
    """One model on one device."""

    def __init__(self, folder: Path, params: InferenceParams, *, precision: Precision = "auto") -> None:
        """Remember what to load; reads nothing. `folder` holds weights and configuration on this machine's disk."""

    def setup(self, device: str) -> None:
        """Load weights onto `device` ("cpu", "cuda", "cuda:1"); once per worker. Raises `ModelLoadError`."""

    def predict(self, frames: Sequence[Frame]) -> list[Element]:
        """Give one element per frame, in order; all frames of a call have one shape.

        Elements carry neither `time` nor `detection_id`: both are filled in by whoever knows the clock and the frame.
        """


@runtime_checkable
class RowsModel(Protocol):
    """A model whose elements come as Arrow columns too: no Python object is made for what it finds.

    Its `predict` gives the same elements, made of those columns.
    """

    def predict_rows(self, frames: Sequence[Frame]) -> pa.RecordBatch:
        """Give one row per frame, in order, in the columns that `ELEMENT_COLUMNS` has for the type.

        `time` and `detection_id` are null.
        """
