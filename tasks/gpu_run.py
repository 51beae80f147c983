"""One GPU run: its frame stream, its models, its shares of one or more jobs. Runs without Prefect."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from models.inference_types import vision_model_class
from models.runtime_imports import import_runtime
from models.vision_model import VisionModel
from tasks.compute_shares import ComputeShare, compute_share, frames_held, most_decoders
from tasks.costs import Costs, share_of
from tasks.decode_workers import DecodeWorkers
from tasks.decoding import ExtractedFrame, SegmentEnd, extract
from tasks.frame_stream import FrameStream, extraction_error
from tasks.inference import InferenceShare, StreamInference
from tasks.kept_errors import kept
from tasks.model_sources import model_folder
from tasks.progress import RunTimes
from tasks.run_shares import GroupAttempt, RunModel, RunShare, SupersededError, models_once
from tasks.settings import DecodeSettings, InferenceSettings, StoreSettings
from tasks.stage_times import StageTimes, pace
from tasks.store import open_store

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


class GpuRun:
    """What one run of `infer-segments` holds while it lasts.

    An ordinary object that Prefect hands from task to task without looking into it.
    """

    def __init__(self, shares: Sequence[RunShare], cache_dir: Path) -> None:
        """Find out which models are needed; loads neither them nor videos."""
        self.shares = shares
        self.cache_dir = cache_dir
        self.settings = InferenceSettings()
        self.on_whole: Callable[[RunShare], object] = lambda share: None  # noqa: ARG005
        """Called when a job among several has all its shards, in the thread that wrote the last."""
        self.models = models_once(shares)
        self.setup_lock = threading.Lock()  # models are set up one after another
        self.extraction_times = StageTimes()
        self.model_times = {model.name: StageTimes() for model in self.models}
        wanted = {
            model.name: frozenset(
                (number, segment)
                for number, of_job in model.of_share.items()
                for segment in shares[number].missing[of_job.key]
            )
            for model in self.models
        }
        self.batch_size, waiting = self._frames_held() if self.models else (1, 1)  # without models torch isn't needed
        self.stream = FrameStream(wanted, capacity=waiting)
        self.decode_workers: DecodeWorkers | None = None
        """Those of the extraction, from its start on."""
        for number, share in enumerate(shares):
            share.heartbeat.costs = partial(_costs, weakref.ref(self), number)

    @classmethod
    def open(cls, *parts: GroupAttempt) -> GpuRun:
        """Read the jobs' specs and plans from the store that the environment names.

        Raises `SupersededError` where newer attempts at all of them were started.
        """
        settings = StoreSettings()
        store = open_store(settings.store)
        shares, error = [], None
        for part in parts:
            try:
                shares.append(RunShare.open(store, part))
            except SupersededError as superseded:
                _log.info("group %d of job %s: %s", part.group, part.job_id, superseded)
                error = superseded
        if error is not None and not shares:
            raise error
        return cls(shares, settings.cache_dir.expanduser())

    def __repr__(self) -> str:
        return f"GpuRun({len(self.shares)} shares, models={[model.name for model in self.models]})"

    @cached_property
    def device(self) -> str:
        """The torch device that models run on."""
        import torch

        if self.settings.device != "auto":
            return self.settings.device
        return "cuda" if torch.cuda.is_available() else "cpu"

    @cached_property
    def cores(self) -> AbstractContextManager[object]:
        """Held by a lane of any model while it computes; on a CPU there are no more than it has cores."""
        slots = self._compute.slots
        return nullcontext() if slots is None else threading.BoundedSemaphore(slots)

    @cached_property
    def _compute(self) -> ComputeShare:
        return compute_share(self.device, torch_threads=self.settings.torch_threads, lanes=self.settings.lanes)

    @property
    def lanes(self) -> int:
        """Batches of one model at the same time."""
        return self._compute.lanes

    @property
    def torch_threads(self) -> int:
        """Threads of torch in each lane."""
        return self._compute.threads

    @property
    def batch_by_trial(self) -> bool:
        """Whether each model's batch is found by trial; never where batches must be the same in every run."""
        return not self.settings.batch_size and self.device.startswith("cuda") and not self.settings.deterministic

    def _frames_held(self) -> tuple[int, int]:
        from tasks.batch_trial import MOST_FRAMES, cpu_batch_size

        frame_bytes = max(share.frame_bytes for share in self.shares)
        most = MOST_FRAMES if self.batch_by_trial else self.settings.batch_size or cpu_batch_size(frame_bytes)
        return frames_held(most, self.lanes, frame_bytes, self.settings.frame_memory_bytes)

    def nothing_missing(self) -> bool:
        """Whether every shard of the run stands; says so in the heartbeats."""
        if self.models:
            return False
        self.end(failed=False)
        return True

    def model(self, name: str) -> RunModel:
        """The model of that name."""
        return next(model for model in self.models if model.name == name)

    def part_names(self) -> list[str]:
        """What runs side by side: the extraction, and each model by its name."""
        return ["extraction", *(model.name for model in self.models)]

    def living(self) -> list[int]:
        """Numbers of the shares that were not given up."""
        return [number for number, share in enumerate(self.shares) if share.error is None]

    def lose(self, number: int, error: BaseException) -> bool:
        """Give up one job's share; says whether another is left."""
        self.shares[number].error = kept(error)
        _log.warning("%r is given up: %s", self.shares[number], error)
        return bool(self.living())

    def phase(self, phase: str) -> None:
        """Say what the run is at, in the heartbeat of one of its jobs: the others' begin with their first frames."""
        for number in self.living()[:1]:
            self.shares[number].heartbeat.phase(phase)

    def end(self, *, failed: bool) -> None:
        """Write the last heartbeats, with where the time went; one job's share that is whole has ended well before."""
        times = self.times()
        for share in self.shares:
            if len(self.shares) == 1 or not share.is_whole:
                share.heartbeat.end("failed" if failed or share.error is not None else "done", times)

    def end_share(self, share: RunShare) -> None:
        """Say of a job among several that its share is whole: whoever waits for it needn't wait for the others."""
        if len(self.shares) > 1:
            share.heartbeat.end("done", self.times())
            self.on_whole(share)

    def costs(self, number: int) -> Costs:
        """What the run has spent on one of its jobs so far."""
        share, gpu_s = self.shares[number], {}
        for model in (model for model in self.models if number in model.of_share):
            frames = {
                other: self.shares[other].heartbeat.frames_inferred(of_job.key)
                for other, of_job in model.of_share.items()
            }
            seconds = self.model_times[model.name].seconds().get("inferring_s", 0.0)
            key = model.of_share[number].key
            gpu_s[key] = round(share_of(seconds, frames[number], sum(frames.values())), 3)
        decode_cpu_s = 0.0
        if self.decode_workers is not None and share.path is not None:
            users = sum(other.path == share.path for other in self.shares)  # jobs on one video share its decoding
            decode_cpu_s = round(self.decode_workers.cpu_s(share.path) / users, 3)
        return share.counted.costs.model_copy(update={"decode_cpu_s": decode_cpu_s, "gpu_s": gpu_s})

    def times(self) -> RunTimes:
        """Where the time of the run went so far."""
        extraction = self.extraction_times.seconds()
        models = {name: times.seconds() for name, times in self.model_times.items()}
        return RunTimes(
            device=self.device if models else None,
            jobs=len(self.shares),
            extraction=extraction,
            models=models,
            pace=pace(extraction, models),
        )


