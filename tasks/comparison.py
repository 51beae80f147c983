"""How far two results differ, by type: for upgrades, recoveries and other devices, where bytes are never equal.

Both files are read whole: a result of a million elements takes some gigabytes of memory, twice. What is left out on
purpose: `time` and ids, which differ from run to run, and the order of keys and boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.errors import PermanentError
from tasks.element_comparison import COMPARERS
from tasks.element_differences import Comparer, Difference, Kind, UnlikeComparer

_OFFSETS = ("frame_offset", "time_offset")


class ResultUnreadableError(PermanentError):
    """There is no result at the path, or it is not one."""


class UnknownElementError(PermanentError):
    """The elements have a shape that no comparer knows."""


@dataclass(frozen=True)
class ModelComparison:
    """One model's lists, over the frames that both results have."""

    key: str
    element_type: str | None
    """`None` where neither result has an element."""
    frames_compared: int
    """Frames where both have an element."""
    frames_null_differ: int
    """Frames where one has an element and the other null."""
    compared: int
    unit: str
    """What `compared` counts: boxes, classes, faces, …"""
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class ResultComparison:
    """Everything in which two results differ; a is the first, b the second."""

    frames_a: int
    frames_b: int
    frames_common: int
    frame_offset_equal: bool
    time_offset_equal: bool
    models_only_in_a: tuple[str, ...]
    models_only_in_b: tuple[str, ...]
    models: tuple[ModelComparison, ...]


def compare_results(a: Path, b: Path) -> ResultComparison:
    """Compare two results, each a folder with a predictions.json or such a file.

    Frames are matched by frame_offset. Raises `ResultUnreadableError` and `UnknownElementError`.
    """
    result_a, result_b = load_result(a), load_result(b)
    keys_a, keys_b = ([key for key in result if key not in _OFFSETS] for result in (result_a, result_b))
    rows = list(_common_rows(result_a["frame_offset"], result_b["frame_offset"]))
    return ResultComparison(
        frames_a=len(result_a["frame_offset"]),
        frames_b=len(result_b["frame_offset"]),
        frames_common=len(rows),
        frame_offset_equal=result_a["frame_offset"] == result_b["frame_offset"],
        time_offset_equal=result_a["time_offset"] == result_b["time_offset"],
        models_only_in_a=tuple(key for key in keys_a if key not in keys_b),
        models_only_in_b=tuple(key for key in keys_b if key not in keys_a),
        models=tuple(
            _compare_model(key, [(result_a[key][i], result_b[key][j]) for i, j in rows])
            for key in keys_a
            if key in keys_b
        ),
    )


def equal(
    report: ResultComparison, *, box_px: float = 0.0, score: float = 0.0, mask: float = 0.0, angle_rad: float = 0.0
) -> bool:
    """Whether the results have the same frames, models, nulls and classes, and what is measured within the tolerances.

    `box_px` goes for every place in a frame, `score` for similarities and 1 - cosine too, `mask` for the share of a
    mask's or a map's pixels.
    """
    tolerance: dict[Kind, float] = {
        "count": 0,
        "pixels": box_px,
        "score": score,
        "mask": mask,
        "angle": angle_rad,
    }
    return (
        report.frame_offset_equal
        and report.time_offset_equal
        and not report.models_only_in_a
        and not report.models_only_in_b
        and all(model.frames_null_differ == 0 for model in report.models)
        and all(
            difference.value <= tolerance[difference.kind]
            for model in report.models
            for difference in model.differences
        )
    )


def report_as_dict(report: ResultComparison) -> dict[str, Any]:
    """Give the report for JSON; each model's differences are one object by name."""
    said = asdict(report)
    for said_model, model in zip(said["models"], report.models, strict=True):
        said_model["differences"] = {difference.name: difference.value for difference in model.differences}
    return said


def report_as_lines(report: ResultComparison) -> list[str]:
    """Give the report as lines to read, the lists first, then each model."""
    lines = [f"frames: {report.frames_a} and {report.frames_b}, {report.frames_common} in both"]
    lines += [f"{name}: {'equal' if getattr(report, f'{name}_equal') else 'DIFFERENT'}" for name in _OFFSETS]
    lines += [f"only in the first: {key}" for key in report.models_only_in_a]
    lines += [f"only in the second: {key}" for key in report.models_only_in_b]
    for model in report.models:
        lines.append(
            f"{model.key} ({model.element_type or 'no element'}): "
            f"{model.frames_compared} frames, {model.compared} {model.unit} compared"
        )
        lines.append(f"  frames null in one only: {model.frames_null_differ}")
        lines += [f"  {difference.name.replace('_', ' ')}: {difference.value:.6g}" for difference in model.differences]
    return lines


def load_result(path: Path) -> dict[str, list[Any]]:
    """Read a predictions.json, or the one in a folder. Raises `ResultUnreadableError` for anything else."""
    import orjson

    file = path / "predictions.json" if path.is_dir() else path
    try:
        result = orjson.loads(file.read_bytes())
    except OSError as error:
        raise ResultUnreadableError(f"{file} cannot be read ({error.strerror}); name a result's folder.") from error
    except orjson.JSONDecodeError as error:
        raise ResultUnreadableError(f"{file} is not JSON ({error}); name a predictions.json or its folder.") from error
    lists = isinstance(result, dict) and all(isinstance(entry, list) for entry in result.values())
    if not lists or any(name not in result for name in _OFFSETS) or len({*map(len, result.values())}) != 1:
        raise ResultUnreadableError(
            f"{file} is not a result: it is no object of equally long lists with frame_offset and time_offset."
        )
    return {str(key): entry for key, entry in result.items()}


def _common_rows(frames_a: list[int], frames_b: list[int]) -> Iterator[tuple[int, int]]:
    row_of_b = {frame: row for row, frame in enumerate(frames_b)}
    return ((row, row_of_b[frame]) for row, frame in enumerate(frames_a) if frame in row_of_b)


def _compare_model(key: str, pairs: list[tuple[Any, Any]]) -> ModelComparison:
    comparer = _comparer(key, pairs)
    good = [(a, b) for a, b in pairs if a is not None and b is not None]
    if comparer is not None:
        for a, b in good:
            comparer.add(a, b)
    return ModelComparison(
        key=key,
        element_type=comparer.element_type if comparer else None,
        frames_compared=len(good),
        frames_null_differ=sum((a is None) != (b is None) for a, b in pairs),
        compared=comparer.compared if comparer else 0,
        unit=comparer.unit if comparer else "elements",
        differences=tuple(comparer.differences() if comparer else ()),
    )


def _comparer(key: str, pairs: list[tuple[Any, Any]]) -> Comparer | None:
    """Give what compares the elements of both sides, `None` where there are none. Raises `UnknownElementError`."""
    sides = [[pair[side] for pair in pairs if pair[side] is not None] for side in (0, 1)]
    together = _first_that_takes(sides[0] + sides[1])
    if together is not None or not any(sides):
        return together() if together else None
    types = [found.element_type for found in map(_first_that_takes, sides) if found]
    if len(types) < sum(map(bool, sides)):
        known = ", ".join(comparer.element_type for comparer in COMPARERS)
        raise UnknownElementError(f"The elements of {key!r} have a shape that cannot be compared; known are {known}.")
    return UnlikeComparer(" and ".join(types))


def _first_that_takes(elements: list[Any]) -> type[Comparer] | None:
    """Judge by all of them: an element in which nothing was found may have the shape of several types."""
    return next((comparer for comparer in COMPARERS if all(map(comparer.takes, elements))), None) if elements else None
