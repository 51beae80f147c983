"""Gaze detection: faces, and where each looks. The type's elements; the networks are in the modules beside it.

Signs are the hosted API's, so that what was written to draw its results draws ours. Seen by the camera, not the person:

                   pitch > 0
                       ↑                    dx = -length · sin(yaw) · cos(pitch)
       yaw > 0  ←    face    →  yaw < 0     dy = -length · sin(pitch)      (y grows downwards)
                       ↓
                   pitch < 0                both 0: into the camera

"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.detections import CONFIDENCE_DECIMALS, PIXEL_DECIMALS
from models.elements import Gaze, GazeElement
from models.onnx_card import CARD_FILE, GazeCard, L2csGaze
from models.vision_model import Frame, ModelLoadError, Precision

if TYPE_CHECKING:
    from models.face_detection import FaceDetector, FoundFaces
    from models.gaze_faces import FaceInFrame, GazeEstimator
    from models.request import InferenceParams

_ANGLE_DECIMALS = 6
_FACES_AT_ONCE = 64
"""A face takes 2.4 MB on its way into L2CS-Net; a batch of crowds would take gigabytes."""


class GazeDetection:
    """A folder with a card that names a face detector and a gaze estimator, run by onnxruntime.

    `confidence` and `iou_threshold` concern the faces. Networks compute in the precision of their files.
    """

    inference_type = "gaze-detection"

    def __init__(self, folder: Path, params: InferenceParams, *, precision: Precision = "auto") -> None:
        """Remember what to load; reads nothing."""
        self._folder, self._params, self._precision = folder, params, precision
        self._detector: FaceDetector | None = None
        self._estimator: GazeEstimator | None = None

    def setup(self, device: str) -> None:
        """Load the networks onto `device`. Raises `ModelLoadError`."""
        from models.face_detection import FaceDetector
        from models.gaze_chain import OpenModelZooEstimator
        from models.gaze_l2cs import L2csEstimator
        from models.onnx_folder import read_card

        card = read_card(self._folder)
        if not isinstance(card, GazeCard):
            raise ModelLoadError(f"{CARD_FILE} is for {card.inference_type}; ask for that.")
        self._detector = FaceDetector(
            self._folder / card.faces,
            device,
            confidence=self._params.confidence,
            iou_threshold=self._params.iou_threshold,
            most=self._params.max_detections,
        )
        if isinstance(card.gaze, L2csGaze):
            self._estimator = L2csEstimator(card.gaze, self._folder, device)
        else:
            self._estimator = OpenModelZooEstimator(card.gaze, self._folder, device)

    def predict(self, frames: Sequence[Frame]) -> list[GazeElement]:
        """Give one element per frame, the surest face first; faces of all frames go through the networks together."""
        from models.gaze_faces import FaceInFrame

        assert self._detector is not None, "setup comes before predict"
        assert self._estimator is not None
        started_s = time.perf_counter()
        found = self._detector.find(frames)
        found_s = time.perf_counter()
        faces = [FaceInFrame(frame, box) for frame, one in zip(frames, found, strict=True) for box in one.boxes]
        angles = _all_angles(self._estimator, faces)
        ended_s = time.perf_counter()
        starts = np.cumsum([len(one) for one in found])[:-1]
        return [
            {
                "predictions": gazes(one, some),
                "time_face_det": (found_s - started_s) / len(frames),
                "time_gaze_det": (ended_s - found_s) / len(frames),
            }
            for one, some in zip(found, np.split(angles, starts), strict=True)
        ]


def _all_angles(estimator: GazeEstimator, faces: Sequence[FaceInFrame]) -> NDArray[np.float64]:
    parts = [faces[start : start + _FACES_AT_ONCE] for start in range(0, len(faces), _FACES_AT_ONCE)]
    return np.concatenate([np.zeros((0, 2)), *map(estimator.angles, parts)])


def gazes(found: FoundFaces, angles: NDArray[np.float64]) -> list[Gaze]:
    """Give the faces of an element with their angles `(n, 2)`; places to a thousandth of a pixel."""
    corners, opposite = found.boxes[:, :2], found.boxes[:, 2:]
    places = np.concatenate([(corners + opposite) / 2, opposite - corners], axis=1).round(PIXEL_DECIMALS).tolist()
    confidences = found.scores.round(CONFIDENCE_DECIMALS).tolist()
    points = found.landmarks.round(PIXEL_DECIMALS).tolist()
    return [
        {
            "face": {
                "x": x,
                "y": y,
                "width": width,
                "height": height,
                "confidence": confidence,
                "class": "face",
                "class_id": 0,
                "landmarks": [{"x": across, "y": down} for across, down in landmarks],
            },
            "yaw": yaw,
            "pitch": pitch,
        }
        for (x, y, width, height), confidence, landmarks, (yaw, pitch) in zip(
            places, confidences, points, angles.round(_ANGLE_DECIMALS).tolist(), strict=True
        )
    ]
