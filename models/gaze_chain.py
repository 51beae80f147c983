"""Gaze by Open Model Zoo's chain of three networks (https://github.com/openvinotoolkit/open_model_zoo, Apache-2.0).

They are landmarks-regression-retail-0009, head-pose-estimation-adas-0001 and gaze-estimation-adas-0002. As in its
gaze_estimation_demo, eyes are cut out around their centres and turned upright by the head's roll, the head's
angles go in with a roll of 0, and the vector that comes out is turned back.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.gaze_faces import FaceInFrame, Square, blue_green_red, check_names, cut_out, square_around
from models.onnx_card import OpenModelZooGaze
from models.onnx_runtime import OnnxNetwork, OnnxRunError

_FACE_GROWTH, _FACE_LIFT = 1.2, 0.06
"""These networks know faces from the forehead to the chin; BlazeFace's boxes begin at the eyebrows."""
_LANDMARKS_SIDE_PX, _HEAD_SIDE_PX, _EYE_SIDE_PX = 48, 60, 60
_EYE_SHARE = 0.75
"""Side of an eye's cut-out for each pixel between the eyes: the demo takes 1.8 times the eye's width, which is about
0.42 of that distance. Of 0.6 to 1, the network's vectors come out longest, nearest to 1, from here on two videos."""
_HEAD_ANGLES = ("angle_y_fc", "angle_p_fc", "angle_r_fc")
_LEFT_EYE, _RIGHT_EYE, _HEAD = "left_eye_image", "right_eye_image", "head_pose_angles"


class OpenModelZooEstimator:
    """The three networks; each sees all faces at once."""

    def __init__(self, card: OpenModelZooGaze, folder: Path, device: str) -> None:
        """Load the networks that the card names. Raises `ModelLoadError`."""
        self._landmarks = OnnxNetwork(folder / card.landmarks, device)
        self._head = OnnxNetwork(folder / card.head_pose, device)
        self._gaze = OnnxNetwork(folder / card.gaze, device)
        check_names(self._landmarks, inputs=tuple(self._landmarks.inputs)[:1], outputs=(), what="a landmark network")
        check_names(
            self._head, inputs=tuple(self._head.inputs)[:1], outputs=_HEAD_ANGLES, what="head-pose-estimation-adas-0001"
        )
        check_names(self._gaze, inputs=(_LEFT_EYE, _RIGHT_EYE, _HEAD), outputs=(), what="gaze-estimation-adas-0002")

    def angles(self, faces: Sequence[FaceInFrame]) -> NDArray[np.float64]:
        """Give `(n, 2)`: yaw and pitch in radians."""
        squares = [square_around(face.box, growth=_FACE_GROWTH, lift=_FACE_LIFT) for face in faces]
        eyes = self._eyes(faces, squares)
        head = self._head_angles(faces, squares)
        cuts = [
            [cut_out(face.frame, eye_square(pair, which, roll), _EYE_SIDE_PX) for which in (0, 1)]
            for face, pair, roll in zip(faces, eyes, head[:, 2], strict=True)
        ]
        upright = head * [1, 1, 0]
        outputs = self._gaze.run(
            {
                _LEFT_EYE: blue_green_red([left for left, _ in cuts]),
                _RIGHT_EYE: blue_green_red([right for _, right in cuts]),
                _HEAD: upright,
            }
        )
        vectors = outputs[self._gaze.output_names[0]]
        if vectors.shape != (len(faces), 3):
            raise OnnxRunError(
                f"{self._gaze.name} gives {vectors.shape} for {len(faces)} faces, not three numbers each."
            )
        return vector_angles(turned_back(vectors.astype(np.float64), head[:, 2]))

    def _eyes(self, faces: Sequence[FaceInFrame], squares: Sequence[Square]) -> NDArray[np.float64]:
        """`(n, 2, 2)`: x and y of the eye on the frame's left and of the one on its right, in the frame's pixels."""
        (name,) = self._landmarks.inputs
        cuts = [cut_out(face.frame, one, _LANDMARKS_SIDE_PX) for face, one in zip(faces, squares, strict=True)]
        outputs = self._landmarks.run({name: blue_green_red(cuts)})[self._landmarks.output_names[0]]
        if outputs.size != len(faces) * 10:
            raise OnnxRunError(f"{self._landmarks.name} gives {outputs.shape} for {len(faces)} faces, not five points.")
        points = outputs.reshape(len(faces), 5, 2)[:, :2].astype(np.float64)
        corners, sides = np.array([one.corner for one in squares]), np.array([one.side for one in squares])
        eyes: NDArray[np.float64] = points * sides[:, None, None] + corners[:, None]
        return eyes

    def _head_angles(self, faces: Sequence[FaceInFrame], squares: Sequence[Square]) -> NDArray[np.float64]:
        """`(n, 3)`: yaw, pitch and roll of the heads in degrees."""
        (name,) = self._head.inputs
        cuts = [cut_out(face.frame, one, _HEAD_SIDE_PX) for face, one in zip(faces, squares, strict=True)]
        outputs = self._head.run({name: blue_green_red(cuts)})
        return np.stack([outputs[angle].reshape(len(faces)) for angle in _HEAD_ANGLES], axis=1).astype(np.float64)


def eye_square(eyes: NDArray[np.float64], which: int, roll_degrees: float) -> Square:
    """What is cut out for one of the two eyes `(2, 2)`, upright in the head."""
    apart = float(np.hypot(*(eyes[1] - eyes[0])))
    x, y = eyes[which].tolist()
    return Square((x, y), max(apart, 1.0) * _EYE_SHARE, roll_degrees)


def turned_back(vectors: NDArray[np.float64], roll_degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn vectors `(n, 3)` of upright heads by the heads' roll."""
    roll = np.radians(roll_degrees)
    cos, sin = np.cos(roll), np.sin(roll)
    x, y, z = vectors.T
    return np.stack([x * cos + y * sin, y * cos - x * sin, z], axis=1)


def vector_angles(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Yaw and pitch `(n, 2)` of vectors `(n, 3)` whose x points to the frame's right, y up, and z away from the camera.

    A z below 0 looks at the camera. Yaw is above 0 towards the frame's left, hence the sign of x.
    """
    x, y, z = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).T
    return np.stack([np.arctan2(-x, -z), np.arcsin(y.clip(-1, 1))], axis=1)
