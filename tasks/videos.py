"""Registration: bytes from a file, a URL or a presigned PUT become a checked, registered video.

What is registered decodes, is of a container that we take, and is named by its content: the same bytes are one video.
"""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from models.errors import PassingError, PermanentError
from tasks.downloads import download
from tasks.incoming import UnknownUploadError, find_upload, mark_registered, registered_as
from tasks.probing import probe
from tasks.removals import announced, wait_until_settled
from tasks.settings import StoreSettings, UploadSettings
from tasks.store_interface import PARTIAL_PREFIX, KeyNotFoundError, Store
from tasks.stored_index import write_index
from tasks.url_addresses import redact_url
from tasks.video_cache import drop_copy, keep_copy, sha256_of, video_file
from tasks.video_facts import VideoFacts
from tasks.video_index import VideoIndex
from tasks.video_names import EXTENSIONS, EmptyFileError, FileNameError, checked_file_name, checked_size
from tasks.video_records import (
    VIDEO_ID_DIGITS,
    ExpiredVideoError,
    UnknownVideoError,
    Video,
    find_video,
    is_video_id,
    list_videos,
    record_key,
    remove_video,
    source_key,
)

__all__ = [
    "EXTENSIONS",
    "EmptyFileError",
    "ExpiredVideoError",
    "FileNameError",
    "UnknownUploadError",
    "UnknownVideoError",
    "Video",
    "checked_file_name",
    "checked_size",
    "delete_video",
    "find_video",
    "list_videos",
    "register_file",
    "register_upload",
    "register_url",
    "video_file",
]

_FAMILIES = {"mp4": "mp4", "mov": "mp4", "mkv": "mkv", "webm": "mkv", "avi": "avi"}
"""Container → what it is a kind of; QuickTime is mp4's parent, WebM a part of Matroska."""
_TRIES = 3


class FileMissingError(PermanentError):
    """There is no such file, or it cannot be read."""


class FileChangedError(PermanentError):
    """Somebody wrote to the file while it was being registered."""


class ContainerMismatchError(PermanentError):
    """The content is of another container than the name says, or of one that we don't take."""


class RemovedMeanwhileError(PassingError):
    """Somebody deletes the video as often as it is registered."""


@dataclass(frozen=True)
class Candidate:
    """What was found out about bytes that are to be registered."""

    file_name: str
    size_bytes: int
    sha256: str
    facts: VideoFacts
    index: VideoIndex
    origin: str | None = None


def register_file(
    store: Store, path: Path, *, file_name: str | None = None, settings: UploadSettings | None = None
) -> Video:
    """Register a file of this machine; it is copied, and stays where it is.

    Raises `FileNameError`, `FileMissingError`, `EmptyFileError`, `TooLargeError`, `ContainerMismatchError`,
    `FileChangedError`, and what `probe` and the store raise.
    """
    limits = settings or UploadSettings()
    name = checked_file_name(path.name if file_name is None else file_name)
    before = _stamp(path)
    checked_size(name, before[0], limits)
    facts, index = _facts_and_index(name, path)
    sha256 = sha256_of(path)

    def put(key: str) -> None:
        store.write_file(key, path)
        if _stamp(path) != before:
            store.delete([key])
            raise FileChangedError(f"{name!r} changed while it was being read; register it once it is finished.")

    return _register(store, Candidate(name, before[0], sha256, facts, index), put, limits)


def register_url(
    store: Store,
    url: str,
    *,
    file_name: str | None = None,
    settings: UploadSettings | None = None,
    cache_dir: Path | None = None,
) -> Video:
    """Register what an https URL gives; `file_name` names it where neither URL nor server does.

    Raises what `download` raises, and all that `register_file` does.
    """
    limits = settings or UploadSettings()
    if file_name is not None:
        checked_file_name(file_name)
    with _scratch_folder(cache_dir) as (folder, cache):
        got = download(url, folder / "download", limits)
        name = checked_file_name(got.file_name if file_name is None else file_name)
        checked_size(name, got.size_bytes, limits)
        path = (folder / "download").rename(folder / name)
        candidate = Candidate(name, got.size_bytes, sha256_of(path), *_facts_and_index(name, path), redact_url(url))
        video = _register(store, candidate, lambda key: store.write_file(key, path), limits)
        keep_copy(store, video, path, cache)
    return video


def register_upload(
    store: Store, upload_id: str, *, settings: UploadSettings | None = None, cache_dir: Path | None = None
) -> Video:
    """Register what was PUT under `incoming/{upload_id}/`, and remove it there; once more gives the same video.

    Its size is checked before it is read; what is read, checked and copied is one and the same, by its ETag: raises
    `ObjectChangedError` where it is PUT again meanwhile, `UnknownUploadError`, `MissingPartsError`, and all that
    `register_file` does.
    """
    try:
        return _register_incoming(store, upload_id, settings or UploadSettings(), cache_dir)
    except (UnknownUploadError, KeyNotFoundError):
        video_id = registered_as(store, upload_id)
        if video_id is None:
            raise
        return find_video(store, video_id)


