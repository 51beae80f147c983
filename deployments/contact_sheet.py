"""A contact sheet: some frames of a result, evenly over it, each with what a model said of it, as one PNG.

`draw_contact_sheet` takes a result folder and its video. The frames are decoded as they were for the model, so the
sheet shows what the model saw. How one tile looks is sheet_tiles.py's matter.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.sheet_tiles import BACKGROUND, FAINT, INK, Tile, clock, draw_tile, font
from models.errors import PassingError, PermanentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

MARGIN = 32
GAP = 20
TITLE_SIZE, SUBTITLE_SIZE = 28, 16
TITLE_HEIGHT = 84
_GREY = 64


class ResultUnreadableError(PermanentError):
    """A folder holds no result that a sheet can be drawn of."""


class FramesLostError(PassingError):
    """The decoder failed where another try may not."""


@dataclass(frozen=True)
class ModelResult:
    """One model's list of a result, its lists all of length n."""

    key: str
    frame_offset: list[int]
    time_offset: list[float]
    elements: list[Any]

    def __post_init__(self) -> None:
        lengths = {len(self.frame_offset), len(self.time_offset), len(self.elements)}
        if len(lengths) > 1:
            raise ValueError(f"expected lists of one length, got lengths {sorted(lengths)}")


def read_model_result(result_dir: Path, model_key: str | None = None) -> ModelResult:
    """Read `predictions.json` of a result folder: the list of `model_key`, or of the first model.

    Raises `ResultUnreadableError` where there is no result or no such model in it.
    """
    path = result_dir / "predictions.json"
    try:
        lists = json.loads(path.read_bytes())
        keys = [key for key in lists if key not in ("frame_offset", "time_offset")]
        key = model_key or keys[0]
        return ModelResult(key, lists["frame_offset"], lists["time_offset"], lists[key])
    except OSError as error:
        raise ResultUnreadableError(
            f"{path} cannot be read ({error.strerror}); give a folder that reelmill infer --out has written."
        ) from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        wanted = f"no result of the model {model_key!r}" if model_key else "no result of reelmill"
        raise ResultUnreadableError(
            f"{path} holds {wanted}; give the folder and the key of one that it has."
        ) from error


def draw_contact_sheet(
    result_dir: Path,
    video: Path,
    png: Path,
    *,
    model_key: str | None = None,
    frames: int = 12,
    columns: int = 4,
    tile_width: int = 420,
) -> Path:
    """Write a sheet of at most `frames` tiles, `tile_width` pixels wide each, to `png` and return its path.

    `result_dir` holds predictions.json as `reelmill infer --out` wrote it, `video` is the file that it speaks of.
    Raises `ResultUnreadableError`, `FramesLostError` and the decoder's errors for what cannot be read, and
    `DrawingLibraryError` where boxes cannot be drawn.
    """
    result = read_model_result(result_dir, model_key)
    chosen = evenly(len(result.frame_offset), frames)
    pictures = frames_as_seen(video, [result.frame_offset[i] for i in chosen])
    tiles = [
        draw_tile(Tile(picture, result.time_offset[i], result.elements[i]), tile_width)
        for i, picture in zip(chosen, pictures, strict=True)
    ]
    title = f"{video.name}  ·  {result.key}"
    count = len(result.frame_offset)
    span = f", {clock(result.time_offset[0])} to {clock(result.time_offset[-1])}" if count else ""
    subtitle = f"{len(tiles)} of {count} sampled frames{span}"
    png.parent.mkdir(parents=True, exist_ok=True)
    arrange(tiles, title, subtitle, columns=columns).save(png, optimize=True)
    return png


def evenly(count: int, wanted: int) -> list[int]:
    """At most `wanted` different indices below `count`, in the middle of equal parts of it."""
    parts = min(count, wanted)
    return [(2 * i + 1) * count // (2 * parts) for i in range(parts)]


def frames_as_seen(video: Path, frame_offsets: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Decode the frames at increasing `frame_offsets` as a job does: `(H, W, 3)` RGB, grey where one cannot be decoded.

    Raises `ResultUnreadableError` where the video has no such frame, `FramesLostError`, and the decoder's errors.
    """
    import numpy as np

    from tasks.decoding import ExtractedFrame, extract
    from tasks.plans import Plan, make_plan
    from tasks.probing import probe

    facts, index = probe(video)
    every = make_plan(index, infer_fps=None)
    chosen = np.asarray(frame_offsets, dtype=np.int64)
    if len(chosen) and chosen[-1] >= len(every):
        raise ResultUnreadableError(
            f"The result speaks of frame {chosen[-1]} and {video.name} has {len(every)} frames; "
            "give the video that it was made from."
        )
    plan = Plan(
        frame_offset=every.frame_offset[chosen],
        time_offset=every.time_offset[chosen],
        pts=every.pts[chosen],
        key_pts=every.key_pts[chosen],
        leading=every.leading[chosen],
        segments=[(0, len(chosen))] if len(chosen) else [],
        counted_by=every.counted_by,
    )
    pictures = [np.full((facts.height, facts.width, 3), _GREY, dtype=np.uint8)] * len(plan)
    for event in extract(video, plan, range(len(plan.segments)), facts=facts):
        if not isinstance(event, ExtractedFrame):
            continue
        if event.passing:
            raise FramesLostError(
                f"{video.name} could not be decoded this time ({event.reason}); draw the sheet again."
            )
        if event.pixels is not None:
            pictures[event.sample] = event.pixels.copy()
    return pictures


def arrange(tiles: Sequence[Image.Image], title: str, subtitle: str, *, columns: int) -> Image.Image:
    """Lay tiles of one width out in rows under a title; a row is as high as its highest tile."""
    from PIL import Image, ImageDraw

    columns = max(1, min(columns, len(tiles)))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in row) for row in rows]
    tile_width = tiles[0].width if tiles else 0
    width = max(2 * MARGIN + columns * tile_width + (columns - 1) * GAP, 640)
    sheet = Image.new("RGB", (width, MARGIN + TITLE_HEIGHT + sum(heights) + GAP * (len(rows) - 1) + MARGIN), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, fill=INK, font=font(TITLE_SIZE))
    pen.text((MARGIN, MARGIN + 42), subtitle, fill=FAINT, font=font(SUBTITLE_SIZE))
    top = MARGIN + TITLE_HEIGHT
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (MARGIN + column * (tile_width + GAP), top))
        top += height + GAP
    return sheet
