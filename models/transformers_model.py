"""What every type that runs through transformers shares: how it is made and set up. Imports no model code by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from models.vision_model import Precision

if TYPE_CHECKING:
    from models.request import InferenceParams
    from models.transformers_loading import LoadedModel


class TransformersModel:
    """A folder of weights, remembered by the constructor and loaded by `setup`; types add `predict`."""

    inference_type: ClassVar[str]
    auto_class: ClassVar[str]
    """Name of the class in transformers that loads the folder."""

    def __init__(self, folder: Path, params: InferenceParams, *, precision: Precision = "auto") -> None:
        """Remember what to load; reads nothing."""
        self._folder, self._params, self._precision = folder, params, precision
        self._model: LoadedModel | None = None

    def setup(self, device: str) -> None:
        """Load weights onto `device`. Raises `ModelLoadError`."""
        from models.transformers_loading import load_model

        self._model = load_model(
            self._folder,
            inference_type=self.inference_type,
            auto_class=self.auto_class,
            device=device,
            precision=self._precision,
            compiled=self._params.compile,
        )

    @property
    def loaded(self) -> LoadedModel:
        """The network, its processor and its class names; an `AssertionError` before `setup`."""
        assert self._model is not None, "setup comes before predict"
        return self._model
