"""The store as a directory: one file for each key, written beside its place and renamed into it.

It knows nothing of what the keys mean. Links inside the directory are refused, so that no key leads out of it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from tasks.store_interface import (
    PARTIAL_PREFIX,
    BadKeyError,
    DiskFullError,
    KeyNotFoundError,
    ObjectChangedError,
    ObjectInfo,
    PresignedParts,
    PresignedPut,
    StoreAccessError,
    StoreConfigError,
    UploadLinkError,
    checked_folder,
    checked_key,
    checked_prefix,
    checked_result_key,
)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_MISPLACED = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG}
_COPY_CHUNK_BYTES = 4 * 2**20
_MKDIR_TRIES = 5
_LOCK_NAME = f"{PARTIAL_PREFIX}lock"  # no listing shows it, and no key can be called so


class LocalStore:
    """A store in a directory of this machine (or of a file system that all workers mount)."""

    def __init__(self, root: Path) -> None:
        """Remember where; the directory is made by the first write."""
        self.root = Path(root).expanduser().resolve()
        self.uri = str(self.root)

    def read(self, key: str) -> bytes:
        """See `Store.read`."""
        path = self._path(key)
        with _told_as_store_errors(self.root):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise self._missing(key) from None

    def write(self, key: str, data: bytes) -> None:
        """See `Store.write`."""
        self._put(key, lambda target: target.write(data))

    def swap(self, key: str, data: bytes, *, if_etag: str | None) -> None:
        """See `Store.swap`: compared and written while nobody else of this store swaps."""
        with _told_as_store_errors(self.root), _locked(self.root / _LOCK_NAME):
            info = self.stat(key)
            if if_etag != (None if info is None else info.etag):
                raise ObjectChangedError(f"{key!r} has been written since it was looked at; look again.")
            self.write(key, data)

    def write_file(self, key: str, path: Path) -> None:
        """See `Store.write_file`. The file is copied, never linked: its owner may go on writing to it."""
        with path.open("rb") as source:
            self._put(key, lambda target: _copy_bytes(source, target))

    def fetch(self, key: str, path: Path, *, if_etag: str | None = None) -> None:
        """See `Store.fetch`."""
        with self._open_unchanged(key, if_etag) as source, written_whole(path) as target:
            _copy_bytes(source, target)
            self._refuse_changed(key, source, if_etag)

    def local_path(self, key: str) -> Path | None:
        """See `Store.local_path`."""
        return self._path(key)

    def stat(self, key: str) -> ObjectInfo | None:
        """See `Store.stat`."""
        path = self._path(key)
        with _told_as_store_errors(self.root):
            try:
                facts = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return None if path.is_dir() else _info(key, facts)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        folder, slash, _ = checked_prefix(prefix).rpartition("/")
        start = self._path(folder) if folder else self.root
        with _told_as_store_errors(self.root):
            yield from _walk(start, folder + slash, prefix)

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store.delete`."""
        gone = 0
        for key in set(keys):
            path = self._path(key)
            with _told_as_store_errors(self.root):
                path.unlink(missing_ok=True)
                self._remove_empty_folders(path.parent)
            gone += 1
        return gone

    def delete_prefix(self, prefix: str) -> int:
        """See `Store.delete_prefix`."""
        return self.delete([info.key for info in self.list(checked_folder(prefix))])

    def copy(self, source: str, target: str, *, if_etag: str) -> None:
        """See `Store.copy`."""
        with self._open_unchanged(source, if_etag) as original:

            def copy_and_check(copied: BinaryIO) -> None:
                _copy_bytes(original, copied)
                self._refuse_changed(source, original, if_etag)

            self._put(target, copy_and_check)

    def remove_unfinished(self, before: datetime, *, dry_run: bool = False) -> int:
        """See `Store.remove_unfinished`."""
        removed = 0
        with _told_as_store_errors(self.root):
            for folder, _, names in os.walk(self.root):
                for path in (Path(folder, name) for name in names if name.startswith(PARTIAL_PREFIX)):
                    if _modified_at(path.lstat()) < before:
                        removed += 1
                        if not dry_run:
                            path.unlink(missing_ok=True)
        return removed

    def remove_old_versions(self, prefix: str, before: datetime, *, dry_run: bool = False) -> int:  # noqa: ARG002
        """See `Store.remove_old_versions`: a directory keeps none."""
        return 0

    def presign_put(self, key: str, *, size_bytes: int, expires_s: int) -> PresignedPut:  # noqa: ARG002
        """See `Store.presign_put`: a directory has no URL."""
        raise self._no_links()

    def presign_parts(self, key: str, *, size_bytes: int, part_bytes: int, expires_s: int) -> PresignedParts:  # noqa: ARG002
        """See `Store.presign_parts`: a directory has no URL."""
        raise self._no_links()

    def finish_parts(self, key: str, parts_id: str, *, size_bytes: int, part_bytes: int) -> None:  # noqa: ARG002
        """See `Store.finish_parts`: none were ever offered."""
        raise self._missing(key)

    def presign_result(self, key: str, *, expires_s: int) -> str:  # noqa: ARG002
        """See `Store.presign_result`: the absolute path of the file."""
        if self.stat(checked_result_key(key)) is None:
            raise self._missing(key)
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        path = self.root
        for part in checked_key(key).split("/"):
            path /= part
            if path.is_symlink():
                raise BadKeyError(
                    f"{path} is a symbolic link, which the store does not follow; put the real file there."
                )
        return path

    def _put(self, key: str, fill: Callable[[BinaryIO], object]) -> None:
        path = self._path(key)
        with _told_as_store_errors(self.root):
            if not self.root.exists():
                self.root.mkdir(parents=True, mode=0o700, exist_ok=True)
            with written_whole(path) as target:
                fill(target)

    @contextmanager
    def _open_unchanged(self, key: str, if_etag: str | None) -> Iterator[BinaryIO]:
        path = self._path(key)
        with _told_as_store_errors(self.root):
            try:
                source = path.open("rb")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise self._missing(key) from None
        with source:
            self._refuse_changed(key, source, if_etag)
            yield source

    def _refuse_changed(self, key: str, source: BinaryIO, if_etag: str | None) -> None:
        if if_etag is not None and _etag(os.fstat(source.fileno())) != if_etag:
            raise ObjectChangedError(
                f"{key!r} was replaced while it was being read; try again when nobody writes to it."
            )

    def _no_links(self) -> UploadLinkError:
        return UploadLinkError(
            f"The store {self.uri} is a directory, which takes no uploads over HTTP; "
            "use `reelmill register FILE`, or an S3 store (REELMILL_STORE=s3://bucket/prefix)."
        )

    def _missing(self, key: str) -> KeyNotFoundError:
        return KeyNotFoundError(f"There is no {key!r} in the store {self.uri}.")

    def _remove_empty_folders(self, folder: Path) -> None:
        while folder != self.root and folder.is_relative_to(self.root):
            try:
                folder.rmdir()
            except OSError:  # not empty, or already gone: both leave nothing to do
                return
            folder = folder.parent


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file, made as needed; it ends with the process that holds it, however that dies."""
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    while True:
        with path.open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                if not os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                    continue
            except FileNotFoundError:  # removed as something unfinished, while we waited for it
                continue
            yield
            return


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes `path`'s place, synced to disk, only when the block ends without an error.

    Folders are made as needed. Raises `DiskFullError`; a block that fails leaves nothing behind.
    """
    partial = path.with_name(f"{PARTIAL_PREFIX}{secrets.token_hex(8)}")
    try:
        with _told_as_store_errors(path.parent), _opened_in_folder(partial) as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        with _told_as_store_errors(path.parent):
            partial.replace(path)
            _sync_folder(path.parent)
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            partial.unlink()


