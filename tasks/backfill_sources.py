"""Where a backfill's videos come from: a folder, an S3 prefix, or a list of them; and how one of them is registered."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from models.errors import PermanentError
from tasks.backfill_items import Item, is_manifest, read_manifest
from tasks.settings import StoreSettings, UploadSettings
from tasks.store import Store, open_store
from tasks.store_interface import PARTIAL_PREFIX, KeyNotFoundError
from tasks.upload_steps import allowed_path
from tasks.video_records import is_video_id
from tasks.videos import EXTENSIONS, FileMissingError, Video, find_video, register_file, register_url

_S3 = "s3://"
_IN_STORE = "store:"
_URLS = ("https://", "http://")


class SourceError(PermanentError):
    """The source of a backfill is not there, or none that can be taken."""


@dataclass(frozen=True)
class Places:
    """Which files of this machine may be taken: those below the folder that the worker offers, or, embedded, any."""

    any_path: bool = False

    def file(self, path: str) -> Path:
        """The file of that path. Raises `tasks.upload_steps.LocalPathError` for one that is not offered."""
        if self.any_path:
            return Path(path).expanduser().absolute()
        return allowed_path(path, UploadSettings())


def list_items(store: Store, source: str, places: Places) -> list[Item]:
    """The videos of a folder or prefix, sorted by name, or the rows of a list, in its order.

    Of a folder, files are taken whose names end as videos' do; hidden ones are left out. Raises `SourceError`,
    `tasks.backfill_items.ManifestError`, `tasks.upload_steps.LocalPathError` and the store's errors.
    """
    if source.startswith(_IN_STORE):
        return read_manifest(source, _read(store, source.removeprefix(_IN_STORE), source))
    if source.startswith(_S3):
        return list(_s3_items(source))
    if source.startswith(_URLS):
        raise SourceError("a backfill takes no URL as its source; name a folder, an s3:// prefix or a list of videos.")
    path = places.file(source)
    if path.is_dir():
        return list(_files_below(path))
    if not is_manifest(path.name):
        raise SourceError(f"{source[:200]!r} is neither a folder nor a list of videos (.csv, .parquet, .jsonl).")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"the list {source[:200]!r} cannot be read ({error.strerror or error}).") from None
    return [_beside(item, str(path.parent)) for item in read_manifest(path.name, data)]


def register_item(store: Store, item: Item, places: Places) -> Video:
    """Register the item's video, or find it where its id is named. Raises what `tasks.videos` and the store raise."""
    if is_video_id(item.source):
        return find_video(store, item.source)
    if item.source.startswith(_URLS):
        return register_url(store, item.source)
    if not item.source.startswith(_S3):
        return register_file(store, places.file(item.source))
    folder, name = _s3_place(item.source)
    cache = StoreSettings().cache_dir.expanduser() / "incoming"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=cache) as scratch:
        path = Path(scratch) / "video"
        try:
            folder.fetch(name, path, if_etag=item.stamp or None)
        except KeyNotFoundError:
            raise FileMissingError(f"There is nothing at {item.source!r}; see whether the address is right.") from None
        return register_file(store, path, file_name=name)


def _s3_items(source: str) -> Iterator[Item]:
    if is_manifest(source):
        folder, name = _s3_place(source)
        for item in read_manifest(source, _read(folder, name, source)):
            yield _beside(item, source.rpartition("/")[0])
        return
    prefix = open_store(source.rstrip("/"))
    for info in prefix.list(""):
        if _is_video(info.key):
            yield Item(f"{prefix.uri}/{info.key}", stamp=info.etag)


def _s3_place(uri: str) -> tuple[Store, str]:
    """The folder of an object as a store, and the object's name in it."""
    folder, _, name = uri.rpartition("/")
    if not name or folder in ("s3:/", _S3):
        raise SourceError(f"{uri[:200]!r} names no object; write s3://bucket/name.")
    return open_store(folder), name


def _read(store: Store, key: str, shown: str) -> bytes:
    try:
        return store.read(key)
    except KeyNotFoundError:
        raise SourceError(f"there is no list {shown[:200]!r}; see whether the address is right.") from None


def _files_below(folder: Path) -> Iterator[Item]:
    for path in sorted(folder.rglob("*")):
        if _is_video(path.relative_to(folder).as_posix()) and path.is_file():
            facts = path.stat()
            yield Item(str(path), stamp=f"{facts.st_size}-{facts.st_mtime_ns}")


def _is_video(name: str) -> bool:
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not hidden and Path(name).suffix.lower().removeprefix(".") in EXTENSIONS


def _beside(item: Item, folder: str) -> Item:
    """A row that names its video by a relative path means one beside the list."""
    named = item.source
    if not named or is_video_id(named) or named.startswith((*_URLS, _S3, "/", "~")):
        return item
    return replace(item, source=posixpath.join(folder, named))
