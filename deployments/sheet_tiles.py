"""One tile of a contact sheet: a frame with its time, boxes on it where there are any, and words under it.

Pillow draws the words, so a sheet of classes needs neither OpenCV nor the libGL that it asks for. Boxes are drawn by
`supervision`, imported only for them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import PermanentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image, ImageDraw, ImageFont

BACKGROUND = "#14171c"
INK = "#f2f4f7"
FAINT = "#9aa3af"
_PANEL = "#1e232b"
BAR = "#2f6f9f"
_TEXT_SIZE = 15
_LINE_HEIGHT = 30
PAD = 12
_LINES = 3


class DrawingLibraryError(PermanentError):
    """What draws boxes cannot be imported."""


@dataclass(frozen=True)
class Tile:
    """A sampled frame, `(H, W, 3)` uint8 RGB, with its element or null; boxes are in pixels of `pixels`."""

    pixels: NDArray[np.uint8]
    time_s: float
    element: dict[str, Any] | None


@dataclass(frozen=True)
class Line:
    """A line of words under a frame; `share`, 0…1, is shown as a bar behind it and as a percentage."""

    text: str
    share: float | None = None


def draw_tile(tile: Tile, width: int) -> Image.Image:
    """Draw a tile `width` pixels wide, as high as its frame's shape and its lines ask for."""
    from PIL import Image, ImageDraw

    picture = _picture(tile, width)
    panel_height = 2 * PAD + _LINES * _LINE_HEIGHT - 6
    image = Image.new("RGB", (width, picture.height + panel_height), _PANEL)
    image.paste(picture, (0, 0))
    pen = ImageDraw.Draw(image)
    _draw_time(pen, tile.time_s)
    top = picture.height + PAD
    for line in caption(tile.element):
        _draw_line(pen, line, top, width)
        top += _LINE_HEIGHT
    return image


def caption(element: dict[str, Any] | None) -> list[Line]:
    """At most three lines that say what an element says: its best classes, or how many boxes of which class."""
    if element is None:
        return [Line("no result for this frame")]
    predictions = element.get("predictions")
    if "predicted_classes" in element and isinstance(predictions, dict):
        ranked = sorted(predictions.items(), key=lambda named: -named[1]["confidence"])
        return [Line(short_name(name), score["confidence"]) for name, score in ranked[:_LINES]]
    if "top" in element and isinstance(predictions, list):
        return [Line(short_name(score["class"]), score["confidence"]) for score in predictions[:_LINES]]
    if isinstance(predictions, list):
        counts = Counter(box["class"] for box in predictions).most_common()
        lines = [Line(f"{count} × {name}") for name, count in counts[:_LINES]]
        if len(counts) > _LINES:
            lines[-1] = Line(f"and {sum(count for _, count in counts[_LINES - 1 :])} of other classes")
        return lines or [Line("nothing found")]
    return [Line("a kind of result that has no picture")]


def short_name(name: str) -> str:
    """The first of a class's synonyms: `cab` of `cab, hack, taxi, taxicab`."""
    return name.partition(",")[0]


def clock(time_s: float) -> str:
    """Seconds as minutes and seconds to a tenth, with hours where there are any: 0:07.4, 1:02:03.5."""
    tenths = round(time_s * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{rest // 10:02d}.{rest % 10}"


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans at `size` pixels, for names in any European script; Pillow's own, ASCII only, where it is missing."""
    from PIL import ImageFont

    path = font_path()
    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)


@cache
def font_path() -> str | None:
    """Where matplotlib, which comes with `supervision`, keeps DejaVu Sans."""
    try:
        import matplotlib as mpl
    except ImportError:
        return None
    path = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return str(path) if path.is_file() else None


def _picture(tile: Tile, width: int) -> Image.Image:
    """The frame at `width`, with boxes."""
    from PIL import Image

    picture = Image.fromarray(tile.pixels)
    scale = width / picture.width
    picture = picture.resize((width, max(1, round(picture.height * scale))), Image.Resampling.LANCZOS)
    element = tile.element
    if element and isinstance(element.get("predictions"), list) and "top" not in element and element["predictions"]:
        return _with_boxes(picture, element, scale)
    return picture


def _with_boxes(picture: Image.Image, element: dict[str, Any], scale: float) -> Image.Image:
    """Boxes and names of a detection element, which is in pixels of the frame before scaling."""
    try:
        import supervision as sv
    except ImportError as error:
        raise DrawingLibraryError(
            f"boxes cannot be drawn ({error}); install reelmill[demo], and where libGL.so.1 is missing Debian's libgl1."
        ) from error
    detections = sv.Detections.from_inference(element)
    detections.xyxy = detections.xyxy * scale
    names = [f"{name} {confidence:.0%}" for name, confidence in _names(detections)]
    annotated = sv.BoxAnnotator(thickness=2).annotate(picture, detections)
    labels = sv.RichLabelAnnotator(font_path=font_path(), font_size=12, text_padding=3, text_color=sv.Color.BLACK)
    drawn: Image.Image = labels.annotate(annotated, detections, labels=names)
    return drawn


def _names(detections: Any) -> list[tuple[str, float]]:
    return list(zip(detections.data["class_name"], detections.confidence, strict=True))


def _draw_time(pen: ImageDraw.ImageDraw, time_s: float) -> None:
    text = clock(time_s)
    right = 10 + pen.textlength(text, font=font(_TEXT_SIZE)) + 18
    pen.rounded_rectangle((10, 10, right, 38), radius=6, fill=BACKGROUND)
    pen.text((19, 24), text, fill=INK, font=font(_TEXT_SIZE), anchor="lm")


def _draw_line(pen: ImageDraw.ImageDraw, line: Line, top: int, width: int) -> None:
    left, right, middle = PAD, width - PAD, top + (_LINE_HEIGHT - 6) // 2
    room = right - left - 16
    if line.share is not None:
        pen.rounded_rectangle((left, top, right, top + _LINE_HEIGHT - 6), radius=4, fill="#272d37")
        end = left + max(4, round((right - left) * min(1.0, line.share)))
        pen.rounded_rectangle((left, top, end, top + _LINE_HEIGHT - 6), radius=4, fill=BAR)
        percentage = f"{line.share:.0%}"
        pen.text((right - 8, middle), percentage, fill=INK, font=font(_TEXT_SIZE), anchor="rm")
        room -= round(pen.textlength(percentage, font=font(_TEXT_SIZE))) + 12
    pen.text((left + 8, middle), _fitted(pen, line.text, room), fill=INK, font=font(_TEXT_SIZE), anchor="lm")


def _fitted(pen: ImageDraw.ImageDraw, text: str, room: int) -> str:
    """The text, cut with an ellipsis where it is longer than `room` pixels."""
    if pen.textlength(text, font=font(_TEXT_SIZE)) <= room:
        return text
    while text and pen.textlength(text + "…", font=font(_TEXT_SIZE)) > room:
        text = text[:-1]
    return text.rstrip() + "…"
