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
