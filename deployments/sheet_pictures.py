"""A frame with what an element says drawn on it: boxes, masks, key points, where faces look.

Boxes and key points are drawn by `supervision`, imported only for them; masks and arrows by Pillow and numpy.
"""

from __future__ import annotations

import colorsys
import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.sheet_captions import is_background
from models.errors import PermanentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Pixels = NDArray[np.uint8]

_MASK_OPACITY = 0.5
_UNSURE = 0.3
"""Key points below it are not drawn."""
_GOLDEN = 0.618034
"""Hues that follow each other by it are all told apart, however many there are."""
_SKELETON_POINTS = 17
"""COCO's person, whose bones supervision knows."""
_ARROW = "#ffd23f"
_ARROW_FACES = 1.5
"""Length, in widths of the face, of the arrow of one who looks to the side."""


class DrawingLibraryError(PermanentError):
    """What draws boxes cannot be imported."""


def picture_of(pixels: Pixels, element: Any, width: int) -> Image.Image:
    """Draw an element on its frame `(H, W, 3)` and scale that to `width`; the frame alone where there is no place.

    Raises `DrawingLibraryError`.
    """
    from PIL import Image

    predictions = element.get("predictions") if isinstance(element, dict) else None
    found = predictions if isinstance(predictions, list) and "top" not in element else []
    if isinstance(predictions, dict) and "segmentation_mask" in predictions:
        pixels = with_classes(pixels, predictions)
    elif any("points" in one or "rle" in one for one in found):
        pixels = with_masks(pixels, found)
    scale = width / pixels.shape[1]
    size = (width, max(1, round(pixels.shape[0] * scale)))
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
    if found and "face" in found[0]:
        return _with_gazes(picture, found, scale)
    return _with_boxes(picture, found, scale) if found else picture


