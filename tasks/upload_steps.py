"""The steps of the upload flows: offer a link, register what came, link a result.

Plain functions first, the one task at the end.
"""

from __future__ import annotations

import secrets
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import task
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from models.errors import PermanentError
from tasks.incoming import promise_parts, upload_key
from tasks.settings import S3Settings, UploadSettings
from tasks.step_options import STEP
from tasks.store import KeyNotFoundError, Store, open_store
from tasks.video_facts import frames_text
from tasks.videos import Video, checked_file_name, checked_size, register_file, register_upload, register_url

RESULT_FILES = ("predictions.json", "predictions.parquet", "job.json")


class UploadSourceError(PermanentError):
    """Not exactly one thing to register was named."""


class LocalPathError(PermanentError):
    """The worker takes no files by path, or not this one."""


class NoResultError(PermanentError):
    """The job has published no result, or there is no such job."""


class PartOffer(BaseModel):
    """A presigned PUT of the file's bytes from `start_byte` on, `size_bytes` of them; parts may come in any order."""

    model_config = ConfigDict(frozen=True)

    number: int
    start_byte: int
    size_bytes: int
    url: str


class UploadOffer(BaseModel):
    """Presigned PUTs, and the id by which what was PUT is registered: `url` for a file, `parts` for a large one."""

    model_config = ConfigDict(frozen=True)

    upload_id: str
    method: str
    url: str | None
    headers: dict[str, str]
    """Of the PUT to `url`; a part needs none but its size as Content-Length."""
    parts: tuple[PartOffer, ...] = ()
    expires_at: AwareDatetime


class ResultPointer(BaseModel):
    """What a finished job leaves in the store about where its result lies."""

    prefix: str


def offer_upload(store: Store, file_name: str, size_bytes: int, settings: UploadSettings | None = None) -> UploadOffer:
    """Make a link for one file of exactly that size; name and size are checked at once.

    A file larger than the setting `parts_above_bytes` is offered in parts. Raises `FileNameError`, `EmptyFileError`,
    `TooLargeError`, `UploadLinkError` and the store's errors.
    """
    limits = settings or UploadSettings()
    checked_file_name(file_name)
    checked_size(file_name, size_bytes, limits)
    upload_id, now = secrets.token_hex(16), datetime.now(UTC)
    if size_bytes > limits.parts_above_bytes:
        offered = promise_parts(store, upload_id, file_name, size_bytes, limits)
        parts = tuple(PartOffer.model_validate(part, from_attributes=True) for part in offered.parts)
        expires_at = now + timedelta(seconds=limits.parts_expire_s)
        return UploadOffer(upload_id=upload_id, method="PUT", url=None, headers={}, parts=parts, expires_at=expires_at)
    expires_at = now + timedelta(seconds=limits.put_expires_s)
    key = upload_key(upload_id, file_name)
    put = store.presign_put(key, size_bytes=size_bytes, expires_s=limits.put_expires_s)
    return UploadOffer(upload_id=upload_id, method=put.method, url=put.url, headers=put.headers, expires_at=expires_at)


def offer_text(offer: UploadOffer, file_name: str) -> str:
    """The offer as markdown: commands for people, JSON for programs."""
    what = f"each of the {len(offer.parts)} parts of the file" if offer.parts else "the file"
    return (
        f"PUT {what} before {offer.expires_at:%Y-%m-%d %H:%M} UTC, then run `register-upload` with "
        f"`upload_id={offer.upload_id}`.\n\n```sh\n{offer_commands(offer, file_name)}\n```\n\n"
        f"```json\n{offer.model_dump_json(indent=2)}\n```\n"
    )


def offer_commands(offer: UploadOffer, file_name: str) -> str:
    """The offer as shell commands, one a line; a part that broke off is sent again by its line."""
    file = shlex.quote(file_name)
    if offer.url is not None:
        return f"curl --fail --upload-file {file} {shlex.quote(offer.url)}"
    return "\n".join(
        f"tail -c +{part.start_byte + 1} {file} | head -c {part.size_bytes} | "
        "curl --fail --request PUT --header 'Content-Type: application/octet-stream' --data-binary @- "
        f"{shlex.quote(part.url)}"
        for part in offer.parts
    )


def register_source(
    store: Store,
    *,
    upload_id: str | None = None,
    input_url: str | None = None,
    path: str | None = None,
    file_name: str | None = None,
) -> Video:
    """Register the one source that is named.

    Raises `UploadSourceError`, `LocalPathError`, and what registering does.
    """
    if sum(source is not None for source in (upload_id, input_url, path)) != 1:
        raise UploadSourceError("Name exactly one of upload_id, input_url and path.")
    if upload_id is not None:
        return register_upload(store, upload_id)
    if input_url is not None:
        return register_url(store, input_url, file_name=file_name)
    return register_file(store, allowed_path(str(path), UploadSettings()), file_name=file_name)


def allowed_path(path: str, settings: UploadSettings) -> Path:
    """The file that a caller may have registered by its path on the worker; raises `LocalPathError` for any other."""
    if settings.local_dir is None:
        raise LocalPathError(
            "This worker takes no files by path (REELMILL_UPLOAD_LOCAL_DIR is unset); use request-upload or a URL."
        )
    folder = settings.local_dir.expanduser().resolve()
    try:
        wanted = (folder / path).resolve()
    except (OSError, ValueError):
        wanted = Path("/")
    if not wanted.is_relative_to(folder):
        raise LocalPathError(f"{path[:200]!r} lies outside the folder that this worker takes files from; put it there.")
    return wanted


def facts_text(video: Video) -> str:
    """A registered video as markdown."""
    facts = video.facts
    rows = {
        "video_id": f"`{video.video_id}`",
        "container, codec": f"{facts.container}, {facts.codec}",
        "size": f"{facts.width}×{facts.height}, turned by {facts.rotation}°{' and mirrored' if facts.mirrored else ''}",
        "frames": frames_text(facts),
        "rate": f"{facts.rate} frames a second, {'constant' if facts.constant_rate else 'varying'}",
        "duration": f"{facts.duration_s:.3f} s",
        "bytes": str(video.size_bytes),
        "sha256": f"`{video.sha256}`",
        "kept until": f"{video.expires_at:%Y-%m-%d %H:%M} UTC",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def result_address(store: Store, job_id: str, file: str, settings: S3Settings | None = None) -> str:
    """A fresh URL (a path, where the store is a directory) that reads one file of a finished job's result.

    Raises `NoResultError` and the store's errors.
    """
    if file not in RESULT_FILES:
        raise NoResultError(f"A result has no file {file[:100]!r}; take one of {', '.join(RESULT_FILES)}.")
    try:
        pointer = ResultPointer.model_validate_json(store.read(f"jobs/{job_id}/result.json"))
        expires_s = (settings or S3Settings()).result_link_expires_s
        return store.presign_result(f"{pointer.prefix}/{file}", expires_s=expires_s)
    except (KeyNotFoundError, ValidationError):
        raise NoResultError(f"The job {job_id[:100]!r} has no result; see its run's state, and its id.") from None


@task(name="register-video", task_run_name="register-video", **STEP)
def register_video(source: dict[str, str | None]) -> Video:
    """Register what the parameters of `register-upload` name; what may pass is tried again."""
    return register_source(open_store(), **source)
