"""A small world with exact truth: coloured shapes that move over textures, and tiny models that learned to see them.

No weights of large models can be had where the tests run, and a model test without truth proves nothing. Here
everything is known: which shapes stand where in every frame of a video, pixel by pixel.

    shapes, textures, motion    one shape: its edge, area and key points; what lies behind; how shapes move
    scenes, captions            a video as a function of time: a seed in, frames and their truth out; in words
    videos                      the same as files
    scoring, measuring, cards   how well a model does, in figures and on its card
    stills, wear, tokens        what training sees
    training_*                  how the weights under weights/ were made

Seeds from 0 train, seeds from 10 million choose and score stills, seeds from 20 million are for tests of whole videos
and take no part in either.
"""

from pathlib import Path

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""A folder for each model, in the layout of the hub."""

FIRST_HELD_OUT_SEED = 10_000_000
FIRST_VIDEO_SEED = 20_000_000
