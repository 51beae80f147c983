"""Gaze by L2CS-Net (Abdelrahman et al. 2022, https://arxiv.org/abs/2203.03339), exported to ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.gaze_faces import FaceInFrame
from models.onnx_card import InputCard, L2csGaze, OnnxCardError
from models.onnx_pictures import network_input
from models.onnx_runtime import Array, OnnxNetwork, OnnxRunError
from models.resizing import resize_pictures
from models.vision_model import Frame, ModelLoadError

_SIDE_PX, _FIRST_SIDE_PX = 448, 224
"""Its authors cut a face to 224 pixels with OpenCV, and enlarge that to 448 with Pillow."""
_INPUT = InputCard(scale=1 / 255, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
_BINS, _DEGREES_A_BIN, _FIRST_DEGREES = 90, 4.0, -180.0


class L2csEstimator:
    """One network with a head for each of the two angles."""

    def __init__(self, card: L2csGaze, folder: Path, device: str) -> None:
        """Load the network that the card names. Raises `ModelLoadError`."""
        self._network = OnnxNetwork(folder / card.file, device)
        if len(self._network.inputs) != 1 or len(self._network.output_names) < 2:
            raise ModelLoadError(f"{card.file} is not L2CS-Net, which takes one picture and gives two angles.")
        (self._input,) = self._network.inputs.values()
        self._yaw = self._output(card.yaw, "yaw", 0)
        self._pitch = self._output(card.pitch, "pitch", 1)

    def angles(self, faces: Sequence[FaceInFrame]) -> NDArray[np.float64]:
        """Give `(n, 2)`: yaw and pitch in radians; the authors' signs are those of `models.gaze`."""
        cuts = np.stack([face_picture(face) for face in faces])
        outputs = self._network.run({self._input.name: network_input(cuts, _INPUT, np.float32)})
        return np.stack([radians_of(outputs[name], name) for name in (self._yaw, self._pitch)], axis=1)

    def _output(self, asked: str | None, word: str, place: int) -> str:
        """The output that the card names, else the one whose name says `word`, else the one in its place."""
        names = self._network.output_names
        if asked is not None and asked not in names:
            raise OnnxCardError(f"{self._network.name} has no output {asked!r}; it has {', '.join(names)}.")
        said = [name for name in names if word in name.lower()]
        return asked or (said[0] if len(said) == 1 else names[place])


def face_picture(face: FaceInFrame) -> Frame:
    """Give the face's box as `(448, 448, 3)`; what lies beyond the frame is cut off."""
    height, width = face.frame.shape[:2]
    left, top, right, bottom = face.box.astype(int).tolist()
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    cut = face.frame[top : max(min(bottom, height), top + 1), left : max(min(right, width), left + 1)]
    small = cv2.resize(cut, (_FIRST_SIDE_PX, _FIRST_SIDE_PX), interpolation=cv2.INTER_LINEAR)
    large = resize_pictures([np.asarray(small, dtype=np.uint8)], (_SIDE_PX, _SIDE_PX), "bilinear")
    return np.asarray(large[0].permute(1, 2, 0))


def radians_of(output: Array, name: str) -> NDArray[np.float64]:
    """The expected angle over 90 bins of 4 degrees from -180 on, `(n, 90)` logits; `(n,)` are radians already.

    Raises `OnnxRunError` for other shapes.
    """
    if output.ndim == 1 or (output.ndim == 2 and output.shape[1] == 1):
        return output.reshape(-1).astype(np.float64)
    if output.ndim != 2 or output.shape[1] != _BINS:
        raise OnnxRunError(f"{name} has the shape {output.shape}; L2CS-Net gives (n, {_BINS}), or angles in radians.")
    parts = torch.from_numpy(output.astype(np.float64)).softmax(dim=1).numpy()
    degrees: NDArray[np.float64] = parts @ np.arange(_BINS) * _DEGREES_A_BIN + _FIRST_DEGREES
    return np.radians(degrees)
