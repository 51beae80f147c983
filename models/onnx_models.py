"""Models in ONNX by what they find: what `setup` loads, and raw findings of a batch of frames.

What elements are made of the findings is each inference type's own affair, whatever the model runs on. A network
computes in the precision that its file was written in.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from models import onnx_detections as reading
from models.detections import FoundBoxes
from models.frame_sizes import Size
from models.onnx_card import OnnxCard, OnnxCardError, OutputCard
from models.onnx_folder import class_names, network_path, read_card
from models.onnx_pictures import Placement, picture_size, pictures, place
from models.onnx_runtime import Array, NetworkInput, OnnxNetwork, OnnxRunError
from models.vision_model import Frame, ModelLoadError

if TYPE_CHECKING:
    from models.request import InferenceParams

_CLIPPED = ("yolo", "yolo-seg")
"""Decodings whose authors cut boxes at the frame's edges."""


class OnnxModel:
    """A folder with a card and a network that takes one picture; types add what they read from its outputs."""

    inference_type: str

    def __init__(self, folder: Path, params: InferenceParams) -> None:
        """Remember what to load; reads nothing."""
        self._folder, self._params = folder, params
        self.class_names: tuple[str, ...] = ()

    def setup(self, device: str) -> None:
        """Read the card and load the network onto `device`. Raises `ModelLoadError`."""
        card = read_card(self._folder)
        if not isinstance(card, OnnxCard) or card.inference_type != self.inference_type:
            raise ModelLoadError(
                f"the model's card says {card.inference_type}, not {self.inference_type}; ask for the former."
            )
        path = network_path(card, self._folder)
        self._card = card
        self._network = OnnxNetwork(path, device)
        self._input = self._one_input()
        self._picture = picture_size(card.input, self._input, path.name)
        self._check_outputs()
        self.class_names = class_names(card, self._folder) or _names_in(self._network.metadata)

    def outputs(self, frames: Sequence[Frame]) -> tuple[dict[str, Array], Placement]:
        """Run frames of one shape; gives rows of each output, and where the frames lay in the network's pictures."""
        frame = (int(frames[0].shape[0]), int(frames[0].shape[1]))
        placement = place(self._card.input, frame, self._picture or frame)
        batch = pictures(frames, self._card.input, placement, self._input.dtype)
        return self._network.run({self._input.name: batch}), placement

    def only_output(self, outputs: Mapping[str, Array]) -> Array:
        """The output that the card names, or the only one."""
        return outputs[self._card.output.name or self._network.output_names[0]]

    def _one_input(self) -> NetworkInput:
        inputs, asked = self._network.inputs, self._card.input.name
        if asked is not None and asked not in inputs:
            raise OnnxCardError(f"{self._network.name} has no input {asked!r}; it has {', '.join(inputs)}.")
        if len(inputs) != 1:
            raise ModelLoadError(
                f"{self._network.name} takes {', '.join(inputs)}; only networks with one picture in can be run."
            )
        (found,) = inputs.values()
        prepared = self._card.input
        if np.dtype(found.dtype).kind != "f" and (
            prepared.scale != 1 or any(prepared.mean) or set(prepared.std) != {1}
        ):
            raise OnnxCardError(
                f"{self._network.name} takes whole grey levels; leave scale, mean and std out of the card's input."
            )
        return found

    def _check_outputs(self) -> None:
        card, has = self._card.output, self._network.output_names
        for name in reading.named_outputs(card):
            if name not in has:
                raise OnnxCardError(f"{self._network.name} has no output {name!r}; it has {', '.join(has)}.")
        if card.decode not in ("detections", "yolo-seg") and card.name is None and len(has) != 1:
            raise OnnxCardError(
                f"{self._network.name} has the outputs {', '.join(has)}; say which one with name in the card's output."
            )


