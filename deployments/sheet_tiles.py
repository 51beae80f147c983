"""One tile of a contact sheet: a frame with its time, what was found drawn on it, and words under it.

Pillow draws the words, so a sheet of classes needs neither OpenCV nor the libGL that it asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from deployments.sheet_captions import MOST_LINES, Line, caption
from deployments.sheet_pictures import class_colour, font_path, picture_of

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
_SWATCH = 18
"""Pixels that the colour of a class takes before its name."""


@dataclass(frozen=True)
class Tile:
    """A sampled frame, `(H, W, 3)` uint8 RGB, with its element or null; places in it are in pixels of `pixels`."""

    pixels: NDArray[np.uint8]
    time_s: float
    element: Any


def draw_tile(tile: Tile, width: int) -> Image.Image:
    """Draw a tile `width` pixels wide, as high as its frame's shape and its lines ask for.

    Raises `deployments.sheet_pictures.DrawingLibraryError`.
    """
    from PIL import Image, ImageDraw

    picture = picture_of(tile.pixels, tile.element, width)
    panel_height = 2 * PAD + MOST_LINES * _LINE_HEIGHT - 6
    image = Image.new("RGB", (width, picture.height + panel_height), _PANEL)
    image.paste(picture, (0, 0))
    pen = ImageDraw.Draw(image)
    _draw_time(pen, tile.time_s)
    top = picture.height + PAD
    for line in caption(tile.element):
        _draw_line(pen, line, top, width)
        top += _LINE_HEIGHT
    return image


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


def _draw_time(pen: ImageDraw.ImageDraw, time_s: float) -> None:
    text = clock(time_s)
    right = 10 + pen.textlength(text, font=font(_TEXT_SIZE)) + 18
    pen.rounded_rectangle((10, 10, right, 38), radius=6, fill=BACKGROUND)
    pen.text((19, 24), text, fill=INK, font=font(_TEXT_SIZE), anchor="lm")


def _draw_line(pen: ImageDraw.ImageDraw, line: Line, top: int, width: int) -> None:
    left, right, middle = PAD, width - PAD, top + (_LINE_HEIGHT - 6) // 2
    room = right - left - 16
    figure = line.figure
    if line.share is not None:
        pen.rounded_rectangle((left, top, right, top + _LINE_HEIGHT - 6), radius=4, fill="#272d37")
        end = left + max(4, round((right - left) * min(1.0, line.share)))
        pen.rounded_rectangle((left, top, end, top + _LINE_HEIGHT - 6), radius=4, fill=BAR)
        figure = figure or f"{line.share:.0%}"
    if figure is not None:
        pen.text((right - 8, middle), figure, fill=INK, font=font(_TEXT_SIZE), anchor="rm")
        room -= round(pen.textlength(figure, font=font(_TEXT_SIZE))) + 12
    if line.class_id is not None:
        pen.rectangle((left + 6, middle - 7, left + 20, middle + 7), fill=class_colour(line.class_id))
        left, room = left + _SWATCH, room - _SWATCH
    pen.text((left + 8, middle), _fitted(pen, line.text, room), fill=INK, font=font(_TEXT_SIZE), anchor="lm")


def _fitted(pen: ImageDraw.ImageDraw, text: str, room: int) -> str:
    """The text, cut with an ellipsis where it is longer than `room` pixels."""
    if pen.textlength(text, font=font(_TEXT_SIZE)) <= room:
        return text
    while text and pen.textlength(text + "…", font=font(_TEXT_SIZE)) > room:
        text = text[:-1]
    return text.rstrip() + "…"
