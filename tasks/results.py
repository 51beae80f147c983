"""Shards become a result: predictions.json and predictions.parquet, then job.json, whose existence means complete.

Shards are read one at a time, and nothing of them is kept but counts. This module knows nothing of videos and models.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Protocol

from models.errors import PermanentError
from tasks.outcomes import is_ok, json_of_elements, null_table
from tasks.removals import wait_until_settled
from tasks.result_files import JsonLists, ResultTable
from tasks.shards import DamagedShardError, load_shard, shard_key
from tasks.store_interface import DiskFullError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from tasks.store_interface import Store

FORMAT_VERSION = 1
"""Of job.json; raised when a reader of the older one would be misled."""
PREDICTIONS_JSON = "predictions.json"
PREDICTIONS_PARQUET = "predictions.parquet"
JOB_JSON = "job.json"
NOT_INFERRED = "this part of the video was not inferred; submit the job again to fill it in"
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ScratchDirError(PermanentError):
    """The directory where results are put together cannot be used."""


class SampledFrames(Protocol):
    """What publishing needs of a plan of n samples."""

    @property
    def frame_offset(self) -> NDArray[np.int64]:
        """Frame of each sample, `(n,)`."""

    @property
    def time_offset(self) -> NDArray[np.float64]:
        """Seconds after the first frame of each sample, `(n,)`."""

    @property
    def segments(self) -> Sequence[tuple[int, int]]:
        """Half-open ranges of samples that follow each other from 0 to n."""


@dataclass(frozen=True)
class ResultModel:
    """One model of the request and where its shards lie."""

    key: str
    inference_type: str
    fingerprint: str
    error: str | None = None
    """Why the model failed as a whole, where it did: the reason of the frames that it never saw."""


@dataclass(frozen=True)
class FailureRange:
    """Consecutive samples on which a model has no element for one and the same reason."""

    model: str
    reason: str
    passing: bool
    first_frame_offset: int
    last_frame_offset: int
    frames: int


@dataclass(frozen=True)
class ResultSummary:
    """What a result holds, counted in sampled frames."""

    frames_total: int
    frames_failed: int
    """Frames that lack the element of at least one model."""
    ok: dict[str, int]
    failed: dict[str, int]
    models_failed: list[str]
    """Keys of the models without one good element."""
    failures: list[FailureRange]


def job_state(summary: ResultSummary) -> Literal["COMPLETED", "FAILED"]:
    """COMPLETED where every model has at least one good element, however many frames failed."""
    return "FAILED" if summary.models_failed else "COMPLETED"


def read_summary(store: Store, prefix: str) -> ResultSummary:
    """What a published result holds, from its job.json. Raises `KeyNotFoundError`."""
    import orjson

    said = orjson.loads(store.read(f"{prefix}/{JOB_JSON}"))
    return ResultSummary(
        frames_total=said["frames_total"],
        frames_failed=said["frames_failed"],
        ok={key: count["ok"] for key, count in said["counts"].items()},
        failed={key: count["failed"] for key, count in said["counts"].items()},
        models_failed=said["models_failed"],
        failures=[FailureRange(**failure) for failure in said["failures"]],
    )


def publish_results(
    store: Store,
    *,
    prefix: str,
    plan: SampledFrames,
    models: Sequence[ResultModel],
    job: Callable[[], dict[str, Any]],
    scratch_dir: Path,
) -> ResultSummary:
    """Put the result of a job together from its shards and publish it under `prefix`, job.json last.

    Samples without a shard become nulls with a reason. `job` gives what job.json says beyond counts and
    failures, asked when the predictions are published. Memory
    is bounded by one shard, `scratch_dir` holds both files of predictions meanwhile. Raises `DamagedShardError`,
    `DiskFullError`, `ScratchDirError`, and what the store raises; none of them leaves half a file.
    """
    _require_segments_in_a_row(plan)
    with _scratch_folder(scratch_dir) as folder:
        with _scratch_errors(scratch_dir):
            summary = _write_predictions(store, plan, models, folder)
        wait_until_settled(store, prefix)
        # An older job.json would vouch for files that are no longer those it was written for.
        store.delete([f"{prefix}/{JOB_JSON}"])
        for name in (PREDICTIONS_JSON, PREDICTIONS_PARQUET):
            store.write_file(f"{prefix}/{name}", folder / name)
    store.write(f"{prefix}/{JOB_JSON}", _job_json(job(), summary))
    return summary


def _write_predictions(store: Store, plan: SampledFrames, models: Sequence[ResultModel], folder: Path) -> ResultSummary:
    import numpy as np

    tallies = [_Tally(model.key, np.zeros(len(plan.frame_offset), dtype=bool)) for model in models]
    with (
        (folder / PREDICTIONS_JSON).open("wb") as file,
        JsonLists(file) as lists,
        ResultTable(folder / PREDICTIONS_PARQUET, [model.inference_type for model in models]) as rows,
    ):
        lists.write_numbers("frame_offset", plan.frame_offset)
        lists.write_numbers("time_offset", plan.time_offset)
        for model, tally in zip(models, tallies, strict=True):
            lists.write_json(model.key, _elements(store, plan, model, tally, rows))
    return _summary(tallies, len(plan.frame_offset))


def _elements(
    store: Store, plan: SampledFrames, model: ResultModel, tally: _Tally, rows: ResultTable
) -> Iterator[bytes]:
    """Yield the JSON of one model's list in parts, and count and copy into `rows` each shard that it passes."""
    for start, stop in plan.segments:
        table = _outcomes(store, plan, model, start, stop)
        tally.add(start, table)
        rows.write(model.key, table)
        yield from json_of_elements(table, model.inference_type)


