"""A video's bytes as a local file: in place where the store is a directory, else a bounded cache of checked copies.

Copies are named by video id under `{cache_dir}/videos`; their time of access is when they were last asked for.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from models.errors import PassingError
from tasks.file_stamps import FileStamp, stamp_of
from tasks.settings import StoreSettings
from tasks.store_interface import PARTIAL_PREFIX, KeyNotFoundError, Store
from tasks.video_records import UnknownVideoError, Video, is_video_id, record_key, source_key
from tasks.video_refusals import VideoChangedError

IN_USE_S = 3600.0
"""A copy asked for within this time is taken to be in use; longer jobs ask again for each segment."""

SWEEP_EVERY_S = 600.0
_SWEPT = ".videos-swept"

_checked: dict[Path, tuple[str, FileStamp]] = {}
"""Files whose bytes this process has seen to have that SHA-256, as they were then."""


class VideoDamagedError(PassingError):
    """The bytes that came are not those that were registered."""


def video_file(store: Store, video: Video, cache_dir: Path) -> Path:
    """Return a local file with the video's bytes; cheap when asked again, which also keeps a copy from being dropped.

    A process checks the bytes themselves when it first meets them, and again when the file was written to or replaced;
    a copy that is not right is fetched again. Raises `UnknownVideoError` where the bytes are gone, `VideoChangedError`
    where those in the store are not the registered ones any more, `VideoDamagedError`, and the store's errors.
    """
    in_place = store.local_path(source_key(video.video_id))
    if in_place is None:
        sweep_now_and_then(store, cache_dir)
    path = cached_path(cache_dir, video.video_id) if in_place is None else in_place
    with suppress(FileNotFoundError):
        stamp = stamp_of(path)
        if stamp.size_bytes == video.size_bytes:
            if _has_bytes_of(video, path, stamp):
                if in_place is None:
                    os.utime(path, ns=(time.time_ns(), stamp.mtime_ns))
                return path
            if in_place is not None:
                raise VideoChangedError(
                    f"The bytes of video {video.video_id} in the store are not those that were registered; "
                    "delete it and register it again."
                )
    if in_place is not None:
        raise UnknownVideoError(f"The bytes of video {video.video_id} are gone or cut off; register it again.")
    make_room(cache_dir, video.size_bytes, StoreSettings().video_cache_bytes)
    _fetch_checked(store, video, path)
    return path


def _has_bytes_of(video: Video, path: Path, stamp: FileStamp) -> bool:
    if _checked.get(path) == (video.sha256, stamp):
        return True
    if sha256_of(path) != video.sha256:
        return False
    _checked[path] = video.sha256, stamp
    return True


def cached_path(cache_dir: Path, video_id: str) -> Path:
    """Where the local copy of a video lies, if there is one."""
    return cache_dir.expanduser() / "videos" / video_id


def keep_copy(store: Store, video: Video, path: Path, cache_dir: Path) -> None:
    """Move a file that was just registered into the cache, where the store isn't a directory itself."""
    if store.local_path(source_key(video.video_id)) is None:
        make_room(cache_dir, video.size_bytes, StoreSettings().video_cache_bytes)
        target = cached_path(cache_dir, video.video_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def drop_copy(cache_dir: Path, video_id: str) -> bool:
    """Remove this machine's copy of a video; returns whether there was one."""
    path = cached_path(cache_dir, video_id)
    existed = path.exists()
    path.unlink(missing_ok=True)
    return existed


def unregistered_copies(store: Store, cache_dir: Path) -> list[str]:
    """Ids of the copies on this machine whose video the store no longer has."""
    return [path.name for path in _copies(cache_dir) if store.stat(record_key(path.name)) is None]


def drop_unregistered_copies(store: Store, cache_dir: Path) -> list[str]:
    """Remove the copies of videos that are deleted; returns their ids."""
    return [video_id for video_id in unregistered_copies(store, cache_dir) if drop_copy(cache_dir, video_id)]


def sweep_now_and_then(store: Store, cache_dir: Path) -> list[str]:
    """Remove the copies of videos that are deleted, once in ten minutes for all processes of this machine.

    The store is asked for each copy, which for each video would be too much. Returns the ids of what went.
    """
    mark = cache_dir.expanduser() / _SWEPT
    with suppress(FileNotFoundError):
        if 0 <= time.time() - mark.stat().st_mtime < SWEEP_EVERY_S:
            return []
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return drop_unregistered_copies(store, cache_dir)


def drop_leftovers(cache_dir: Path, before: datetime) -> int:
    """Remove what downloads that died before that moment left half done; returns how many there were."""
    found = [
        path
        for folder in ("videos", "incoming")
        for path in (cache_dir.expanduser() / folder).glob(f"{PARTIAL_PREFIX}*")
    ]
    leftovers = [path for path, facts in _there(found) if facts.st_mtime < before.timestamp()]
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(leftovers)


def make_room(cache_dir: Path, size_bytes: int, cap_bytes: int) -> None:
    """Remove the copies longest unused until `size_bytes` more fit under the cap, sparing those in use."""
    copies = sorted(_there(_copies(cache_dir)), key=lambda item: item[1].st_atime)
    total_bytes = sum(facts.st_size for _, facts in copies)
    for path, facts in copies:
        if total_bytes + size_bytes <= cap_bytes or facts.st_atime > time.time() - IN_USE_S:
            return
        path.unlink(missing_ok=True)
        total_bytes -= facts.st_size


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_checked(store: Store, video: Video, path: Path) -> None:
    partial = path.with_name(f"{PARTIAL_PREFIX}{secrets.token_hex(8)}")
    try:
        store.fetch(source_key(video.video_id), partial)
        if sha256_of(partial) != video.sha256:
            raise VideoDamagedError(
                f"The bytes of video {video.video_id} are not those that were registered; "
                "try again, and if it stays so delete and register it again."
            )
        partial.replace(path)
        _checked[path] = video.sha256, stamp_of(path)
    except KeyNotFoundError:
        raise UnknownVideoError(f"The bytes of video {video.video_id} are gone; register it again.") from None
    finally:
        partial.unlink(missing_ok=True)


def _copies(cache_dir: Path) -> list[Path]:
    folder = cache_dir.expanduser() / "videos"
    return [path for path in folder.iterdir() if is_video_id(path.name)] if folder.is_dir() else []


def _there(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """The files' facts, without those that another process of this machine removed since they were listed."""
    for path in paths:
        with suppress(FileNotFoundError):
            yield path, path.stat()
