"""Why a file is no video that we take, in words for whoever gave it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.errors import PermanentError


class VideoUnreadableError(PermanentError):
    """The file is no video that we take, or nothing of it can be decoded."""


class NotAVideoError(VideoUnreadableError):
    """The content is no mp4, mkv, webm or avi."""


class TruncatedVideoError(VideoUnreadableError):
    """The file ends before what tells where its frames are."""


class NoVideoStreamError(VideoUnreadableError):
    """Sound only, or sound with a cover picture."""


class NoDecoderError(VideoUnreadableError):
    """The codec is unknown, or has no decoder here."""


class TooManyPixelsError(VideoUnreadableError):
    """The frames are larger than `max_pixels`."""


class VideoChangedError(PermanentError):
    """The bytes are not those that they were before; what is read of them would be a mixture."""


_REFUSALS: dict[str, tuple[type[VideoUnreadableError], str]] = {
    "empty": (NotAVideoError, "{name} is empty (0 bytes); upload it again."),
    "no_video_file": (NotAVideoError, "{name} is not a video; give an mp4, mkv, webm or avi file."),
    "cut_off": (
        TruncatedVideoError,
        "{name} is cut off or damaged: the index of its frames is missing; upload the whole file again.",
    ),
    "no_video_stream": (NoVideoStreamError, "{name} has sound but no video; give a file with a video stream."),
    "only_cover": (
        NoVideoStreamError,
        "{name} has sound and a cover picture but no video; give a file with a video stream.",
    ),
    "no_decoder": (
        NoDecoderError,
        "{name} holds video in a codec that cannot be decoded here; convert it, to H.264 in mp4 for example.",
    ),
    "nothing_decodes": (
        VideoUnreadableError,
        "no frame of {name} can be decoded; the file is damaged, upload it again or convert it.",
    ),
    "too_many_pixels": (
        TooManyPixelsError,
        "{name} has frames of {width}×{height}, more than the {max_pixels} pixels that are allowed; scale it down "
        "or raise REELMILL_DECODE_MAX_PIXELS.",
    ),
}


def shown_name(path: Path, *, whole: bool = False) -> str:
    """The file's name, or its whole path, in a sentence.

    Quoted where it would break the line, order a terminal about or turn its text around.
    """
    name = str(path) if whole else path.name
    return name if name.isprintable() else repr(name)


def refusal_of(path: Path, message: dict[str, Any]) -> VideoUnreadableError:
    """The error for a decode worker's word of refusal."""
    try:
        kind, sentence = _REFUSALS[message["why"]]
        return kind(sentence.format(**{**message["details"], "name": shown_name(path)}))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return VideoUnreadableError(
            f"{shown_name(path)} cannot be read as a video; convert it, to H.264 in mp4 for example."
        )
