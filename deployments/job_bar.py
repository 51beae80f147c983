"""Progress bars over a job, fed by what its GPU runs write to the store, and over a count. On a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from tasks.store import Store


@contextmanager
def job_bar(store: Store) -> Iterator[Callable[[str], None]]:
    """Yield a function that takes the job's id as soon as it is known; the bar follows the job to the block's end."""
    if not sys.stderr.isatty():
        yield lambda _job_id: None
        return
    with _bar() as bar:
        task = bar.add_task("starting", total=None)
        with _following(store, bar, task) as follow:
            yield follow


@contextmanager
def labels_bar() -> Iterator[Callable[[str, Mapping[str, Any]], None]]:
    """Yield a function that shows a served job by the name of its state and its labels."""
    if not sys.stderr.isatty():
        yield lambda _state_name, _labels: None
        return
    with _bar() as bar:
        task = bar.add_task("waiting", total=None)

        def show(state_name: str, labels: Mapping[str, Any]) -> None:
            total, done = labels.get("frames_total"), labels.get("frames_done", 0)
            bar.update(task, description=state_name, total=total, completed=done)

        yield show


@contextmanager
def counting_bar(description: str, total: int) -> Iterator[Callable[[], None]]:
    """Yield a function that says that one more of `total` is done."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with _bar() as bar:
        task = bar.add_task(description, total=total)
        yield lambda: bar.advance(task)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def _following(store: Store, bar: Progress, task: TaskID) -> Iterator[Callable[[str], None]]:
    from tasks.progress import repeating

    job_ids: list[str] = []

    def look() -> None:
        if job_ids:
            show_progress(store, job_ids[-1], bar, task)

    every_s = 0.5 if store.local_path("jobs") is not None else 2.0
    with repeating(look, every_s=every_s):
        yield job_ids.append


def show_progress(store: Store, job_id: str, bar: Progress, task: TaskID) -> None:
    """Bring the bar to what the store says of the job now."""
    from tasks.job_spec import read_spec
    from tasks.progress import frames_done, read_heartbeats

    if store.stat(f"jobs/{job_id}/spec.json") is None:
        return
    spec = read_spec(store, job_id)
    beats = list(read_heartbeats(store, job_id).values())
    phases = {beat.phase for beat in beats}
    done = frames_done(beats, [model.key for model in spec.models])
    bar.update(task, description=", ".join(sorted(phases)) or "planned", total=spec.frames_total, completed=done)
