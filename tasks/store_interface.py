"""The store as every other module sees it: keys in, bytes and files out, and the errors that any home of it may raise.

It knows nothing of directories, S3 or what the keys mean; `tasks.store` opens the two homes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from models.errors import PassingError, PermanentError

RESULTS_PREFIX = "results/"
PARTIAL_PREFIX = ".partial-"
"""Names of files that are being written start so; no key may, and no listing shows them."""

_MAX_KEY_BYTES = 1024  # Amazon S3's limit for a whole key
_MAX_PART_BYTES = 255  # what Linux file systems take for one name
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


class StoreConfigError(PermanentError):
    """The store's address or its settings cannot be meant as they stand."""


class BadKeyError(PermanentError):
    """A key that could leave the store, or that one of its homes cannot hold."""


class KeyNotFoundError(PermanentError):
    """Nothing lies under the key."""


class ObjectChangedError(PermanentError):
    """The object is no longer the one that was looked at."""


class BucketMissingError(PermanentError):
    """The S3 store's bucket does not exist."""


class StoreAccessError(PermanentError):
    """The store refuses these credentials, or this user."""


class StoreRefusedError(PermanentError):
    """The S3 server understood a request and will not do it."""


class NotAResultError(PermanentError):
    """A readable link was asked for something that is not a result."""


class UploadLinkError(PermanentError):
    """This store cannot give a link that a file can be sent to."""


class MissingPartsError(PermanentError):
    """Of a file that is sent in parts, not all have come."""


class StoreUnreachableError(PassingError):
    """The S3 server is down, too slow, or out of reach."""


class DiskFullError(PassingError):
    """A disk or a quota is full; what was being written is removed."""


@dataclass(frozen=True)
class ObjectInfo:
    """What the store knows of one object; `etag` changes when the content does, and means nothing else."""

    key: str
    size_bytes: int
    modified_at: datetime
    etag: str


@dataclass(frozen=True)
class PresignedPut:
    """One request that stores a file: any HTTP client sends `method` to `url` with exactly these headers."""

    url: str
    method: str
    headers: dict[str, str]


@dataclass(frozen=True)
class PresignedPart:
    """One part of a large file: `size_bytes` from `start_byte` on go to `url`, by PUT, as often as is needed."""

    number: int
    """From 1 on."""
    start_byte: int
    size_bytes: int
    url: str


@dataclass(frozen=True)
class PresignedParts:
    """A file that is sent in parts, in any order; `parts_id` names the whole of them for `Store.finish_parts`."""

    parts_id: str
    parts: tuple[PresignedPart, ...]


