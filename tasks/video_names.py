"""What may be called a video, by its name and its size alone."""

from __future__ import annotations

import re
from pathlib import Path

from models.errors import PermanentError
from tasks.downloads import TooLargeError, size_text
from tasks.settings import UploadSettings

EXTENSIONS = ("mp4", "avi", "mkv", "webm")
_NOT_IN_NAMES = re.compile(r"[/\\\x00-\x1f\x7f]")
_MAX_NAME_BYTES = 255


class FileNameError(PermanentError):
    """The name has no extension that we take, or could name something else than a file."""


class EmptyFileError(PermanentError):
    """There are no bytes."""


def checked_file_name(name: str) -> str:
    """Return a file's name where it has an extension that we take, in either case; raises `FileNameError`."""
    shown = repr(name[:100])
    if _NOT_IN_NAMES.search(name) or len(name.encode(errors="replace")) > _MAX_NAME_BYTES or not name.isprintable():
        raise FileNameError(f"{shown} cannot name a video; take a name without folders, such as holiday.mp4.")
    if Path(name).suffix.lower().removeprefix(".") not in EXTENSIONS:
        raise FileNameError(f"{shown} has none of the extensions {', '.join(EXTENSIONS)}; give a file of one of these.")
    return name


def checked_size(name: str, size_bytes: int, settings: UploadSettings) -> None:
    """Raise `EmptyFileError` or `TooLargeError` for a size that is not taken."""
    if size_bytes <= 0:
        raise EmptyFileError(f"{name!r} is empty; see whether it was copied whole.")
    if size_bytes > settings.max_video_bytes:
        raise TooLargeError(
            f"{name!r} has {size_text(size_bytes)}, and no more than {size_text(settings.max_video_bytes)} are taken; "
            "give a smaller video, or raise REELMILL_UPLOAD_MAX_VIDEO_BYTES."
        )
