"""What the benchmark of jobs found, as tables and as a picture. Reads nothing but what stands in its JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.job_peer_sections import OURS
from tests.benchmarks.job_ratios import allowed_bytes, each_more, second_model, whole_to_larger, whole_to_sum

Medians = Mapping[str, Mapping[str, Any]]
_FIGURES = ("frames", "frames/s", "wall s", "set-up s", "CPU s", "peak MB", "start-up s")
FOOT = """
Medians over rounds in which all take turns; each run in a fresh process. Start-up (imports, models loaded once, the
process that decode workers are forked from, Ray itself) is not in the wall. Set-up is loading models once more, which
is in the wall of jobs and of Ray Data; frames/s and ratios to peers are without it. CPU s: user and system time of all
processes. Peak: all processes, first round. Frames count once for each model.
"""


def tables(parts: Mapping[str, Any], screen: Console) -> None:
    """Print every part that was measured."""
    for name, draw in _DRAWN.items():
        if name in parts:
            for table in draw(parts[name]):
                screen.print(table)
    screen.print(FOOT)


def working_s(figures: Mapping[str, Any]) -> float:
    """Wall seconds without the set-up of models."""
    return float(figures["wall_s"]) - float(figures.get("setup_s") or 0.0)


def job_ratios(medians: Medians, models: list[str]) -> dict[str, dict[str, float]]:
    """Each job that was measured against its ceilings, with its models' set-up and without, by the job's name."""
    found = {}
    for name, models_of in _jobs_of(medians, models):
        forwards_s = [medians[f"forward {model}"]["wall_s"] for model in models_of]
        decode_s, job = medians["decode"]["wall_s"], medians[name]
        found[name] = {
            "to_sum": whole_to_sum(job["wall_s"], decode_s, forwards_s),
            "to_sum_without_setup": whole_to_sum(working_s(job), decode_s, forwards_s),
            "to_larger": whole_to_larger(job["wall_s"], decode_s, forwards_s),
            "ceilings_s": decode_s + sum(forwards_s),
        }
    return found


def second_models(medians: Medians, models: list[str]) -> dict[str, float]:
    """What the second model adds to the first one's job, in its own forwards, without set-up; empty if not measured."""
    if len(models) < 2:
        return {}
    one, two, forward = f"job {models[0]}", f"job {models[0]} + {models[1]}", f"forward {models[1]}"
    if any("wall_s" not in medians.get(name, {}) for name in (one, two, forward)):
        return {}
    return {two: second_model(working_s(medians[two]), working_s(medians[one]), medians[forward]["wall_s"])}


def _jobs_of(medians: Medians, models: list[str]) -> Iterator[tuple[str, list[str]]]:
    for name, figures in medians.items():
        if not name.startswith("job ") or "wall_s" not in figures:
            continue
        of_job = name.removeprefix("job ").split(" + ")
        if all("wall_s" in medians.get(part, {}) for part in ("decode", *(f"forward {model}" for model in of_job))):
            yield name, of_job


def _cells(figures: Mapping[str, Any]) -> list[str]:
    if "wall_s" not in figures:
        return [f"failed: {figures['why']}", *[""] * (len(_FIGURES) - 1)]
    peak = figures.get("peak_bytes")
    return [
        f"{figures['frames']:.0f}",
        f"{figures['frames'] / working_s(figures):.1f}",
        f"{figures['wall_s']:.2f}",
        f"{figures['setup_s']:.2f}" if figures.get("setup_s") else "",
        f"{figures['cpu_s']:.2f}",
        f"{peak / 1e6:.0f}" if peak else "",
        f"{figures['startup_s']:.1f}",
    ]


def _table(title: str, *more: str) -> Table:
    table = Table("what", title=title)
    for column in (*_FIGURES, *more):
        table.add_column(column, justify="right")
    return table


def _ceilings(part: Mapping[str, Any]) -> Iterator[Table]:
    for fps, rate in part["rates"].items():
        title = f"Ceilings and jobs: {rate['seconds']:g} s of 1080p at {fps} a second"
        table = _table(title, "÷ sum of ceilings", "without set-up", "÷ larger", "GPU busy", "setting")
        ratios = job_ratios(rate["medians"], part["models"])
        for name, figures in rate["medians"].items():
            told = ratios.get(name, {})
            shown = [f"{told[one]:.3f}" if told else "" for one in ("to_sum", "to_sum_without_setup", "to_larger")]
            busy = f"{figures['gpu_busy']:.0%}" if figures.get("gpu_busy") is not None else ""
            table.add_row(name, *_cells(figures), *shown, busy, figures["setting"])
        for name, share in second_models(rate["medians"], part["models"]).items():
            table.caption = f"The second model of “{name}” adds {share:.3f} of its own forward, without set-up."
        yield table


