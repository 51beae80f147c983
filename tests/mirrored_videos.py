"""Videos whose display matrix mirrors their frames, as some front cameras write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.mp4_boxes import display_matrix, edit_video_track
from tests.video_files import Recipe, make_video


def make_mirrored(path: Path, matrix: tuple[int, int, int, int], **changes: object) -> Path:
    """Write an mp4 whose display matrix (see `tests.mp4_boxes`) mirrors its frames back to what `barcode` drew."""
    recipe = Recipe(**changes)  # type: ignore[arg-type]
    turned = matrix[0] == 0
    made = make_video(path, replace(recipe, stored=_stored_for(matrix)))
    width, height = (recipe.height, recipe.width) if turned else (recipe.width, recipe.height)
    edit_video_track(made, "tkhd", display_matrix(matrix, width, height))
    return made


def _stored_for(matrix: tuple[int, int, int, int]) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """The frame that a player turns into the given one: rows and columns change places where the diagonal is 0."""
    a, b, c, d = matrix

    def stored(shown: NDArray[np.uint8]) -> NDArray[np.uint8]:
        shown = shown[:, ::-1] if a + c < 0 else shown
        shown = shown[::-1] if b + d < 0 else shown
        return shown.swapaxes(0, 1) if a == 0 else shown

    return stored
