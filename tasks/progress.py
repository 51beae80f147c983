"""How far a job is: the heartbeats that GPU runs write to the store. Knows nothing of Prefect."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from models.errors import PassingError
from tasks.costs import Costs, CostsOf, total_costs
from tasks.store_interface import KeyNotFoundError

if TYPE_CHECKING:
    from tasks.store_interface import Store


_log = logging.getLogger(__name__)


class ModelProgress(BaseModel):
    """One model in one GPU run."""

    model_config = ConfigDict(extra="ignore")

    frames_done: int = 0
    """Frames with an outcome, those of shards found standing included."""
    frames_found: int = 0
    """Frames of shards that this attempt found standing."""
    error: str | None = None
    """Why the model as a whole gave up."""
    passing: bool = False
    """Whether starting it again may help."""


class RunTimes(BaseModel):
    """Where the time of a GPU run went, in seconds by stage.

    Of the extraction: `decoding_s` frames were waited for, `waiting_for_models_s` they had no room. Of a model, the
    mean of its lanes: `waiting_for_frames_s`, `inferring_s`; and `setting_up_s`, `waiting_for_writer_s`, `writing_s`.
    """

    model_config = ConfigDict(extra="ignore")

    device: str | None = None
    jobs: int = 1
    """Jobs that shared the run; its seconds are those of all of them together."""
    extraction: dict[str, float] = {}
    models: dict[str, dict[str, float]] = {}
    pace: str | None = None
    """Who was the slowest: `decoding`, or the key of a model."""


class Heartbeat(BaseModel):
    """What a GPU run last said of itself; `beats` grows with every word."""

    model_config = ConfigDict(extra="ignore")

    group: int
    attempt: int
    phase: str
    beats: int = 0
    written_at: datetime
    models: dict[str, ModelProgress] = {}
    times: RunTimes | None = None
    """Of the whole run; stands in the last heartbeat."""
    costs: Costs = Costs()
    """What the attempt has spent on this job so far."""


def heartbeat_key(job_id: str, group: int, attempt: int) -> str:
    """Where one attempt at a group writes its heartbeat: each its own, so that an old one can't speak for a new one."""
    return f"jobs/{job_id}/heartbeat-{group}-{attempt}.json"


def read_heartbeats(store: Store, job_id: str) -> dict[int, Heartbeat]:
    """The last heartbeat of the newest attempt at every group of a job that has written one."""
    beats = (
        Heartbeat.model_validate_json(store.read(info.key)) for info in list(store.list(f"jobs/{job_id}/heartbeat-"))
    )
    return {beat.group: beat for beat in sorted(beats, key=lambda beat: beat.attempt)}


def read_heartbeat(store: Store, job_id: str, group: int, attempt: int) -> Heartbeat | None:
    """The heartbeat of that attempt; None where it has not written one yet."""
    try:
        return Heartbeat.model_validate_json(store.read(heartbeat_key(job_id, group, attempt)))
    except KeyNotFoundError:
        return None


def spent(store: Store, job_id: str) -> Costs:
    """What all attempts at all groups of a job have spent, up to the last heartbeat of each."""
    keys = [info.key for info in store.list(f"jobs/{job_id}/heartbeat-")]
    return total_costs(Heartbeat.model_validate_json(store.read(key)).costs for key in keys)


def model_errors(store: Store, job_id: str) -> dict[str, str]:
    """Why models of a job failed as a whole, by key."""
    beats = read_heartbeats(store, job_id).values()
    return {key: progress.error for beat in beats for key, progress in beat.models.items() if progress.error}


class HeartbeatWriter:
    """Writes a group's heartbeat whenever a model got further, at most every `interval_s`.

    Called by the threads that infer, never by a timer: a model that hangs must fall silent.
    """

    def __init__(
        self, store: Store, job_id: str, group: int, attempt: int, done: Mapping[str, int], *, interval_s: float = 1.0
    ) -> None:
        """`done` holds, for each model key, the frames whose shards stand already."""
        self._store = store
        self._key = heartbeat_key(job_id, group, attempt)
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._last_written_s = float("-inf")
        self.costs: CostsOf = Costs
        """Asked at every word; must not take this heartbeat's lock."""
        self._beat = Heartbeat(
            group=group,
            attempt=attempt,
            phase="starting",
            written_at=datetime.now(UTC),
            models={key: ModelProgress(frames_done=frames, frames_found=frames) for key, frames in done.items()},
        )

    def phase(self, phase: str) -> None:
        """Say what the run is at."""
        with self._lock:
            self._beat.phase = phase
            self._write()

    def end(self, phase: str, times: RunTimes) -> None:
        """Say how the run ended, and where its time went."""
        with self._lock:
            self._beat.times = times
            self._beat.phase = phase
            self._write()

    def advance(self, model_key: str, frames: int) -> None:
        """Count `frames` more outcomes of a model."""
        with self._lock:
            self._beat.models[model_key].frames_done += frames
            if time.monotonic() - self._last_written_s >= self._interval_s:
                self._write()

    def give_up(self, model_key: str, error: str, *, passing: bool) -> None:
        """Say that a model as a whole failed."""
        with self._lock:
            self._beat.models[model_key].error = error
            self._beat.models[model_key].passing = passing
            self._write()

    def frames_inferred(self, model_key: str) -> int:
        """Frames of which the model has spoken in this attempt."""
        told = self._beat.models[model_key]
        return told.frames_done - told.frames_found

    def _write(self) -> None:
        self._beat.beats += 1
        self._beat.costs = self.costs()
        self._beat.written_at = datetime.now(UTC)
        self._last_written_s = time.monotonic()
        try:
            self._store.write(self._key, self._beat.model_dump_json().encode())
        except PassingError as error:
            # The next one follows; what a run has done stands in its shards.
            _log.warning("a heartbeat could not be written (%s)", error)


def frames_done(heartbeats: Iterable[Heartbeat], model_keys: Iterable[str]) -> int:
    """Frames of which every model has spoken: the least of the models' counts over all groups."""
    done = dict.fromkeys(model_keys, 0)
    for beat in heartbeats:
        for key, progress in beat.models.items():
            if key in done:
                done[key] += progress.frames_done
    return min(done.values(), default=0)


@contextmanager
def repeating(action: Callable[[], None], *, every_s: float) -> Iterator[None]:
    """Call `action` every so many seconds in a thread of its own while the block runs, and once more after it.

    An error of `action` ends the repetition and is raised after the block, unless the block raised one itself.
    """
    ended = threading.Event()
    failure: list[BaseException] = []

    def repeat() -> None:
        try:
            while not ended.wait(every_s):
                action()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(repeat,), name="repeating", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failure:
        raise failure[0]
    action()
