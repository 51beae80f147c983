"""One GPU run of a job: which shards it still owes, its frame stream, its models, its heartbeat.

Everything above the tasks at the end is plain Python that runs without Prefect.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from models.errors import PassingError, PermanentError, ReelmillError
from models.inference_types import vision_model_class
from tasks.decoding import SegmentEnd, extract
from tasks.frame_stream import FrameStream
from tasks.inference import StreamInference
from tasks.job_spec import JobModel, JobSpec, SegmentGroup, living_attempt, read_spec
from tasks.model_sources import model_folder
from tasks.plans import Plan, plan_from_bytes
from tasks.progress import HeartbeatWriter
from tasks.settings import DecodeSettings, InferenceSettings, StoreSettings
from tasks.shards import Outcome, finished_shards, write_shard
from tasks.store import Store, open_store
from tasks.videos import video_file

_MOST_DECODERS = 16
"""More than any GPU run of one video was seen to need."""

_log = logging.getLogger(__name__)


class SupersededError(PermanentError):
    """A newer attempt at the same segments was started; this one ends."""


class ModelsFailedError(PermanentError):
    """Models of a GPU run failed as a whole; the others' shards are written."""


class GpuRun:
    """What one run of `infer-segments` holds while it lasts.

    An ordinary object that Prefect hands from task to task without looking into it.
    """

    def __init__(
        self, store: Store, spec: JobSpec, group: SegmentGroup, attempt: int, plan: Plan, cache_dir: Path
    ) -> None:
        """Find out which shards are missing; loads neither models nor video."""
        self.store = store
        self.spec = spec
        self.group = group
        self.attempt = attempt
        self.plan = plan
        self.cache_dir = cache_dir
        self.inference_settings = InferenceSettings()
        self.setup_lock = threading.Lock()  # models are set up one after another
        missing = {model.key: self._missing_segments(model) for model in spec.models_of(group)}
        for key, owed in missing.items():
            _log.info("%s: %d of %d segments are to be done", key, len(owed), len(group.segments))
        self.models = [model for model in spec.models_of(group) if missing[model.key]]
        self.stream = FrameStream(
            {model.key: missing[model.key] for model in self.models}, capacity=2 * self.inference_settings.batch_size
        )
        self.heartbeat = HeartbeatWriter(
            store,
            spec.job_id,
            group.number,
            attempt,
            {key: self._frames_standing(owed) for key, owed in missing.items()},
        )

    @classmethod
    def open(cls, job_id: str, group: int, attempt: int) -> GpuRun:
        """Read the job's spec and plan from the store that the environment names."""
        settings = StoreSettings()
        store = open_store(settings.store)
        spec = read_spec(store, job_id)
        run = cls(
            store,
            spec,
            spec.group(group),
            attempt,
            plan_from_bytes(store.read(spec.plan_key)),
            settings.cache_dir.expanduser(),
        )
        run.check_living()
        return run

    def nothing_missing(self) -> bool:
        """Whether every shard of the group stands; says so in the heartbeat."""
        if self.models:
            return False
        self.heartbeat.phase("done")
        return True

    def check_living(self) -> None:
        """Raise `SupersededError` when a newer attempt has taken over."""
        living = living_attempt(self.store, self.spec.job_id, self.group.number)
        if living > self.attempt:
            raise SupersededError(f"attempt {living} has taken over from attempt {self.attempt}; this one ends.")

    def model(self, key: str) -> JobModel:
        """The model of that key."""
        return next(model for model in self.models if model.key == key)

    def part_names(self) -> list[str]:
        """What runs side by side: the extraction, and each model by its key."""
        return ["extraction", *(model.key for model in self.models)]

    def _missing_segments(self, model: JobModel) -> frozenset[int]:
        standing = finished_shards(self.store, model.fingerprint)
        return frozenset(segment for segment in self.group.segments if self.plan.segments[segment] not in standing)

    def _frames_standing(self, missing: frozenset[int]) -> int:
        spans = (self.plan.segments[segment] for segment in self.group.segments if segment not in missing)
        return sum(stop - start for start, stop in spans)