def class_colour(class_id: int) -> tuple[int, int, int]:
    """The colour of a class: as different as can be from those of its neighbours, never dark."""
    red, green, blue = colorsys.hsv_to_rgb(class_id * _GOLDEN % 1, 0.75 if class_id % 2 else 0.55, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def with_classes(pixels: Pixels, predictions: dict[str, Any]) -> Pixels:
    """Lay each class's colour over its pixels; a class called background stays as it is."""
    import numpy as np

    from tasks.element_masks import grey_png

    ids = grey_png(predictions["segmentation_mask"])
    painted = pixels.copy()
    for class_id in np.unique(ids).tolist():
        if not is_background(predictions["class_map"].get(str(class_id), "")):
            _paint(painted, ids == class_id, class_colour(class_id))
    return painted


def with_masks(pixels: Pixels, predictions: list[dict[str, Any]]) -> Pixels:
    """Lay each instance's colour over its mask, the surest last."""
    from tasks.element_masks import mask_of

    painted = pixels.copy()
    height, width = pixels.shape[:2]
    for number, one in reversed(list(enumerate(predictions))):
        left, top, mask = mask_of(one)
        mask = mask[max(0, -top) : height - top, max(0, -left) : width - left]
        left, top = max(0, left), max(0, top)
        part = painted[top : top + mask.shape[0], left : left + mask.shape[1]]
        _paint(part, mask[: part.shape[0], : part.shape[1]], class_colour(number))
    return painted


@cache
def font_path() -> str | None:
    """Where matplotlib, which comes with `supervision`, keeps DejaVu Sans."""
    try:
        import matplotlib as mpl
    except ImportError:
        return None
    path = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return str(path) if path.is_file() else None


def _paint(pixels: Pixels, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    import numpy as np

    blended = pixels[mask] * (1 - _MASK_OPACITY) + np.array(colour) * _MASK_OPACITY
    pixels[mask] = blended.astype(np.uint8)


def _with_boxes(picture: Image.Image, found: list[dict[str, Any]], scale: float) -> Image.Image:
    """Boxes and names of predictions, which are in pixels of the frame before scaling; key points where there are.

    Boxes with masks have their masks' colours, others those that supervision gives their classes.
    """
    sv = _supervision()
    plain = [{key: one[key] for key in one.keys() - {"points", "rle", "keypoints"}} for one in found]
    size = {"width": picture.width, "height": picture.height}
    detections = sv.Detections.from_inference({"image": size, "predictions": plain})
    detections.xyxy = detections.xyxy * scale
    names = [
        f"{name} {confidence:.0%}"
        for name, confidence in zip(detections.data["class_name"], detections.confidence, strict=True)
    ]
    colours: dict[str, Any] = {}
    if any("points" in one or "rle" in one for one in found):
        palette = sv.ColorPalette([sv.Color(*class_colour(number)) for number in range(len(found))])
        colours = {"color": palette, "color_lookup": sv.ColorLookup.INDEX}
    drawn: Image.Image = sv.BoxAnnotator(thickness=2, **colours).annotate(picture, detections)
    if "keypoints" in found[0]:
        drawn = _with_key_points(drawn, found, scale)
    labels = sv.RichLabelAnnotator(
        font_path=font_path(), font_size=12, text_padding=3, text_color=sv.Color.BLACK, **colours
    )
    labelled: Image.Image = labels.annotate(drawn, detections, labels=names)
    return labelled


def _with_key_points(picture: Image.Image, found: list[dict[str, Any]], scale: float) -> Image.Image:
    sv = _supervision()
    points = sv.KeyPoints.from_inference({"predictions": found})
    points.xy = points.xy * scale
    points.xy[points.keypoint_confidence < _UNSURE] = 0  # supervision leaves out what lies there
    if points.xy.shape[1] == _SKELETON_POINTS:
        picture = sv.EdgeAnnotator(thickness=2, color=sv.Color.from_hex(_ARROW)).annotate(picture, points)
    drawn: Image.Image = sv.VertexAnnotator(radius=3, color=sv.Color.RED).annotate(picture, points)
    return drawn


def _with_gazes(picture: Image.Image, found: list[dict[str, Any]], scale: float) -> Image.Image:
    """The box and the landmarks of each face, and an arrow from its middle to where it looks."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(picture)
    for gaze in found:
        face = gaze["face"]
        x, y, width, height = (face[key] * scale for key in ("x", "y", "width", "height"))
        pen.rectangle((x - width / 2, y - height / 2, x + width / 2, y + height / 2), outline=_ARROW, width=2)
        for point in face["landmarks"]:
            at_x, at_y = point["x"] * scale, point["y"] * scale
            pen.ellipse((at_x - 2, at_y - 2, at_x + 2, at_y + 2), fill="white")
        end = arrow_end(gaze["yaw"], gaze["pitch"], _ARROW_FACES * width)
        _draw_arrow(pen, (x, y), (x + end[0], y + end[1]))
    return picture


def arrow_end(yaw: float, pitch: float, length: float) -> tuple[float, float]:
    """Where an arrow of `length` that looks along `yaw` and `pitch` (radians) ends: right and down from its start.

    Signs are those of `models.gaze`: with a yaw above 0 the arrow goes to the left of the picture, with a pitch above 0
    upwards; towards the camera it has no length.
    """
    return -length * math.sin(yaw) * math.cos(pitch), -length * math.sin(pitch)


def _draw_arrow(pen: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    pen.line((*start, *end), fill=_ARROW, width=3)
    along = math.atan2(end[1] - start[1], end[0] - start[0])
    head = min(10.0, math.hypot(end[0] - start[0], end[1] - start[1]))
    sides = [(end[0] - head * math.cos(along + turn), end[1] - head * math.sin(along + turn)) for turn in (-0.5, 0.5)]
    pen.polygon([end, *sides], fill=_ARROW)


def _supervision() -> Any:
    try:
        import supervision
    except ImportError as error:
        raise DrawingLibraryError(
            f"boxes cannot be drawn ({error}); install reelmill[demo], and where libGL.so.1 is missing Debian's libgl1."
        ) from error
    return supervision