def _opened_in_folder(path: Path) -> BinaryIO:
    """Make the folder and the file; again where somebody removes the empty folder in between."""
    for _ in range(_MKDIR_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("xb")
        except FileNotFoundError:
            continue
        except FileExistsError:  # mkdir says so, too, of a folder that is gone when it looks whether it is one
            if path.parent.exists():
                raise
    raise StoreConfigError(f"The folder {path.parent} is removed as soon as it is made; keep others from cleaning it.")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_bytes(source: BinaryIO, target: BinaryIO) -> None:
    shutil.copyfileobj(source, target, _COPY_CHUNK_BYTES)


def _walk(folder: Path, begin: str, prefix: str) -> Iterator[ObjectInfo]:
    """Yield a folder's objects whose keys begin with `prefix`; `begin` is the folder's own beginning of keys.

    In the order of whole keys: a folder sorts as its name with the "/" that follows it.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda e: os.fsencode(e.name + "/" * e.is_dir(follow_symlinks=False)))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        key = begin + entry.name
        if entry.is_dir(follow_symlinks=False):
            if f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/"):
                yield from _walk(Path(entry.path), f"{key}/", prefix)
        elif (
            entry.is_file(follow_symlinks=False)
            and key.startswith(prefix)
            and not entry.name.startswith(PARTIAL_PREFIX)
        ):
            with suppress(FileNotFoundError):  # somebody deleted it in between
                yield _info(key, entry.stat(follow_symlinks=False))


def _info(key: str, facts: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key=key, size_bytes=facts.st_size, modified_at=_modified_at(facts), etag=_etag(facts))


def _etag(facts: os.stat_result) -> str:
    return f"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"


def _modified_at(facts: os.stat_result) -> datetime:
    return datetime.fromtimestamp(facts.st_mtime, UTC)


@contextmanager
def _told_as_store_errors(folder: Path) -> Iterator[None]:
    """Raise what the operating system says about `folder` as the store's own errors."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(f"No space is left where {folder} lies; free some and try again.") from error
        if error.errno in _REFUSED:
            raise StoreAccessError(f"This user may not write to or read {folder}; change its owner or mode.") from error
        if error.errno in _MISPLACED:
            raise StoreConfigError(f"{folder} is not a directory that can hold the store; name another one.") from error
        raise
