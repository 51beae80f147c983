"""Elements for tests: boxes and classes written out where a test says what it means, else drawn from a seed."""

from __future__ import annotations

import random
from typing import Any

CLASSES = ("person", "bicycle", "car", "traffic light", "größe ü")


def box(
    x: float = 10.5, y: float = 20.25, *, name: str = "person", confidence: float = 0.75, size: float = 8.0
) -> dict[str, Any]:
    """One box without an id."""
    return {
        "x": x,
        "y": y,
        "width": size,
        "height": size * 2,
        "confidence": confidence,
        "class": name,
        "class_id": CLASSES.index(name),
    }


def detection_element(*boxes: dict[str, Any]) -> dict[str, Any]:
    return {"image": {"width": 640, "height": 480}, "predictions": list(boxes)}


def random_detection_element(seed: int, boxes: int) -> dict[str, Any]:
    """`boxes` boxes of random places and classes, best first; floats with all their bits."""
    draw = random.Random(seed)
    found = [
        box(
            draw.uniform(0, 640),
            draw.uniform(0, 480),
            name=draw.choice(CLASSES),
            confidence=draw.random(),
            size=draw.uniform(1, 90),
        )
        for _ in range(boxes)
    ]
    return detection_element(*sorted(found, key=lambda one: -one["confidence"]))


def classification_element(**confidences: float) -> dict[str, Any]:
    """One label: `classification_element(cat=0.75, dog=0.25)`, best first as given."""
    scores = [
        {"class": name, "class_id": class_id, "confidence": confidence}
        for class_id, (name, confidence) in enumerate(confidences.items())
    ]
    best = scores[0]
    return {
        "image": {"width": 640, "height": 480},
        "predictions": scores,
        "top": best["class"],
        "confidence": best["confidence"],
    }


def multi_label_element(threshold: float = 0.4, **confidences: float) -> dict[str, Any]:
    """Many labels, predicted where the confidence reaches the threshold."""
    return {
        "image": {"width": 640, "height": 480},
        "predictions": {
            name: {"confidence": confidence, "class_id": class_id}
            for class_id, (name, confidence) in enumerate(confidences.items())
        },
        "predicted_classes": [name for name, confidence in confidences.items() if confidence >= threshold],
    }


def instance_element(*boxes: dict[str, Any]) -> dict[str, Any]:
    """An element of boxes that have masks: each box is given its extra keys by `polygon` or `run_lengths`."""
    return {"image": {"width": 640, "height": 360}, "predictions": list(boxes)}


def polygon(*points: tuple[float, float], **of_box: Any) -> dict[str, Any]:
    """A box whose mask is a polygon."""
    plain = box(**of_box)
    class_id = plain.pop("class_id")
    drawn = [{"x": x, "y": y} for x, y in points]
    return {**plain, "points": drawn, "mask_format": "polygon", "class_id": class_id}


def run_lengths(counts: str, **of_box: Any) -> dict[str, Any]:
    """A box whose mask is run lengths."""
    plain = box(**of_box)
    class_id = plain.pop("class_id")
    return {**plain, "rle": {"size": [360, 640], "counts": counts}, "mask_format": "rle", "class_id": class_id}


def key_point_element(*points: tuple[float, float]) -> dict[str, Any]:
    """One box with key points."""
    named = [
        {"x": x, "y": y, "confidence": 0.5, "class": f"point {number}", "class_id": number}
        for number, (x, y) in enumerate(points)
    ]
    return {"image": {"width": 640, "height": 360}, "predictions": [{**box(), "keypoints": named}]}


def segmentation_element(*names: str) -> dict[str, Any]:
    """A map of classes; what stands in place of the PNG files is not looked at."""
    return {
        "image": {"width": 640, "height": 360},
        "predictions": {
            "segmentation_mask": "iVBORw0KGgo=",
            "confidence_mask": "iVBORw0KGgoAAAA=",
            "class_map": {str(number): name for number, name in enumerate(names)},
            "present_class_ids": list(range(len(names))),
        },
    }


def gaze_element(*angles: tuple[float, float]) -> dict[str, Any]:
    """Faces that look somewhere."""
    face = {**box(), "class": "face", "class_id": 0, "landmarks": [{"x": 1.5, "y": 2.25}, {"x": 3.0, "y": 4.0}]}
    gazes = [{"face": face, "yaw": yaw, "pitch": pitch} for yaw, pitch in angles]
    return {"predictions": gazes, "time_face_det": 0.001, "time_gaze_det": 0.002}


def similarity_element(**similarity: float) -> dict[str, Any]:
    """Similarities by name, with classes beside them."""
    scores = [{"class": name, "class_id": i, "confidence": value} for i, (name, value) in enumerate(similarity.items())]
    return {"similarity": similarity, "predictions": scores, "top": next(iter(similarity)), "confidence": 0.75}