class Store(Protocol):
    """A directory or a bucket. Every method raises `BadKeyError` for a key that it could not hold.

    A key is relative, "/"-separated and case-sensitive.
    """

    uri: str
    """`s3://bucket/prefix`, or the absolute path of the directory."""

    def read(self, key: str) -> bytes:
        """Return the object's bytes. Raises `KeyNotFoundError`."""

    def write(self, key: str, data: bytes) -> None:
        """Put `data` under `key`: readers see the old object or the new one, never a part."""

    def swap(self, key: str, data: bytes, *, if_etag: str | None) -> None:
        """Put `data` under `key` only where what lies there has that etag, or, with `None`, where nothing lies.

        Of several callers at once one gets through. A key that is swapped is written in no other way, and never
        with the bytes that lie there: S3's etag is their hash. Raises `ObjectChangedError` where another was quicker.
        """

    def write_file(self, key: str, path: Path) -> None:
        """Put a copy of the local file under `key`, as atomically as `write`, in parts where it is large."""

    def fetch(self, key: str, path: Path, *, if_etag: str | None = None) -> None:
        """Copy the object into a local file that appears only when whole.

        Raises `KeyNotFoundError`, and `ObjectChangedError` where the object's etag is not `if_etag`.
        """

    def local_path(self, key: str) -> Path | None:
        """Return the file that is the object, where the store is a directory; else `None`. It may not exist."""

    def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of the object, or `None` where there is none."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose keys begin with `prefix`, sorted by the bytes of their keys.

        "jobs/1" begins "jobs/10/spec.json" too, "jobs/1/" doesn't; "" begins every key.
        """

    def delete(self, keys: Iterable[str]) -> int:
        """Remove the objects and return how many keys are empty now; one that was empty before is no error."""

    def delete_prefix(self, prefix: str) -> int:
        """Remove the objects in a folder for good, with all versions, and return how many there were.

        Whole folders only: "jobs/1" and "jobs/1/" both leave "jobs/10/spec.json" alone; "" is a `BadKeyError`.
        """

    def copy(self, source: str, target: str, *, if_etag: str) -> None:
        """Copy inside the store what `source` held when `stat` gave `if_etag`.

        Raises `KeyNotFoundError`, and `ObjectChangedError` where `source` has been written since.
        """

    def remove_unfinished(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove (or only count) what writers that died before that moment left half written; returns how many."""

    def remove_old_versions(self, prefix: str, before: datetime, *, dry_run: bool = False) -> int:
        """Remove (or only count) what a bucket keeps of objects that were overwritten or deleted, written before that.

        Removes the marks of deletions of that age too. Returns how many there were; none in a directory.
        """

    def presign_put(self, key: str, *, size_bytes: int, expires_s: int) -> PresignedPut:
        """Return a request that stores exactly `size_bytes` under `key`. Raises `UploadLinkError` in a directory."""

    def presign_parts(self, key: str, *, size_bytes: int, part_bytes: int, expires_s: int) -> PresignedParts:
        """Return requests that send a file of `size_bytes` in parts of `part_bytes`, the last one smaller.

        Nothing lies under `key` before `finish_parts`. Raises `UploadLinkError` in a directory.
        """

    def finish_parts(self, key: str, parts_id: str, *, size_bytes: int, part_bytes: int) -> None:
        """Put the parts that have come together under `key`.

        Raises `MissingPartsError` where one has not come in its size, and `KeyNotFoundError` where nothing of them is
        there any more: finished, or removed by age.
        """

    def presign_result(self, key: str, *, expires_s: int) -> str:
        """Return a URL (a path, in a directory) that reads the result under `key`.

        Raises `NotAResultError` for every key outside `results/`, and `KeyNotFoundError`.
        """


def part_sizes(size_bytes: int, part_bytes: int) -> list[int]:
    """The sizes of the parts of a file, in bytes: all `part_bytes` but the last."""
    whole, rest = divmod(size_bytes, part_bytes)
    return [part_bytes] * whole + [rest] * (rest > 0)


def checked_key(key: str) -> str:
    """Return `key` where it names one object inside any store; raises `BadKeyError`."""
    parts = key.split("/")
    if (
        any(part in ("", ".", "..") or part.startswith(PARTIAL_PREFIX) for part in parts)
        or "\\" in key
        or _CONTROL_CHARACTERS.search(key)
        or not _fits(key, parts)
    ):
        raise BadKeyError(
            f"{key[:200]!r} cannot be a key of the store; take relative names separated by '/', without '..'."
        )
    return key


def checked_prefix(prefix: str) -> str:
    """Return `prefix` where keys of any store can begin with it; raises `BadKeyError`."""
    if prefix:
        checked_key(prefix.removesuffix("/"))
    return prefix


def checked_folder(prefix: str) -> str:
    """Return the folder that `prefix` names, ending in "/"; raises `BadKeyError`, for "" too."""
    if not prefix:
        raise BadKeyError("An empty prefix would mean the whole store; name the folder that is meant.")
    return checked_key(prefix.removesuffix("/")) + "/"


def checked_result_key(key: str) -> str:
    """Return `key` where it lies under `results/`; raises `NotAResultError` for any other."""
    if not checked_key(key).startswith(RESULTS_PREFIX):
        raise NotAResultError(f"{key!r} is no result; links that read are given for keys under {RESULTS_PREFIX} only.")
    return key


def _fits(key: str, parts: list[str]) -> bool:
    try:
        return len(key.encode()) <= _MAX_KEY_BYTES and all(len(part.encode()) <= _MAX_PART_BYTES for part in parts)
    except UnicodeEncodeError:
        return False
