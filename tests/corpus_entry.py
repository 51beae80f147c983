"""What an entry of the corpus is: how a file is made, and what a user is meant to see of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.video_files import make_video

FRAMES = 120
RATE = Fraction(10)
GOP = 25
"""Most files last twelve seconds: at 0.2 frames a second that is three samples, one of them in the last half."""


@dataclass(frozen=True)
class Frames:
    """All frames are there, each as sequential decoding gives it."""

    count: int = FRAMES
    rate: str = "10"
    constant: bool = True
    counted_by: str = "index"
    first_number: int | None = 0
    """The number that the first frame carries, the others following; None where frames carry none or in no order."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further facts by their names."""


@dataclass(frozen=True)
class Remains:
    """A part of a whole file's frames, each at its place in the whole: the rest is null, or missing at the end.

    The whole lies beside the file, see `whole_of`.
    """

    of: int = FRAMES
    tail_missing: bool = False
    """The end is cut off: frames from some place on aren't listed."""
    missing_known: bool = True
    """The file still says how many frames aren't listed, so that they are counted."""
    least_lost: int = 1
    most_lost: int = 2 * GOP
    """Frames that are null or missing."""
    swallowed: range = range(0)
    """Frames that may be others than the whole file's: noise that a decoder takes for pictures shows nowhere."""
    counted_by: str = "index"
    """Where it is `decoding`, frames behind a loss stand earlier by what was lost."""
    rate: str = "10"


@dataclass(frozen=True)
class Refused:
    """An error, by its name and its sentence."""

    error: str
    sentence: str


@dataclass(frozen=True)
class CorpusFile:
    """One file: `make` writes it to the path that it is given, in a folder of its own."""

    name: str
    make: Callable[[Path], object]
    outcome: Frames | Remains | Refused = field(default_factory=Frames)
    file_name: str = "video.mp4"
    needs_ffmpeg: bool = False
    long: bool = False
    rates: tuple[Fraction | None, ...] = (Fraction(1, 5), Fraction(1), Fraction(5), None)
    """Rates that its frames are asked for at; None is every frame."""


def whole_of(path: Path) -> Path:
    """Where a damaged file's undamaged twin lies."""
    return path.with_name(f"whole{path.suffix}")


def video(**changes: Any) -> Callable[[Path], object]:
    """Make a barcoded video of twelve seconds in groups of 25, but for `changes` (see `Recipe`)."""
    recipe = {"frames": FRAMES, "rate": RATE, "gop": GOP, **changes}
    if recipe.get("codec", "libx264") == "libx264":
        # Without this, nearly every barcode counts as a change of scene and gets a keyframe.
        recipe["options"] = {"sc_threshold": "0", **recipe.get("options", {})}
    return lambda path: make_video(path, **recipe)


def then(make: Callable[[Path], object], change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Make a file, then change it where it stands."""

    def both(path: Path) -> None:
        make(path)
        change(path)

    return both


def once(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Make a file that several entries start from only once for all of them."""
    made: list[bytes] = []

    def copy(path: Path) -> None:
        if not made:
            make(path)
            made.append(path.read_bytes())
        path.write_bytes(made[0])

    return copy


def damaged(make: Callable[[Path], object], damage: Callable[[Path, Path], object]) -> Callable[[Path], object]:
    """Make the whole file beside the path, and write its damaged copy there."""

    def both(path: Path) -> None:
        make(whole_of(path))
        damage(whole_of(path), path)

    return both
