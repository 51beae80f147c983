"""The pixels of masks that elements hold as text: PNG files, run lengths, polygons."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def grey_png(text: str) -> NDArray[np.uint8]:
    """The picture `(height, width)` of a PNG file in base64."""
    import io

    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(b64decode(text))) as picture:
        return np.asarray(picture)


def mask_of(prediction: Mapping[str, Any]) -> tuple[int, int, NDArray[np.bool_]]:
    """Where an instance's mask begins (left, top), and its pixels `(height, width)` from there.

    Run lengths give the whole frame; a polygon gives what lies within it, border included, which may reach beyond.
    """
    import numpy as np

    if prediction.get("rle"):
        from pycocotools import mask as coco_masks

        return 0, 0, coco_masks.decode(prediction["rle"]).astype(bool)
    import cv2

    points = np.array([[point["x"], point["y"]] for point in prediction["points"]]).round().astype(np.int32)
    if not len(points):
        return 0, 0, np.zeros((1, 1), dtype=bool)
    corner = points.min(axis=0)
    width, height = (points.max(axis=0) - corner + 1).tolist()
    canvas = np.zeros((height, width), dtype=np.uint8)
    cv2.fillPoly(canvas, [points - corner], (1,))
    return int(corner[0]), int(corner[1]), canvas.astype(bool)