def _costs(run: weakref.ref[GpuRun], number: int) -> Costs:
    """A heartbeat asks by this way, which keeps no run, and none of its frames, in memory."""
    living = run()
    return Costs() if living is None else living.costs(number)


def stream_frames(run: GpuRun) -> int:
    """Decode every segment that a model still needs into the run's stream; returns the number of frames.

    Videos of several jobs are decoded side by side, as many as there may be decode workers. One that cannot be read
    costs its own job; raises what was wrong with it when the others are through. Ends without error when every model
    has detached.
    """
    try:
        frames = _stream_shares(run, _decode_settings(run))
    except BaseException as error:
        run.stream.finish(error)
        raise
    run.stream.finish(None if run.living() else run.shares[0].error)
    _tell_of_lost_shares(run)
    return frames


def _stream_shares(run: GpuRun, settings: DecodeSettings) -> int:
    numbers, lock = iter(range(len(run.shares))), threading.Lock()
    with DecodeWorkers(settings) as workers:
        run.decode_workers = workers

        def some() -> int:
            return sum(_stream_share(run, number, workers) for number in _shared_out(numbers, lock))

        threads = min(settings.workers, len(run.shares))
        if threads == 1:
            return some()
        with ThreadPoolExecutor(threads, thread_name_prefix="extract") as pool:
            started = [pool.submit(copy_context().run, some) for _ in range(threads)]
        return sum(future.result() for future in started)


