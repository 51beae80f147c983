"""Folders around the real networks in ONNX that tests may use: a card beside a link to the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from tests.onnx_networks import write_card
from tests.requirements import assets

YOLOX, SSD, YOLO_SEG = "yolox_nano.onnx", "ssd_mobilenet_v2_coco.w16.onnx", "yolov8n-seg_dq.onnx"
FACES = "face_detection_short_range.onnx"
LANDMARKS, HEAD_POSE, GAZE = (
    "landmarks-regression-retail-0009.onnx",
    "head-pose-estimation-adas-0001.w16.onnx",
    "gaze-estimation-adas-0002.w16.onnx",
)
CARDS = {
    YOLOX: "{inference_type: object-detection, output: yolox, classes: coco80}",
    SSD: """
inference_type: object-detection
input: {layout: nhwc}
output:
  decode: detections
  boxes: detection_boxes:0
  scores: detection_scores:0
  classes: detection_classes:0
  count: num_detections:0
  box_format: yxyx
  box_unit: normalised
classes: coco91
""",
    YOLO_SEG: """
inference_type: instance-segmentation
input: {layout: nhwc}
output: {decode: yolo-seg, box_unit: normalised}
classes: coco80
""",
    GAZE: f"""
inference_type: gaze-detection
faces: {FACES}
gaze: {{estimator: open-model-zoo, landmarks: {LANDMARKS}, head_pose: {HEAD_POSE}, gaze: {GAZE}}}
""",
}


def asset_frames(video: str, numbers: Sequence[int]) -> list[np.ndarray]:
    """RGB frames of one of the real videos, by their numbers in order."""
    with av.open(str(assets() / "videos" / video)) as container:
        decoded = enumerate(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for number, frame in decoded if number in numbers]


def asset_path(name: str) -> Path:
    """One of the real networks."""
    return assets() / "models" / name


def asset_folder(folder: Path, name: str) -> Path:
    """A model's folder in `folder` around the network called `name`; the gaze network brings its three companions."""
    made = write_card(folder / name.removesuffix(".onnx"), CARDS[name])
    for file in (FACES, LANDMARKS, HEAD_POSE, GAZE) if name == GAZE else (name,):
        (made / file).symlink_to(asset_path(file))
    return made
