"""The plan of a video: all samples at a rate, and how they are cut into segments. Arrays, not lists.

A plan is pure data with a hash: whatever decides which frames are looked at, in which order and in which segments, is
in the hash. It knows nothing of stores, models or Prefect.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.errors import PermanentError
from tasks.frame_rates import find_rate
from tasks.sampling import part_of, sample_frames
from tasks.settings import DecodeSettings
from tasks.video_index import CountedBy, VideoIndex

PLAN_VERSION = 1
"""Raised by hand when the same video and rate would give another plan."""
_COLUMNS: dict[str, str] = {
    "frame_offset": "<i8",
    "time_offset": "<f8",
    "pts": "<i8",
    "key_pts": "<i8",
    "leading": "|b1",
}


class BadPlanError(PermanentError):
    """The bytes are no plan of this version."""


@dataclass(frozen=True, repr=False)
class Plan:
    """All samples of a video at one rate, in order, and the segments they are worked off in.

    Attributes:
        frame_offset: `(m,)` int64, the samples' places in presentation order of the whole video, from 0.
        time_offset: `(m,)` float64, seconds after the first frame, rounded to four places.
        pts: `(m,)` int64, presentation times in the container's ticks; what a decoded frame is recognised by.
        key_pts: `(m,)` int64, presentation time of the keyframe that decoding for the sample starts at.
        leading: `(m,)` bool, true where the sample is decoded only after the next keyframe.
        segments: half-open ranges of samples that together cover all of them.
        counted_by: `decoding` where pts are ordinal numbers of decoded frames.
        hash: 32 hexadecimal digits over all of the above.

    """

    frame_offset: NDArray[np.int64]
    time_offset: NDArray[np.float64]
    pts: NDArray[np.int64]
    key_pts: NDArray[np.int64]
    leading: NDArray[np.bool_]
    segments: list[tuple[int, int]]
    counted_by: CountedBy = "index"
    hash: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        shapes = {getattr(self, name).shape for name in _COLUMNS}
        if shapes != {(len(self.frame_offset),)}:
            raise ValueError(f"expected columns of one length, got {sorted(shapes)}")
        stops = [0, *(stop for _, stop in self.segments)]
        starts = [*(start for start, _ in self.segments), len(self.frame_offset)]
        if starts != stops or any(start >= stop for start, stop in self.segments):
            raise ValueError(
                f"expected segments that cover {len(self.frame_offset)} samples, got {self.segments[:5]} …"
            )
        object.__setattr__(self, "hash", self._content_hash())

    def __len__(self) -> int:
        return len(self.frame_offset)

    def __repr__(self) -> str:
        return f"Plan({len(self)} samples, {len(self.segments)} segments, {self.counted_by}, hash={self.hash!r})"

    def _content_hash(self) -> str:
        digest = hashlib.sha256(json.dumps([PLAN_VERSION, self.counted_by, self.segments]).encode())
        for name, kind in _COLUMNS.items():
            digest.update(np.ascontiguousarray(getattr(self, name), kind).data)
        return digest.hexdigest()[:32]


def make_plan(
    index: VideoIndex,
    *,
    infer_fps: Fraction | None,
    start_s: float | None = None,
    end_s: float | None = None,
    settings: DecodeSettings | None = None,
) -> Plan:
    """Plan a video at `infer_fps` frames a second, every frame where it is None, or the part [start_s, end_s) of it.

    The part is cut from the whole video's samples by their ideal times, so that the plans of adjoining parts, one
    after the other, are the plan of the whole. Raises `RateTooHighError` and `EmptyPartError`.
    """
    settings = settings or DecodeSettings()
    rate = find_rate(index)
    samples = sample_frames(index, rate, infer_fps)
    if start_s or end_s is not None:
        samples = part_of(samples, index, rate, infer_fps, start_s or 0.0, end_s)
    pts = index.pts[samples.frame_offset]
    group = np.searchsorted(index.key_pts, pts, side="right") - 1
    if index.counted_by == "decoding" or not len(index.key_pts):
        key_pts, segments = np.repeat(index.pts[:1], len(pts)), [(0, len(pts))]
    else:
        # Frames before the first keyframe have no group to be decoded with; the first one is as near as can be had.
        key_pts = index.key_pts[np.maximum(group, 0)]
        segment_ticks = int(Fraction(str(settings.segment_s)) / index.time_base)
        segments = _segments(key_pts, pts, segment_ticks, settings.segment_samples)
    return Plan(
        frame_offset=samples.frame_offset,
        time_offset=samples.time_offset,
        pts=pts,
        key_pts=key_pts,
        leading=index.leading[samples.frame_offset],
        segments=segments,
        counted_by=index.counted_by,
    )


def _segments(
    key_pts: NDArray[np.int64], pts: NDArray[np.int64], segment_ticks: int, segment_samples: int
) -> list[tuple[int, int]]:
    """Cut samples where the keyframe changes, as rarely as the wanted length and number of samples allow."""
    cuts = [0, *(np.flatnonzero(key_pts[1:] != key_pts[:-1]) + 1).tolist(), len(pts)]
    segments: list[tuple[int, int]] = []
    start = 0
    for cut, following in pairwise(cuts[1:]):
        too_long = int(pts[following - 1]) - int(pts[start]) >= segment_ticks
        if too_long or following - start > segment_samples:
            segments.append((start, cut))
            start = cut
    return [*segments, (start, len(pts))]


def plan_to_bytes(plan: Plan) -> bytes:
    """The plan as an Arrow IPC file: a column for each array, segments and hash in the schema's metadata."""
    import pyarrow as pa

    about = {"plan_version": PLAN_VERSION, "counted_by": plan.counted_by, "segments": plan.segments, "hash": plan.hash}
    columns = {name: pa.array(getattr(plan, name)) for name in _COLUMNS}
    table = pa.table(columns).replace_schema_metadata({"reelmill": json.dumps(about)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def plan_from_bytes(data: bytes) -> Plan:
    """Read what `plan_to_bytes` wrote. Raises `BadPlanError` for anything else, or a plan whose hash doesn't fit."""
    import pyarrow as pa

    try:
        table = pa.ipc.open_file(data).read_all()
        about = json.loads((table.schema.metadata or {})[b"reelmill"])
        plan = Plan(
            frame_offset=table["frame_offset"].to_numpy(),
            time_offset=table["time_offset"].to_numpy(),
            pts=table["pts"].to_numpy(),
            key_pts=table["key_pts"].to_numpy(),
            leading=table["leading"].to_numpy(),
            segments=[(start, stop) for start, stop in about["segments"]],
            counted_by=about["counted_by"],
        )
    except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise BadPlanError(f"the stored plan cannot be read ({error}); delete it and it is made again.") from error
    if (about.get("plan_version"), about.get("hash")) != (PLAN_VERSION, plan.hash):
        raise BadPlanError("the stored plan is of another version or was changed; delete it and it is made again.")
    return plan
