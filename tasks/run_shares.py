"""What a GPU run does for one job: a group of its segments, which of them are missing, its heartbeat and its shards."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from models.errors import PassingError, PermanentError, ReelmillError
from tasks.costs import CountedStore
from tasks.job_spec import JobModel, JobSpec, SegmentGroup, digest, living_attempt, read_spec
from tasks.plans import Plan, plan_from_bytes
from tasks.progress import HeartbeatWriter
from tasks.settings import StoreSettings
from tasks.shards import finished_shards, write_shard_table
from tasks.store import Store
from tasks.store_patience import patiently
from tasks.videos import video_file

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


class SupersededError(PermanentError):
    """A newer attempt at the same segments was started; this one ends."""


class GroupAttempt(BaseModel):
    """Which group of which job to run, and how often it has been started."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    group: int
    attempt: int = 1


class RunShare:
    """One job's part of a GPU run."""

    def __init__(self, store: Store, spec: JobSpec, group: SegmentGroup, attempt: int, plan: Plan) -> None:
        """Find out which shards are missing; loads neither models nor video."""
        self.counted = CountedStore(store)
        self.store = self.counted.as_store()
        self.spec = spec
        self.group = group
        self.attempt = attempt
        self.plan = plan
        self.missing = {model.key: self._missing_segments(model) for model in spec.models_of(group)}
        """Segments that each model of the group still owes, by its key."""
        self.error: BaseException | None = None
        """Why this share was given up, where it was."""
        self.path: Path | None = None
        """The video on this machine's disk, once it was asked for."""
        self._patience_s = StoreSettings().store_patience_s
        self._owed = {(key, segment) for key, owed in self.missing.items() for segment in owed}
        done = {key: self._frames_standing(owed) for key, owed in self.missing.items()}
        self.heartbeat = HeartbeatWriter(self.store, spec.job_id, group.number, attempt, done)
        for key, owed in self.missing.items():
            _log.info("%s: %d of %d segments are to be done", key, len(owed), len(group.segments))

    @classmethod
    def open(cls, store: Store, of: GroupAttempt) -> RunShare:
        """Read the job's spec and plan from the store. Raises `SupersededError`."""
        spec = read_spec(store, of.job_id)
        plan = plan_from_bytes(store.read(spec.plan_key))
        share = cls(store, spec, spec.group(of.group), of.attempt, plan)
        share.check_living()
        return share

    def __repr__(self) -> str:
        return f"RunShare({self.spec.job_id}, group={self.group.number}, attempt={self.attempt})"

    @property
    def models(self) -> list[JobModel]:
        """The models that still owe a segment."""
        return [model for model in self.spec.models_of(self.group) if self.missing[model.key]]

    @property
    def frame_bytes(self) -> int:
        """What one frame takes as RGB."""
        return 3 * self.spec.video.facts.width * self.spec.video.facts.height

    def check_living(self) -> None:
        """Raise `SupersededError` when a newer attempt has taken over."""
        living = living_attempt(self.store, self.spec.job_id, self.group.number)
        if living > self.attempt:
            raise SupersededError(f"attempt {living} has taken over from attempt {self.attempt}; this one ends.")

    def patiently(self, action: Callable[[], None]) -> None:
        """Do something with the store, again and again while it is away and the share is wanted. Raises as `action`."""
        patiently(action, patience_s=self._patience_s, going_on=lambda: self.error is None)

    def video(self, cache_dir: Path) -> Path:
        """The video on this machine's disk; asked for again, it keeps a cached copy from being dropped."""
        self.path = video_file(self.store, self.spec.video, cache_dir).absolute()
        return self.path

    @property
    def is_whole(self) -> bool:
        """Whether all its shards stand."""
        return not self._owed

    def write_shard(self, model: JobModel, segment: int, outcomes: pa.Table) -> None:
        """Write what a model says of a segment, however long the store is away. Raises `SupersededError`."""
        start, stop = self.plan.segments[segment]

        def write() -> None:
            self.check_living()
            write_shard_table(self.store, model.fingerprint, start, stop, model.model.inference_type, outcomes)

        self.patiently(write)
        self._owed.discard((model.key, segment))
        _log.info("wrote samples %d to %d of %s", start, stop, model.key)

    def give_up(self, key: str, error: BaseException) -> None:
        """Write into the heartbeat that a model as a whole has failed for this job."""
        text = str(error) if isinstance(error, ReelmillError) else f"{type(error).__name__}: {error}"
        self.heartbeat.give_up(key, text, passing=isinstance(error, PassingError))

    def _missing_segments(self, model: JobModel) -> frozenset[int]:
        standing = finished_shards(self.store, model.fingerprint)
        return frozenset(segment for segment in self.group.segments if self.plan.segments[segment] not in standing)

    def _frames_standing(self, missing: frozenset[int]) -> int:
        spans = (self.plan.segments[segment] for segment in self.group.segments if segment not in missing)
        return sum(stop - start for start, stop in spans)


class RunModel:
    """A network that a GPU run loads once, and the models of its jobs that it stands for."""

    def __init__(self, name: str) -> None:
        self.name = name
        """The key of the first job that asks for it; no two of a run are called the same."""
        self.of_share: dict[int, JobModel] = {}

    def __repr__(self) -> str:
        return f"RunModel({self.name}, shares={sorted(self.of_share)})"

    @property
    def first(self) -> JobModel:
        """One of them; they differ in nothing that the network or its numbers depend on."""
        return next(iter(self.of_share.values()))


def models_once(shares: Sequence[RunShare]) -> list[RunModel]:
    """Find the networks that the shares need: models that differ only in job, video and key are one."""
    found: dict[tuple[Any, ...], RunModel] = {}
    names: set[str] = set()
    for number, share in enumerate(shares):
        for model in share.models:
            place = 0
            while (found_model := found.get((_identity(model), place))) is not None and number in found_model.of_share:
                place += 1  # one job asks for the same twice, under two keys
            if found_model is None:
                found_model = found[_identity(model), place] = RunModel(_free_name(model.key, names))
            found_model.of_share[number] = model
    return list(found.values())


def _identity(model: JobModel) -> str:
    return digest(model.model.fingerprint_parts())


def _free_name(key: str, taken: set[str]) -> str:
    name = next(name for name in _names(key) if name not in taken)
    taken.add(name)
    return name


def _names(key: str) -> Iterator[str]:
    yield key
    for number in itertools.count(2):
        yield f"{key} ({number})"
