"""What callers send before it is a video: `incoming/{upload_id}/`, its parts, and which video became of it.

It knows nothing of what videos are; `tasks.videos` registers what is found here, `tasks.expiry` removes the rest.
"""

from __future__ import annotations

import re
from contextlib import suppress

from pydantic import BaseModel, ConfigDict

from models.errors import PermanentError
from tasks.settings import UploadSettings
from tasks.store_interface import KeyNotFoundError, ObjectInfo, PresignedParts, Store

INCOMING = "incoming/"
MOST_PARTS = 10_000
"""S3 takes no more of one file."""

_UPLOAD_ID = re.compile(r"[0-9a-f]{32}")
_PARTS_RECORD = "parts.json"  # no video is called so


class UnknownUploadError(PermanentError):
    """Nothing was uploaded under that id."""


class PromisedParts(BaseModel):
    """A file that comes in parts: what its caller promised, and the store's name for it."""

    model_config = ConfigDict(frozen=True)

    key: str
    parts_id: str
    size_bytes: int
    part_bytes: int


def upload_key(upload_id: str, file_name: str) -> str:
    """Where an upload lands."""
    return f"{INCOMING}{upload_id}/{file_name}"


def registered_key(upload_id: str) -> str:
    """Where it stands which video became of an upload."""
    return f"{INCOMING}{upload_id}.json"


def promise_parts(
    store: Store, upload_id: str, file_name: str, size_bytes: int, settings: UploadSettings
) -> PresignedParts:
    """Presign the parts of a large file, and remember in the store what is to come of them."""
    key = upload_key(upload_id, file_name)
    part_bytes = max(settings.part_bytes, -(-size_bytes // MOST_PARTS))
    offer = store.presign_parts(key, size_bytes=size_bytes, part_bytes=part_bytes, expires_s=settings.parts_expire_s)
    promised = PromisedParts(key=key, parts_id=offer.parts_id, size_bytes=size_bytes, part_bytes=part_bytes)
    store.write(upload_key(upload_id, _PARTS_RECORD), promised.model_dump_json().encode())
    return offer


def find_upload(store: Store, upload_id: str) -> ObjectInfo:
    """What was uploaded; a file that came in parts is put together first.

    Raises `UnknownUploadError`, and `MissingPartsError` where parts are still to come.
    """
    if _UPLOAD_ID.fullmatch(upload_id):
        found = _files(store, upload_id)
        if not found and _finish(store, upload_id):
            found = _files(store, upload_id)
        if len(found) == 1:
            return found[0]
    raise UnknownUploadError(
        f"Nothing was uploaded as {upload_id[:100]!r}; PUT the file to the link that `request-upload` gave, then "
        "register it within a day."
    )


def mark_registered(store: Store, upload_id: str, video_id: str) -> None:
    """Remember which video became of an upload, for whoever registers it again, and remove the upload for good."""
    store.write(registered_key(upload_id), Registered(video_id=video_id).model_dump_json().encode())
    store.delete_prefix(f"{INCOMING}{upload_id}")


def registered_as(store: Store, upload_id: str) -> str | None:
    """The id of the video that became of an upload, where one did."""
    if _UPLOAD_ID.fullmatch(upload_id):
        with suppress(KeyNotFoundError):
            return Registered.model_validate_json(store.read(registered_key(upload_id))).video_id
    return None


class Registered(BaseModel):
    """What became of an upload."""

    video_id: str


def _files(store: Store, upload_id: str) -> list[ObjectInfo]:
    record = upload_key(upload_id, _PARTS_RECORD)
    return [info for info in store.list(f"{INCOMING}{upload_id}/") if info.key != record]


def _finish(store: Store, upload_id: str) -> bool:
    """Put the parts together, if any were promised; somebody else may have done so in between."""
    try:
        promised = PromisedParts.model_validate_json(store.read(upload_key(upload_id, _PARTS_RECORD)))
    except KeyNotFoundError:
        return False
    with suppress(KeyNotFoundError):
        store.finish_parts(
            promised.key, promised.parts_id, size_bytes=promised.size_bytes, part_bytes=promised.part_bytes
        )
    return True