def _clips(part: Mapping[str, Any]) -> Iterator[Table]:
    table = _table(f"{part['clips']} clips of {part['clip_s']} s against the same frames as one video", "÷ one video")
    whole = part["medians"]["one video"]
    for name, figures in part["medians"].items():
        both = "wall_s" in figures and "wall_s" in whole
        table.add_row(name, *_cells(figures), f"{figures['wall_s'] / whole['wall_s']:.3f}" if both else "")
    yield table


def _peers(part: Mapping[str, Any]) -> Iterator[Table]:
    for row in part["rows"]:
        title = f"Peers: {row['model']} at {row['fps']} a second, {part['seconds']} s of 1080p"
        table, ours = _table(title, "÷ ours", "same boxes", "setting"), row["medians"][OURS]
        for name, figures in row["medians"].items():
            both = "wall_s" in figures and "wall_s" in ours
            ratio = f"{working_s(figures) / working_s(ours):.2f}" if both else ""
            table.add_row(name, *_cells(figures), ratio, _same(row["agreement"].get(name)), figures["setting"])
        yield table
    table = _table(f"{', '.join(part['one job a model']['models'])} at 1 a second", "÷ one job")
    medians = part["one job a model"]["medians"]
    for name, figures in medians.items():
        both = "wall_s" in figures and "wall_s" in medians["one job"]
        ratio = f"{working_s(figures) / working_s(medians['one job']):.2f}" if both else ""
        table.add_row(name, *_cells(figures), ratio)
    yield table


def _same(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return ""
    if not told["same_frames"]:
        return "other frames"
    return "no boxes" if told["share"] is None else f"{told['share']:.1%} of {told['boxes']}"


def _growth(part: Mapping[str, Any]) -> Iterator[Table]:
    table, medians = _table("Cost as work grows", "each more"), part["medians"]
    kinds = {name: name.split()[-1] for name in medians}
    for name, figures in medians.items():
        alike = [other for other, kind in kinds.items() if kind == kinds[name] and "wall_s" in medians[other]]
        place = alike.index(name) if name in alike else 0
        more = _each_more(alike[place - 1], name, medians) if place else ""
        table.add_row(name, *_cells(figures), more)
    yield table


def _each_more(small: str, large: str, medians: Medians) -> str:
    """What each more of something cost, from one run to the next larger one; names begin with its count."""
    counts = [float(name.split()[0]) for name in (small, large)]
    seconds = [working_s(medians[name]) for name in (small, large)]
    frames = [medians[name]["frames"] for name in (small, large)]
    if large.endswith("frames"):
        return f"{1e3 * each_more(frames[0], seconds[0], frames[1], seconds[1]):.1f} ms a frame"
    each_s = each_more(counts[0], seconds[0], counts[1], seconds[1])
    if large.endswith("objects"):
        return f"{1e6 * each_s / frames[1]:.2f} µs an object"
    return f"{each_s:.2f} s a model"


def _memory(part: Mapping[str, Any]) -> Iterator[Table]:
    table = Table(title="Peak memory of all processes of a whole job, from its start")
    for column in ("length", "packets", "peak MB", "allowed MB", "wall s"):
        table.add_column(column, justify="right")
    base = next(iter(part["medians"].values()))
    for name, figures in part["medians"].items():
        packets = part["packets"][name]
        if "wall_s" not in figures or "wall_s" not in base:
            table.add_row(name, str(packets), f"failed: {figures['why']}")
            continue
        allowed = allowed_bytes(base["peak_bytes"], packets)
        peak = f"{figures['peak_bytes'] / 1e6:.1f}"
        table.add_row(name, str(packets), peak, f"{allowed / 1e6:.1f}", f"{figures['wall_s']:.1f}")
    yield table


_DRAWN = {"ceilings": _ceilings, "clips": _clips, "peers": _peers, "growth": _growth, "memory": _memory}
