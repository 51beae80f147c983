"""What is registered: a video's record in the store, found by its id, listed, and deleted.

It knows nothing of how bytes come in (`tasks.videos`) or of local copies (`tasks.video_cache`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from models.errors import PermanentError
from tasks.store_interface import KeyNotFoundError, Store
from tasks.video_facts import VideoFacts

_log = logging.getLogger(__name__)

VIDEO_ID_DIGITS = 32
_VIDEO_ID = re.compile(rf"[0-9a-f]{{{VIDEO_ID_DIGITS}}}")
_RECORD_KEY = re.compile(rf"videos/({_VIDEO_ID.pattern})/video\.json")


class UnknownVideoError(PermanentError):
    """No video of that id is registered."""


class ExpiredVideoError(PermanentError):
    """The video's time is over."""


class Video(BaseModel):
    """A registered video: facts of its content, and until when it is kept."""

    model_config = ConfigDict(frozen=True)

    video_id: str
    """The first 32 hexadecimal digits of `sha256`."""
    facts: VideoFacts
    file_name: str
    """As its owner calls it; names nothing in the store."""
    size_bytes: int
    sha256: str
    registered_at: AwareDatetime
    expires_at: AwareDatetime
    origin: str | None = None
    """Scheme, host and path of the URL that it came from, without what could be a secret."""


def source_key(video_id: str) -> str:
    """Where a video's bytes lie."""
    return f"videos/{video_id}/source"


def record_key(video_id: str) -> str:
    """Where a video's record lies; written last, so that its existence means registered."""
    return f"videos/{video_id}/video.json"


def is_video_id(text: str) -> bool:
    """Whether the text could be the id of a video."""
    return _VIDEO_ID.fullmatch(text) is not None


def find_video(store: Store, video_id: str, *, held: bool = False) -> Video:
    """Return the record of a registered video.

    Raises `UnknownVideoError`, and `ExpiredVideoError` unless the caller says that a running job holds the video.
    """
    if not is_video_id(video_id):
        raise UnknownVideoError(
            f"{video_id[:100]!r} is no video id; ids have 32 hexadecimal digits, see `reelmill videos`."
        )
    try:
        video = Video.model_validate_json(store.read(record_key(video_id)))
    except KeyNotFoundError:
        raise UnknownVideoError(
            f"No video {video_id} is registered; register it with `reelmill register FILE`."
        ) from None
    except ValidationError:
        raise UnknownVideoError(f"The record of video {video_id} cannot be read; register the video again.") from None
    if video.expires_at <= datetime.now(UTC) and not held:
        raise ExpiredVideoError(f"The video {video_id} expired on {video.expires_at:%Y-%m-%d}; register it again.")
    return video


def list_videos(store: Store) -> Iterator[Video]:
    """Yield the records of all videos, expired ones that still lie in the store too, sorted by id."""
    for info in store.list("videos/"):
        if match := _RECORD_KEY.fullmatch(info.key):
            try:
                yield find_video(store, match.group(1), held=True)
            except UnknownVideoError as error:  # deleted since it was listed, or not ours
                _log.warning("%s", error)


def remove_video(store: Store, video_id: str) -> int:
    """Delete what is there of a video, and return how many objects that were.

    The record goes first: from then on the video is unknown, so no job starts on a half-deleted one, and where we die
    in between, what is left has no record, by which `tasks.expiry` finds it.
    """
    known = store.stat(record_key(video_id)) is not None
    store.delete([record_key(video_id)])
    return known + store.delete_prefix(f"videos/{video_id}")
