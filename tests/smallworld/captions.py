"""Scenes in words: "a red circle", "a red circle and a blue star". Colour and shape, at most two, in a fixed order."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np

from tests.smallworld.scenes import COLOURS, PAIR, Scene
from tests.smallworld.shapes import SHAPES

LABELS = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
"""The twenty classes of a single object."""
CANDIDATES = 20


def caption_of(labels: list[str]) -> str:
    """The caption of one or two labels such as "red circle", whatever their order; ValueError for another number."""
    if len(labels) not in (1, 2):
        raise ValueError(f"a caption speaks of one or two objects, not of {len(labels)}")
    return " and ".join(f"a {label}" for label in sorted(labels, key=LABELS.index))


CAPTIONS = tuple(
    caption_of(list(labels)) for count in (1, 2) for labels in combinations_with_replacement(LABELS, count)
)
"""Every caption there is: 20 of one object, 210 of two."""


def scene_caption(scene: Scene) -> str:
    """The caption of a scene of kind `PAIR`, which holds for all of its frames."""
    return caption_of([thing.label for thing in scene.objects if not thing.speck])


def candidate_captions(seed: int) -> list[str]:
    """`CANDIDATES` different captions for the scene of kind `PAIR` with this seed, its own first.

    The others are drawn as scenes are: half speak of one object, half of two.
    """
    right = scene_caption(Scene(PAIR, seed))
    rng = np.random.default_rng([77, seed])
    found = {right: None}
    while len(found) < CANDIDATES:
        labels = rng.choice(LABELS, size=rng.integers(1, 3))
        found.setdefault(caption_of([str(label) for label in labels]), None)
    return list(found)
