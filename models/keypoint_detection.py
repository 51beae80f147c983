"""Key points of people, or of whatever a detector finds: ViTPose on each box.

A pose network says where the points of one object are, not where objects are: it works on a detector's boxes. The
model's folder therefore holds a folder `detector`, a model for object-detection of any kind; for a request, the one
that `inference_params` or the catalog names is put there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from models.box_columns import KeyPointColumns
from models.detections import RoundedBoxes, image_size
from models.elements import KeyPointElement
from models.object_detection import ObjectDetection
from models.vision_model import Frame, ModelLoadError, Precision

if TYPE_CHECKING:
    import pyarrow as pa

    from models.pose_network import PoseNetwork
    from models.request import InferenceParams

DETECTOR_FOLDER = "detector"
PERSON = "person"
_COLUMNS = KeyPointColumns()


class KeyPointDetection:
    """A detector and a pose network.

    Key points are found in the boxes of the detector's class `person`; in all of its boxes, where it has no such class
    (a detector of animals or of shapes). `confidence`, `max_detections` and `prompts` are the detector's. Every key
    point of a box is given, however unsure: its confidence is the heat of the network's map, which 1 bounds.
    """

    inference_type = "keypoint-detection"

    def __init__(self, folder: Path, params: InferenceParams, *, precision: Precision = "auto") -> None:
        """Remember what to load; reads nothing."""
        self._folder, self._params, self._precision = folder, params, precision
        self._pose: PoseNetwork | None = None
        self._detector = ObjectDetection(folder / DETECTOR_FOLDER, params, precision=precision)

    def setup(self, device: str) -> None:
        """Load both networks onto `device`. Raises `ModelLoadError`, and what an `ObjectDetection` raises."""
        from models.pose_network import load_pose_network

        pose = load_pose_network(
            self._folder, inference_type=self.inference_type, device=device, precision=self._precision
        )
        if not (self._folder / DETECTOR_FOLDER).is_dir():
            raise ModelLoadError(
                "the folder holds no folder 'detector', and a pose network finds no objects by itself; put a model "
                "for object-detection there, or name one as detector in inference_params."
            )
        self._detector.setup(device)
        self._pose = pose

    def predict(self, frames: Sequence[Frame]) -> list[KeyPointElement]:
        """Give one element per frame: the detector's boxes, the surest first, each with its key points."""
        return cast("list[KeyPointElement]", _COLUMNS.elements(self.predict_rows(frames)))

    def predict_rows(self, frames: Sequence[Frame]) -> pa.RecordBatch:
        """Give the same as columns."""
        assert self._pose is not None, "setup comes before predict"
        boxes = self._wanted(self._detector.boxes(frames))
        points = self._pose.key_points(frames, boxes)
        columns = boxes.columns(self._detector.class_names)
        columns["keypoints"] = _COLUMNS.key_points(*points, self._pose.point_names)
        return _COLUMNS.of_boxes(image_size(frames[0]), boxes.counts, columns)

    def _wanted(self, boxes: RoundedBoxes) -> RoundedBoxes:
        names = self._detector.class_names
        persons = [number for number, name in enumerate(names) if name.casefold() == PERSON]
        return boxes.where(np.isin(boxes.class_ids, persons)) if persons else boxes
