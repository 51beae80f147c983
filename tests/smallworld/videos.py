"""Videos of the small world: H.264 in mp4, at any rate, turned or of variable rate, with the truth of every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.smallworld.measuring import Sample
from tests.smallworld.scenes import Frame, Kind, Scene

_TICK = Fraction(1, 90_000)


@dataclass(frozen=True)
class Video:
    """A file and what it shows; frames are numbered in the order of presentation, as displayed."""

    path: Path
    scene: Scene
    times_s: tuple[Fraction, ...]
    """When each frame is presented."""
    scene_times_s: tuple[Fraction, ...]
    """Which moment of the scene each frame shows."""

    def truth(self, index: int) -> Frame:
        """The frame as it was before it was coded, and all that is known about it."""
        return self.scene.frame(float(self.scene_times_s[index]))


def write_video(
    path: Path,
    kind: Kind,
    seed: int,
    *,
    frames: int = 50,
    rate: Fraction = Fraction(25),
    times_s: Sequence[Fraction] | None = None,
    scene_times_s: Sequence[Fraction] | None = None,
    rotation: int = 0,
    crf: int = 23,
    gop: int = 50,
) -> Video:
    """Write the scene of `seed` as a player shall show it.

    `times_s`, rising from 0, makes a video of variable rate, in place of `frames` and `rate`; its frames show the scene
    at those times, or at `scene_times_s`. `rotation`, in degrees clockwise, is what a player has to turn the stored
    frames by: they are stored turned back, so that the truth holds.
    """
    if rotation not in (0, 90, 180, 270):
        raise ValueError(f"a display matrix turns by 0, 90, 180 or 270 degrees here, not by {rotation}")
    scene = Scene(kind, seed)
    shown_s = tuple(Fraction(index) / rate for index in range(frames)) if times_s is None else tuple(times_s)
    moments_s = shown_s if scene_times_s is None else tuple(scene_times_s)
    time_base = 1 / rate if times_s is None else _TICK
    sideways = rotation in (90, 270)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": str(crf)})
        stream.width, stream.height = (kind.height_px, kind.width_px) if sideways else (kind.width_px, kind.height_px)
        stream.pix_fmt = "yuv420p"
        stream.gop_size = gop
        stream.codec_context.time_base = time_base
        if rotation:
            stream.set_display_rotation(-rotation)
        for time_s, moment_s in zip(shown_s, moments_s, strict=True):
            stored = np.rot90(scene.frame(float(moment_s)).rgb, rotation // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24")
            frame.pts, frame.time_base = round(time_s / time_base), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Video(path, scene, shown_s, moments_s)


def uneven_times(seed: int, frames: int, *, rate: Fraction = Fraction(25)) -> tuple[Fraction, ...]:
    """Presentation times from 0 on whose steps vary between half and twice those of `rate`, in whole ticks."""
    rng = np.random.default_rng([9, seed])
    steps = [int(tick) for tick in rng.uniform(0.5, 2.0, frames - 1) / float(rate * _TICK)]
    return tuple(int(ticks) * _TICK for ticks in np.cumsum([0, *steps]))


def read_stored(path: Path) -> list[NDArray[np.uint8]]:
    """Every frame of a video that is stored as it is shown, as PyAV decodes it: RGB `(height, width, 3)`."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def video_samples(kind: Kind, seeds: Sequence[int], folder: Path, *, frames: int, every: int) -> list[Sample]:
    """Every `every`-th frame of a video of each seed, as it comes out of the coder."""
    samples = []
    for seed in seeds:
        video = write_video(folder / f"{kind.name}-{seed}.mp4", kind, seed, frames=frames)
        for index, rgb in enumerate(read_stored(video.path)):
            if index % every == 0:
                samples.append(Sample(rgb, video.truth(index), seed))
    return samples