def _outcomes(store: Store, plan: SampledFrames, model: ResultModel, start: int, stop: int) -> pa.Table:
    frame_offset, time_offset = plan.frame_offset[start:stop], plan.time_offset[start:stop]
    table = load_shard(store, model.fingerprint, start, stop, model.inference_type)
    if table is None:
        reason, passing = model.error or NOT_INFERRED, model.error is None
        return null_table(model.inference_type, frame_offset, time_offset, reason, passing=passing)
    if (table["frame_offset"].to_numpy() != frame_offset).any() or (
        table["time_offset"].to_numpy() != time_offset
    ).any():
        raise DamagedShardError(
            f"The shard {shard_key(model.fingerprint, start, stop)} speaks of other frames than the job's plan; "
            "delete it from the store and submit the job again."
        )
    return table


@dataclass
class _Tally:
    """Counts of one model, taken shard by shard in order."""

    key: str
    is_null: NDArray[np.bool_]
    """`(n,)`, by sample."""
    failures: list[FailureRange] = field(default_factory=list)
    _last_failed_sample: int = -2

    def add(self, start: int, table: pa.Table) -> None:
        """Count the outcomes of the samples from `start` on."""
        import numpy as np

        nulls = np.flatnonzero(~is_ok(table))
        self.is_null[start + nulls] = True
        heads = table.select(["frame_offset", "reason", "passing"]).take(nulls).to_pylist()
        for sample, head in zip((start + nulls).tolist(), heads, strict=True):
            self._add_failure(sample, head["frame_offset"], head["reason"], passing=head["passing"])

    def _add_failure(self, sample: int, frame_offset: int, reason: str, *, passing: bool) -> None:
        last = self.failures[-1] if self.failures else None
        follows = last is not None and sample == self._last_failed_sample + 1
        if last is not None and follows and (last.reason, last.passing) == (reason, passing):
            self.failures[-1] = replace(last, last_frame_offset=frame_offset, frames=last.frames + 1)
        else:
            self.failures.append(FailureRange(self.key, reason, passing, frame_offset, frame_offset, frames=1))
        self._last_failed_sample = sample


def _summary(tallies: Sequence[_Tally], frames_total: int) -> ResultSummary:
    import numpy as np

    failed = {tally.key: int(tally.is_null.sum()) for tally in tallies}
    ok = {key: frames_total - count for key, count in failed.items()}
    return ResultSummary(
        frames_total=frames_total,
        frames_failed=int(np.logical_or.reduce([tally.is_null for tally in tallies]).sum()),
        ok=ok,
        failed=failed,
        models_failed=[key for key, count in ok.items() if count == 0],
        failures=[failure for tally in tallies for failure in tally.failures],
    )


def _job_json(job: dict[str, Any], summary: ResultSummary) -> bytes:
    import orjson

    said = {
        "format_version": FORMAT_VERSION,
        "state": job_state(summary),
        "frames_total": summary.frames_total,
        "frames_failed": summary.frames_failed,
        "counts": {key: {"ok": summary.ok[key], "failed": summary.failed[key]} for key in summary.ok},
        "models_failed": summary.models_failed,
        "failures": [asdict(failure) for failure in summary.failures],
        "finished_at": datetime.now(UTC).isoformat(),
    }
    if repeated := sorted(said.keys() & job.keys()):
        raise ValueError(f"job.json says {', '.join(repeated)} itself")
    return orjson.dumps(said | job, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _require_segments_in_a_row(plan: SampledFrames) -> None:
    next_start = 0
    for start, stop in plan.segments:
        if start != next_start or stop <= start:
            raise ValueError(f"the plan's segments do not follow each other: {start} to {stop} after {next_start}")
        next_start = stop
    if not next_start == len(plan.frame_offset) == len(plan.time_offset):
        raise ValueError(
            f"the plan has segments up to {next_start}, {len(plan.frame_offset)} frame offsets and "
            f"{len(plan.time_offset)} time offsets"
        )


@contextmanager
def _scratch_folder(scratch_dir: Path) -> Iterator[Path]:
    """Make a folder that no other job has, and remove it whatever happens."""
    with _scratch_errors(scratch_dir):
        scratch_dir.mkdir(parents=True, exist_ok=True)
        folder = TemporaryDirectory(prefix="reelmill-result-", dir=scratch_dir)
    with folder as name:
        yield Path(name)


@contextmanager
def _scratch_errors(scratch_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise DiskFullError(
                f"No space is left in {scratch_dir}, where the result is put together; free some and submit again."
            ) from error
        raise ScratchDirError(
            f"The result cannot be put together in {scratch_dir} ({error.strerror or error}); "
            "name another directory in REELMILL_JOB_SCRATCH_DIR."
        ) from error
