"""The benchmark of jobs as a picture: whole jobs beside their ceilings, and frames a second beside the peers'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.job_peer_sections import OURS
from tests.benchmarks.job_report import job_ratios, working_s

_OURS_COLOUR, _DECODE_COLOUR = "#c8401e", "#37586b"
_FORWARD_COLOURS = ("#6ea6b8", "#9cc9cf", "#c7e3df")
_PEER_COLOURS = ("#6ea6b8", "#37586b", "#b9c4c9")


def chart(parts: Mapping[str, Any], path: Path) -> None:
    """A panel for each rate of jobs, and one for the peers; nothing where neither was measured."""
    rates = parts.get("ceilings", {}).get("rates", {})
    panels = len(rates) + ("peers" in parts)
    if not panels:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(panels, 1, figsize=(10, 3.4 * panels), layout="constrained", squeeze=False)
    drawn = iter(axes[:, 0])
    for fps, rate in rates.items():
        _jobs(next(drawn), fps, rate, parts["ceilings"]["models"])
    if "peers" in parts:
        _peers(next(drawn), parts["peers"])
    for panel in axes[:, 0]:
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_axisbelow(True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _jobs(panel: Any, fps: str, rate: Mapping[str, Any], models: list[str]) -> None:
    """Each job's wall below the wall of its parts, put together."""
    medians, ratios = rate["medians"], job_ratios(rate["medians"], models)
    colours = dict(zip(models, _FORWARD_COLOURS, strict=False))
    named: set[str] = set()
    for place, name in enumerate(ratios):
        parts = [("decode", medians["decode"]["wall_s"], _DECODE_COLOUR)]
        for model in name.removeprefix("job ").split(" + "):
            parts.append((f"forward {model}", medians[f"forward {model}"]["wall_s"], colours[model]))
        left = 0.0
        for label, seconds, colour in parts:
            panel.barh(place - 0.2, seconds, 0.36, left, color=colour, label=None if label in named else label)
            named.add(label)
            left += seconds
        label = None if OURS in named else "whole job"
        panel.barh(place + 0.2, medians[name]["wall_s"], 0.36, color=_OURS_COLOUR, label=label)
        panel.text(medians[name]["wall_s"], place + 0.2, f" {ratios[name]['to_sum']:.2f} ×", va="center", fontsize=8)
        named.add(OURS)
    panel.set_yticks(range(len(ratios)), [name.removeprefix("job ") for name in ratios], fontsize=8)
    panel.invert_yaxis()
    panel.set_xlabel("wall seconds")
    panel.set_title(
        f"{rate['seconds']:g} s of 1080p, {fps} frames a second: jobs and their parts", loc="left", fontsize=10
    )
    panel.grid(axis="x", alpha=0.3)
    if ratios:
        panel.legend(fontsize=8, frameon=False)


def _peers(panel: Any, part: Mapping[str, Any]) -> None:
    rows = part["rows"]
    names = list(dict.fromkeys(name for row in rows for name in row["medians"]))
    colours = dict(zip(names, (_OURS_COLOUR, *_PEER_COLOURS), strict=False))
    for place, name in enumerate(names):
        ran = [(number, row["medians"][name]) for number, row in enumerate(rows) if name in row["medians"]]
        ran = [(number, figures) for number, figures in ran if "wall_s" in figures]
        where = [number + (place - len(names) / 2 + 0.5) * 0.8 / len(names) for number, _ in ran]
        speeds = [figures["frames"] / working_s(figures) for _, figures in ran]
        panel.bar(where, speeds, 0.8 / len(names), label=name, color=colours.get(name))
    panel.set_xticks(range(len(rows)), [f"{row['model']}, {row['fps']} a second" for row in rows])
    panel.set_ylabel("sampled frames a second")
    panel.set_title(f"The same work by others, {part['seconds']} s of 1080p", loc="left", fontsize=10)
    panel.grid(axis="y", alpha=0.3)
    panel.legend(fontsize=8, frameon=False)
