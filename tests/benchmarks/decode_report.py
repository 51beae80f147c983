"""What the benchmark found, as tables and as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.decode_files import FILES
from tests.benchmarks.decode_rounds import Run

OURS = "reelmill"
FOOT = """
One thread each, pinned to one core; medians over rounds in which the readers take turns; each run in a fresh process.
CPU s: user and system time of all the reader's processes, from before the file is opened to the last frame. Every
reader's libraries are loaded before the clock starts, those of reelmill's workers in the process that forks them; that
process's time on the clock counts, as does the fork, and the start of the ffmpeg command. All deliver RGB in full size,
and every page of it is looked at. Peak: all processes, libraries included. Ratio: CPU s of the best other right reader
to this one's. Identical: frames whose bytes looked at are PyAV's; others convert colours a little differently.
"""


@dataclass(frozen=True)
class Row:
    """A reader at its best mode on one file at one rate; medians of its runs."""

    file: str
    rate: str
    reader: str
    mode: str
    runs: int
    """How many gave the right frames."""
    frames: int
    cpu_s: float | None
    """None where no mode gave the right frames."""
    wall_s: float | None
    peak_bytes: int | None
    identical: float
    best_other: str
    """The fastest other reader that is right."""
    ratio: float | None
    """CPU seconds of the best other to this one's: above 1 this one is faster."""
    why: str = ""


def summarised(runs: list[Run]) -> list[Row]:
    """A row for each reader on each file at each rate, in the order in which they were measured."""
    rows = []
    for file, rate in dict.fromkeys((run.file, run.rate) for run in runs):
        cell = [run for run in runs if (run.file, run.rate) == (file, rate)]
        taken = {reader: _median_cpu_s(cell, reader) for reader in dict.fromkeys(run.reader for run in cell)}
        rows += [_row([run for run in cell if run.reader == reader], taken) for reader in taken]
    return sorted(rows, key=lambda row: list(FILES).index(row.file))


def _median_cpu_s(cell: list[Run], reader: str) -> float | None:
    return median([run.cpu_s for run in cell if run.reader == reader and run.right] or [0.0]) or None


def _row(runs: list[Run], taken: dict[str, float | None]) -> Row:
    reader, cpu_s = runs[0].reader, taken[runs[0].reader]
    others = {other: cpu for other, cpu in taken.items() if other != reader and cpu is not None}
    other = min(others, key=lambda name: others[name]) if others else ""
    right = [run for run in runs if run.right]
    return Row(
        file=runs[0].file,
        rate=runs[0].rate,
        reader=reader,
        mode=runs[0].mode,
        runs=len(right),
        frames=runs[0].frames,
        cpu_s=cpu_s,
        wall_s=median(run.wall_s for run in right) if right else None,
        peak_bytes=max((run.peak_bytes for run in runs if run.peak_bytes), default=None),
        identical=min(run.identical for run in runs),
        best_other=other,
        ratio=others[other] / cpu_s if other and cpu_s else None,
        why=next((run.why for run in runs if run.why), ""),
    )


def tables(rows: list[Row], more: dict[str, Any], screen: Console) -> None:
    """Print ours against the best other, then every reader, then what else was measured."""
    rates = list(dict.fromkeys(row.rate for row in rows))
    ours = Table("file", *(_rate_words(rate) for rate in rates), title="CPU seconds of the best other reader ÷ ours")
    for file, some in _by_file(rows):
        found = {row.rate: row for row in some if row.reader == OURS}
        ours.add_row(FILES[file].label, *(_against(found.get(rate)) for rate in rates))
    screen.print(ours)
    for file, some in _by_file(rows):
        table = Table(title=FILES[file].label)
        for column in ("rate", "reader", "best mode", "runs"):
            table.add_column(column)
        for column in ("frames", "frames/s", "CPU s", "wall s", "peak MB", "ratio", "identical"):
            table.add_column(column, justify="right")
        for row in sorted(some, key=lambda row: (rates.index(row.rate), row.cpu_s or 1e9)):
            table.add_row(*_cells(row), style="bold" if row.reader == OURS else None)
        screen.print(table)
        for row in some:
            if row.why:
                screen.print(f"{row.reader} ({row.mode}) at {_rate_words(row.rate)}: {row.why}", markup=False)
    screen.print(FOOT)
    for what, figures in more.items():
        screen.print(f"{what}: {figures}")


def _by_file(rows: list[Row]) -> Iterable[tuple[str, list[Row]]]:
    for file in dict.fromkeys(row.file for row in rows):
        yield file, [row for row in rows if row.file == file]


def _against(row: Row | None) -> str:
    if row is None or row.ratio is None:
        return "–"
    return f"{row.ratio:.2f} ({row.best_other})"


def _rate_words(rate: str) -> str:
    return "all frames" if rate == "all" else f"{rate} a second"


def _cells(row: Row) -> tuple[str, ...]:
    head = (_rate_words(row.rate), row.reader, row.mode, str(row.runs))
    if row.cpu_s is None or row.wall_s is None:
        return (*head, "", "", "wrong", "", "", "", "")
    peak = f"{row.peak_bytes / 1e6:.0f}" if row.peak_bytes else ""
    return (
        *head,
        str(row.frames),
        f"{row.frames / row.wall_s:.1f}",
        f"{row.cpu_s:.2f}",
        f"{row.wall_s:.2f}",
        peak,
        f"{row.ratio:.2f}" if row.ratio else "",
        f"{row.identical:.0%}",
    )


def chart(rows: list[Row], path: Path) -> None:
    """Bars of sampled frames per CPU second for every reader, a panel for each rate, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rates = list(dict.fromkeys(row.rate for row in rows))
    files = list(dict.fromkeys(row.file for row in rows))
    readers = list(dict.fromkeys(row.reader for row in rows))
    colours = dict(zip(readers, ["#c8401e", *plt.colormaps["GnBu"]([0.9, 0.75, 0.6, 0.45, 0.3])], strict=False))
    figure, panels = plt.subplots(len(rates), 1, figsize=(11, 3.2 * len(rates)), layout="constrained", squeeze=False)
    for (panel,), rate in zip(panels, rates, strict=True):
        for place, reader in enumerate(readers):
            right = [row for row in rows if (row.rate, row.reader) == (rate, reader) and row.cpu_s]
            where = [files.index(row.file) + (place - len(readers) / 2 + 0.5) * 0.8 / len(readers) for row in right]
            speeds = [row.frames / row.cpu_s for row in right if row.cpu_s]
            panel.bar(where, speeds, 0.8 / len(readers), label=reader, color=colours[reader])
        panel.set_xticks(range(len(files)), [FILES[file].label for file in files])
        panel.set_ylabel("sampled frames per CPU s")
        panel.set_title(_rate_words(rate), loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
        panel.set_axisbelow(True)
    panels[0][0].legend(ncols=len(readers), fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.3), frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
