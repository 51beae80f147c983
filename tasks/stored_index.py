"""The index of a registered video's frames, kept in the store: jobs then plan without reading the video again."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import PermanentError
from tasks.probing import probe
from tasks.store_interface import KeyNotFoundError, Store
from tasks.video_cache import video_file
from tasks.video_index import VideoIndex
from tasks.video_records import UnknownVideoError, Video, source_key

INDEX_VERSION = 1
"""Raised by hand when the same bytes would give another index; one of another version is made again."""


class BadIndexError(PermanentError):
    """The bytes are no index of this version."""


def index_key(video_id: str) -> str:
    """Where the index of a video lies in the store."""
    return f"videos/{video_id}/index-{INDEX_VERSION}.arrow"


def index_of(store: Store, video: Video, cache_dir: Path) -> VideoIndex:
    """Give the index of a registered video, made from its bytes and kept where the store has none that fits.

    Raises `UnknownVideoError` where the bytes are gone or cut off, and, where it is made, what `video_file` and `probe`
    raise.
    """
    source = store.stat(source_key(video.video_id))
    if source is None or source.size_bytes != video.size_bytes:
        raise UnknownVideoError(f"The bytes of video {video.video_id} are gone or cut off; register it again.")
    try:
        return index_from_bytes(store.read(index_key(video.video_id)), video.sha256)
    except (KeyNotFoundError, BadIndexError):
        _, index = probe(video_file(store, video, cache_dir))
        write_index(store, video.video_id, video.sha256, index)
        return index


def write_index(store: Store, video_id: str, sha256: str, index: VideoIndex) -> None:
    """Keep the index of the bytes that have the hash `sha256`."""
    store.write(index_key(video_id), index_to_bytes(index, sha256))


def index_to_bytes(index: VideoIndex, sha256: str) -> bytes:
    """The index as an Arrow IPC file: one row, a list for each array, the rest in the schema's metadata."""
    import pyarrow as pa

    about = {
        "sha256": sha256,
        "time_base": str(index.time_base),
        "average_rate": None if index.average_rate is None else str(index.average_rate),
        "last_duration": index.last_duration,
        "counted_by": index.counted_by,
        "ticks_are_frames": index.ticks_are_frames,
    }
    # Steps compress to next to nothing where the rate is constant, times do not.
    steps = {"pts": np.diff(index.pts, prepend=0), "key_pts": np.diff(index.key_pts, prepend=0)}
    columns = {**steps, "leading": index.leading.view(np.uint8)}
    arrays = [pa.ListArray.from_arrays(pa.array([0, len(one)], pa.int32()), pa.array(one)) for one in columns.values()]
    table = pa.Table.from_arrays(arrays, names=list(columns)).replace_schema_metadata({"reelmill": json.dumps(about)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def index_from_bytes(data: bytes, sha256: str) -> VideoIndex:
    """Read what `index_to_bytes` wrote. Raises `BadIndexError` for anything else, or where it is of other bytes."""
    import pyarrow as pa

    try:
        table = pa.ipc.open_file(data).read_all()
        about = json.loads((table.schema.metadata or {})[b"reelmill"])
        columns: list[Any] = [table[name].combine_chunks() for name in ("pts", "key_pts", "leading")]
        pts, key_pts, leading = (column.flatten().to_numpy() for column in columns)
        index = VideoIndex(
            pts=np.cumsum(pts),
            key_pts=np.cumsum(key_pts),
            leading=leading.view(np.bool_),
            time_base=Fraction(about["time_base"]),
            average_rate=None if about["average_rate"] is None else Fraction(about["average_rate"]),
            last_duration=about["last_duration"],
            counted_by=about["counted_by"],
            ticks_are_frames=about["ticks_are_frames"],
        )
    except (pa.ArrowException, KeyError, ValueError, TypeError, IndexError) as error:
        raise BadIndexError(f"the stored index cannot be read ({error}); it is made again.") from error
    if about.get("sha256") != sha256:
        raise BadIndexError("the stored index is that of another file; it is made again.")
    return index