def stream_frames(run: GpuRun) -> int:
    """Decode every segment that a model still needs into the run's stream; returns the number of frames.

    Ends without error when every model has detached.
    """
    error: BaseException | None = None
    frames = 0
    try:
        path = video_file(run.store, run.spec.video, run.cache_dir)
        for item in extract(path, run.plan, run.stream.segments(), settings=_decode_settings(run)):
            if isinstance(item, SegmentEnd):
                run.check_living()
                video_file(run.store, run.spec.video, run.cache_dir)  # keeps a cached copy from being dropped
            else:
                frames += 1
            if not run.stream.publish(item):
                break
    except BaseException as raised:
        error = raised
        raise
    finally:
        run.stream.finish(error)
    return frames


def infer_stream(run: GpuRun, key: str) -> None:
    """Set one model up and run it over the run's stream, writing a shard for each segment.

    A failure is written into the heartbeat before it is raised, and the model's reading of the stream ends.
    """
    job_model = run.model(key)
    settings = run.inference_settings
    try:
        with run.setup_lock:
            run.heartbeat.phase(f"setting up {key}")
            model = _set_up(run, job_model, settings)
            run.heartbeat.phase("inferring")
        StreamInference(
            model,
            run.plan,
            job_model.model.inference_type,
            id_seed=job_model.fingerprint,
            batch_size=settings.batch_size,
            deterministic=settings.deterministic,
            sink=lambda segment, outcomes: _write_shard(run, job_model, segment, outcomes),
            advance=lambda frames: run.heartbeat.advance(key, frames),
        ).run(run.stream.read(key))
    except Exception as error:
        run.stream.detach(key)
        passing = isinstance(error, PassingError)
        text = str(error) if isinstance(error, ReelmillError) else f"{type(error).__name__}: {error}"
        run.heartbeat.give_up(key, text, passing=passing)
        raise


def _set_up(run: GpuRun, job_model: JobModel, settings: InferenceSettings) -> Any:
    import torch

    torch.set_num_threads(settings.torch_threads or cpu_share(len(run.models)))
    resolved = job_model.model
    folder = model_folder(run.store, resolved, run.cache_dir)
    model = vision_model_class(resolved.inference_type)(folder, resolved.params, precision=resolved.precision)
    model.setup(_device(settings))
    return model


def _device(settings: InferenceSettings) -> str:
    import torch

    if settings.device != "auto":
        return settings.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def cpu_share(models: int) -> int:
    """Threads of torch for each of so many models at once, beside a decoder.

    More threads than cores wait for each other by spinning: measured on two busy cores, a second thread made a frame
    cost four times the CPU time of one.
    """
    return max(1, len(os.sched_getaffinity(0)) // (models + 1))


def decoders_beside(models: int, device: str, torch_threads: int = 0) -> int:
    """Decode workers for one GPU run: on a CPU the cores that its models leave, else all but one, and 16 at most.

    `torch_threads` is for each model, 0 where they share the cores.
    """
    cores = len(os.sched_getaffinity(0))
    taken = models * (torch_threads or cpu_share(models)) if device == "cpu" else 1
    return min(_MOST_DECODERS, max(1, cores - taken))


def _decode_settings(run: GpuRun) -> DecodeSettings:
    settings, inference = DecodeSettings(), run.inference_settings
    workers = settings.workers or decoders_beside(len(run.models), _device(inference), inference.torch_threads)
    return settings.model_copy(update={"workers": workers})


def _write_shard(run: GpuRun, job_model: JobModel, segment: int, outcomes: Sequence[Outcome]) -> None:
    run.check_living()
    start, stop = run.plan.segments[segment]
    write_shard(run.store, job_model.fingerprint, start, stop, job_model.model.inference_type, outcomes)
    _log.info("wrote samples %d to %d of %s", start, stop, job_model.key)


def finish_run(run: GpuRun, states: Mapping[str, State[Any]]) -> None:
    """End the run by what its parts ended with; raises `ModelsFailedError` naming each failed part and why."""
    failed = {name: state for name, state in states.items() if not state.is_completed()}
    run.heartbeat.phase("failed" if failed else "done")
    if failed:
        told = "; ".join(f"{name}: {state.message}" for name, state in failed.items())
        raise ModelsFailedError(f"{len(failed)} of {len(states)} parts of this run failed: {told}")


@task(name="extract-frames", task_run_name="extract-frames", cache_policy=NO_CACHE, persist_result=False, retries=0)
def extract_frames(run: GpuRun) -> int:
    """Decode the run's segments once, for all of its models."""
    return stream_frames(run)


@task(name="infer-model", cache_policy=NO_CACHE, persist_result=False, retries=0)
def infer_model(run: GpuRun, key: str) -> None:
    """Run one model over the stream."""
    infer_stream(run, key)