def _register_incoming(store: Store, upload_id: str, limits: UploadSettings, cache_dir: Path | None) -> Video:
    upload = find_upload(store, upload_id)
    name = checked_file_name(upload.key.rpartition("/")[2])
    checked_size(name, upload.size_bytes, limits)
    with _scratch_folder(cache_dir) as (folder, cache):
        path = folder / name
        store.fetch(upload.key, path, if_etag=upload.etag)
        candidate = Candidate(name, upload.size_bytes, sha256_of(path), *_facts_and_index(name, path))

        def put(key: str) -> None:
            try:
                store.copy(upload.key, key, if_etag=upload.etag)
            except KeyNotFoundError:  # cleaned up by age, or registered by somebody else: we have it whole
                store.write_file(key, path)

        video = _register(store, candidate, put, limits)
        keep_copy(store, video, path, cache)
    mark_registered(store, upload_id, video.video_id)
    return video


def delete_video(store: Store, video_id: str, *, cache_dir: Path | None = None) -> int:
    """Delete a video, its plans, its record and this machine's copy; returns how many objects of the store went.

    Copies on other machines go when their worker next fetches a video. Raises `UnknownVideoError`.
    """
    removed = 0
    if is_video_id(video_id):
        with announced(store, [f"videos/{video_id}"]):
            removed = remove_video(store, video_id)
    if not removed:
        raise UnknownVideoError(f"There is no video {video_id[:100]!r} to delete; see `reelmill videos`.")
    drop_copy(cache_dir or StoreSettings().cache_dir, video_id)
    return removed


def _register(store: Store, candidate: Candidate, put: Callable[[str], None], settings: UploadSettings) -> Video:
    """Write source, then record. `put` writes the source under a key; it is not called where the source is there."""
    video_id = candidate.sha256[:VIDEO_ID_DIGITS]
    now = datetime.now(UTC)
    video = Video(
        video_id=video_id,
        facts=candidate.facts,
        file_name=candidate.file_name,
        size_bytes=candidate.size_bytes,
        sha256=candidate.sha256,
        registered_at=now,
        expires_at=now + timedelta(days=settings.keep_days),
        origin=candidate.origin,
    )
    key = source_key(video_id)
    for _ in range(_TRIES):
        if not _stands(store, video):
            put(key)
        write_index(store, video_id, video.sha256, candidate.index)
        store.write(record_key(video_id), video.model_dump_json(indent=2).encode())
        wait_until_settled(store, f"videos/{video_id}")  # a cleanup may have been at the expired one
        if _stands(store, video):
            return video
    raise RemovedMeanwhileError(f"{video.file_name!r} was deleted while it was registered; register it again.")


def _stands(store: Store, video: Video) -> bool:
    source = store.stat(source_key(video.video_id))
    if source is None or source.size_bytes != video.size_bytes:
        return False
    try:
        return find_video(store, video.video_id, held=True).sha256 == video.sha256
    except UnknownVideoError:
        return False


def _facts_and_index(name: str, path: Path) -> tuple[VideoFacts, VideoIndex]:
    """Probe the content, and refuse it where its container is none of ours or not what the name says."""
    facts, index = probe(path)
    named = Path(name).suffix.lower().removeprefix(".")
    if facts.container not in _FAMILIES:
        raise ContainerMismatchError(
            f"{name!r} is a {facts.container} file inside; give a video in one of: {', '.join(EXTENSIONS)}."
        )
    family = _FAMILIES[facts.container]
    if family != _FAMILIES[named]:
        raise ContainerMismatchError(
            f"{name!r} is named {named} and is {facts.container} inside; name it .{family} if that is right."
        )
    return facts, index


def _stamp(path: Path) -> tuple[int, int, int, int]:
    """A regular file's size in bytes, and what changes when it is written or replaced."""
    try:
        facts = path.stat()
        if stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for its writer
            path.open("rb").close()
    except PermissionError:
        raise FileMissingError(f"{str(path)!r} may not be read by this user; change its mode.") from None
    except (OSError, ValueError):
        raise FileMissingError(f"There is no file {str(path)!r}; see whether the path is right.") from None
    if not stat.S_ISREG(facts.st_mode):
        raise FileMissingError(f"{str(path)!r} is a folder or no ordinary file; name a video file.")
    return facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_dev


@contextmanager
def _scratch_folder(cache_dir: Path | None) -> Iterator[tuple[Path, Path]]:
    """A folder for a file that is only being looked at, on the cache's disk, and the cache's own folder."""
    cache = (cache_dir or StoreSettings().cache_dir).expanduser()
    (cache / "incoming").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=cache / "incoming") as folder:
        yield Path(folder), cache