def _tell_of_lost_shares(run: GpuRun) -> None:
    """Raise what the extraction of a job ended with; where others live, no model raises it for that job."""
    lost = [share for share in run.shares if share.error is not None]
    for share in lost:
        if run.living() and not isinstance(share.error, SupersededError):
            for of_job in share.models:
                share.give_up(of_job.key, extraction_error(share.error))
    if lost:
        assert lost[0].error is not None
        raise kept(lost[0].error)


def _shared_out(numbers: Iterator[int], lock: threading.Lock) -> Iterator[int]:
    while True:
        with lock:
            number = next(numbers, None)
        if number is None:
            return
        yield number


def _stream_share(run: GpuRun, number: int, workers: DecodeWorkers) -> int:
    """Decode one job's segments; an error is the share's."""
    share, times, frames, items = run.shares[number], run.extraction_times, 0, None
    try:
        segments = run.stream.segments(number)
        if not segments or share.error is not None:
            return 0
        with times.at("opening"):
            path = share.video(run.cache_dir)
        facts = share.spec.video.facts
        items = extract(path, share.plan, segments, facts=facts, settings=workers.settings, workers=workers)
        while True:
            with times.at("decoding"):
                item = next(items, None)
            if item is None:
                return frames
            if isinstance(item, SegmentEnd):
                share.patiently(share.check_living)
                share.video(run.cache_dir)
            frames += isinstance(item, ExtractedFrame)
            with times.at("waiting_for_models"):
                go_on = run.stream.publish(number, item)
            if not go_on or share.error is not None:
                return frames
    except Exception as error:
        run.lose(number, error)
        return frames
    finally:
        item = None
        if items is not None:
            items.close()


def infer_stream(run: GpuRun, name: str) -> None:
    """Set one model up and run it over the run's stream, writing a shard for each segment of each job.

    A failure is written into the heartbeats before it is raised, and the model's reading of the stream ends.
    """
    model, settings, times = run.model(name), run.settings, run.model_times[name]
    try:
        with run.setup_lock, times.at("setting_up"):
            run.phase(f"setting up {name}")
            network = _set_up(run, model)
            batch_size, cores = _batch_size(run, network), run.cores  # made once, for all models
            run.phase("inferring")
        StreamInference(
            network,
            [_inference_share(run, model, number) for number in range(len(run.shares))],
            model.first.model.inference_type,
            batch_size=batch_size,
            deterministic=settings.deterministic,
            lanes=run.lanes,
            cores=cores,
            times=times,
        ).run(run.stream.read(name))
    except Exception as error:
        run.stream.detach(name)
        for number, of_job in model.of_share.items():
            run.shares[number].give_up(of_job.key, error)
        raise


def _inference_share(run: GpuRun, model: RunModel, number: int) -> InferenceShare:
    share, of_job = run.shares[number], model.of_share.get(number)
    if of_job is None:
        return InferenceShare(share.plan, "", sink=lambda segment, outcomes: None)  # noqa: ARG005
    key, job_model = of_job.key, of_job

    def sink(segment: int, outcomes: pa.Table) -> None:
        if share.error is not None:
            return
        try:
            share.write_shard(job_model, segment, outcomes)
            if share.is_whole:
                run.end_share(share)
        except SupersededError as error:
            if not run.lose(number, error):
                raise

    return InferenceShare(
        share.plan, job_model.fingerprint, sink=sink, advance=lambda frames: share.heartbeat.advance(key, frames)
    )


def _set_up(run: GpuRun, model: RunModel) -> VisionModel:
    resolved = model.first.model
    folder = model_folder(run.shares[0].store, resolved, run.cache_dir)
    import_runtime(folder)
    import torch

    torch.set_num_threads(run.torch_threads)
    network = vision_model_class(resolved.inference_type)(folder, resolved.params, precision=resolved.precision)
    network.setup(run.device)
    return network


def _batch_size(run: GpuRun, network: VisionModel) -> int:
    """Frames that go through a model together; on a GPU a size that pays, unless one was asked for."""
    if not run.batch_by_trial:
        return run.batch_size
    from tasks.batch_trial import batch_size_for, device_budget_bytes

    facts = max(run.shares, key=lambda share: share.frame_bytes).spec.video.facts
    budget = device_budget_bytes(run.device, run.lanes * len(run.models))
    return batch_size_for(network, (facts.height, facts.width, 3), run.device, budget, run.batch_size)


def _decode_settings(run: GpuRun) -> DecodeSettings:
    settings = DecodeSettings()
    return settings.model_copy(update={"workers": settings.workers or most_decoders(run.device)})
