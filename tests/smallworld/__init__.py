"""A small world with exact truth: coloured shapes that move over textures, and tiny models that learned to see them.

No weights of large models can be had where the tests run, and a model test without truth proves nothing. Here
everything is known: which shapes stand where in every frame of a video, pixel by pixel.

    shapes      one shape: where its edge runs, its area, its key points
    textures    what lies behind
    scenes      a video as a function of time: a seed in, frames and their truth out
    captions    scenes in words
    videos      the same as files
    scoring     mean average precision, intersection over union, top-1
    training_*  how the weights under weights/ were made

Seeds from 0 train, seeds from 10 million choose and score stills, seeds from 20 million are for tests of whole videos
and take no part in either.
"""

from pathlib import Path

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""A folder for each model, in the layout of the hub."""

FIRST_TRAINING_SEED = 0
FIRST_HELD_OUT_SEED = 10_000_000
FIRST_VIDEO_SEED = 20_000_000