class OnnxDetector(OnnxModel):
    """Object detection: boxes at or above the confidence asked for, suppressed unless the network does that itself."""

    inference_type = "object-detection"

    def setup(self, device: str) -> None:
        """Load as every model; the classes of a YOLO must be known. Raises `ModelLoadError`."""
        super().setup(device)
        check_yolo_classes(self._card.output, self.class_names)

    def detect(self, frames: Sequence[Frame]) -> list[FoundBoxes]:
        """Give what was found in each frame, the surest first, in pixels of the frame."""
        outputs, placement = self.outputs(frames)
        decode = self._card.output.decode
        threshold = None if decode == "detections" else self._params.iou_threshold
        found = []
        for candidates in self._candidates(outputs, placement.picture):
            sure = reading.surest_boxes(
                candidates,
                confidence=self._params.confidence,
                iou_threshold=threshold,
                most=self._params.max_detections,
            )
            found.append(reading.in_frame(sure, placement, clip=decode in _CLIPPED))
        return found

    def _candidates(self, outputs: Mapping[str, Array], picture: Size) -> list[reading.Candidates]:
        card = self._card.output
        if card.decode == "detections":
            return reading.read_detections(outputs, card, picture)
        if card.decode == "yolox":
            return reading.read_yolox(self.only_output(outputs), picture)
        return reading.read_yolo(self.only_output(outputs), card, picture, classes=len(self.class_names))


class OnnxClassifier(OnnxModel):
    """Classification: a score for every class."""

    inference_type = "classification"

    @property
    def many_labels(self) -> bool:
        """Whether a frame may have several of the classes at once."""
        return self._card.output.many_labels

    def scores(self, frames: Sequence[Frame]) -> NDArray[np.float32]:
        """Give `(n, classes)`, 0 to 1. Raises `OnnxRunError` where there are not as many as names."""
        outputs, _ = self.outputs(frames)
        logits = _flat_rows(self.only_output(outputs))
        if self.class_names and logits.shape[1] != len(self.class_names):
            raise OnnxRunError(
                f"the network gives {logits.shape[1]} scores, and the card has {len(self.class_names)} classes; they "
                "are those of another network."
            )
        self.class_names = self.class_names or tuple(str(index) for index in range(logits.shape[1]))
        values = torch.from_numpy(logits.astype(np.float32))
        activation = self._card.output.activation
        if activation == "none":
            return logits.astype(np.float32)
        scores: NDArray[np.float32] = (values.softmax(dim=-1) if activation == "softmax" else values.sigmoid()).numpy()
        return scores


class OnnxEmbedder(OnnxModel):
    """Image embeddings, as the network gives them."""

    inference_type = "clip-embed-image"

    def embed(self, frames: Sequence[Frame]) -> NDArray[np.float32]:
        """Give `(n, length)`."""
        outputs, _ = self.outputs(frames)
        return _flat_rows(self.only_output(outputs)).astype(np.float32)


def _flat_rows(output: Array) -> Array:
    """`(n, numbers)` of an output that may have sides of length 1 behind."""
    if output.ndim < 2 or output.size != output.shape[0] * max(output.shape[1:]):
        raise OnnxRunError(f"the output has the shape {output.shape}; (n, numbers) was to be expected.")
    return output.reshape(len(output), -1)


def check_yolo_classes(card: OutputCard, names: tuple[str, ...]) -> None:
    """Refuse a YOLO whose numbers nobody can tell apart. Raises `OnnxCardError`."""
    if card.decode in ("yolo", "yolo-seg") and not names and card.head == "auto":
        raise OnnxCardError(
            "the card names no classes, without which YOLO's numbers cannot be told apart; add classes."
        )


def _names_in(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The class names that Ultralytics writes into its exports, as text of a Python dict; empty without any."""
    try:
        names = ast.literal_eval(metadata.get("names", ""))
    except (ValueError, SyntaxError):
        return ()
    if not isinstance(names, dict) or set(names) != set(range(len(names))):
        return ()
    return tuple(str(names[index]) for index in range(len(names)))
