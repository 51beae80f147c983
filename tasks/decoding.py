"""A video's facts, and a segment's samples as RGB frames, from decode workers that may crash without harm.

The parent's side: nothing here decodes, and av is never imported in this process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from models.errors import PermanentError
from tasks.decode_process import DecodeWorker, DecodeWorkerError
from tasks.decode_protocol import ChannelClosedError, map_memory, memory_of, seal
from tasks.plans import Plan
from tasks.sampling import CountedBy, VideoIndex, duration, find_rate
from tasks.settings import DecodeSettings

_ATTEMPTS = 2


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


class VideoFacts(BaseModel):
    """What is known of a video without looking at its pictures."""

    model_config = ConfigDict(frozen=True)

    container: str
    """mp4, mov, mkv, webm or avi, by content."""
    codec: str
    width: int
    """Pixels of the frame as displayed, rotation applied."""
    height: int
    rotation: int
    """Degrees clockwise from the stored to the displayed frame: 0, 90, 180 or 270."""
    rate: str
    """Frames a second, exactly: "25" or "30000/1001"; the average where it varies."""
    constant_rate: bool
    frame_count: int
    duration_s: float
    pixel_aspect: str
    """Width to height of one displayed pixel, "1:1" where the file doesn't say."""
    counted_by: CountedBy


@dataclass(frozen=True, repr=False)
class ExtractedFrame:
    """One sample of a plan.

    Attributes:
        sample: index into the plan.
        segment: index into the plan's segments.
        pixels: `(height, width, 3)` uint8 RGB as displayed, read-only, in memory shared with the worker that is freed
            with the last array over it; None where there is no picture.
        reason: why there is none.
        passing: whether another try may give it.

    """

    sample: int
    segment: int
    pixels: NDArray[np.uint8] | None
    reason: str | None = None
    passing: bool = False

    def __repr__(self) -> str:
        shape = None if self.pixels is None else self.pixels.shape
        return f"ExtractedFrame(sample={self.sample}, segment={self.segment}, pixels={shape}, reason={self.reason!r})"


@dataclass(frozen=True)
class SegmentEnd:
    """All samples of the segment have been given."""

    segment: int


def probe(path: Path, settings: DecodeSettings | None = None) -> tuple[VideoFacts, VideoIndex]:
    """Read a video's facts and the index of its frames, in a worker.

    Raises `VideoUnreadableError` or one of its kinds for what is no video that we take, and `DecodeWorkerError`
    where two workers in a row did not survive the file.
    """
    settings = settings or DecodeSettings()
    path = _existing(path)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with DecodeWorker(settings) as worker:
                return _index(worker, path, settings)
        except DecodeWorkerError as error:
            if attempt == _ATTEMPTS:
                raise DecodeWorkerError(
                    f"{path.name} could not be read: {error}; try again, or convert the file."
                ) from error
    raise AssertionError("unreachable")


def extract(
    path: Path, plan: Plan, segments: Sequence[int], *, settings: DecodeSettings | None = None
) -> Iterator[ExtractedFrame | SegmentEnd]:
    """Give every sample of the segments named, in order, with a `SegmentEnd` after each segment's last.

    A worker that crashes or hangs costs its segment one retry; what a second one doesn't get through is given without
    pixels and `passing`. A damaged frame is given without pixels and permanent. Frames are decoded a little ahead of
    the caller, never far. Raises `VideoUnreadableError` where the file itself is not taken. The worker ends with the
    generator.
    """
    settings = settings or DecodeSettings()
    path = _existing(path)
    worker: DecodeWorker | None = None
    try:
        for segment in segments:
            sample, stop = plan.segments[segment]
            reason = ""
            for _ in range(_ATTEMPTS):
                if sample == stop:
                    break
                worker = worker or DecodeWorker(settings)
                try:
                    for frame in _decode(worker, path, plan, segment, (sample, stop), settings):
                        sample = frame.sample + 1
                        yield frame
                    break
                except DecodeWorkerError as error:
                    reason = str(error)
                    worker.close()
                    worker = None
            for lost in range(sample, stop):
                yield ExtractedFrame(lost, segment, None, reason, passing=True)
            yield SegmentEnd(segment)
    finally:
        if worker is not None:
            worker.close()


def _existing(path: Path) -> Path:
    path = path.expanduser().absolute()
    if not path.is_file():
        raise VideoUnreadableError(f"there is no file {path}; check the path.")
    return path


def _order(what: str, path: Path, settings: DecodeSettings) -> dict[str, Any]:
    return {"do": what, "path": str(path), "max_pixels": settings.max_pixels, "threads": 1}


def _refusal(path: Path, message: dict[str, Any]) -> VideoUnreadableError:
    kind, sentence = _REFUSALS[message["why"]]
    return kind(sentence.format(name=path.name, **message["details"]))


def _index(worker: DecodeWorker, path: Path, settings: DecodeSettings) -> tuple[VideoFacts, VideoIndex]:
    worker.ask(_order("index", path, settings))
    message, fd = worker.answer()
    if message["say"] == "refused":
        raise _refusal(path, message)
    if fd is None:
        raise DecodeWorkerError(f"the decode worker said {message['say']!r} where an index was due")
    frames, keys = message["frames"], message["keys"]
    try:
        memory = map_memory(fd, 9 * frames + 8 * keys)
    except ChannelClosedError as error:
        raise DecodeWorkerError(str(error)) from error
    facts = message["facts"]
    average_rate = Fraction(facts.pop("average_rate")) if facts["average_rate"] else None
    counted = facts["counted_by"] == "decoding"
    time_base = Fraction(facts.pop("time_base"))
    index = VideoIndex(
        pts=np.frombuffer(memory, np.int64, frames, 0),
        key_pts=np.frombuffer(memory, np.int64, keys, 8 * frames),
        leading=np.frombuffer(memory, np.bool_, frames, 8 * (frames + keys)),
        time_base=1 / (average_rate or Fraction(1)) if counted else time_base,
        average_rate=average_rate,
        last_duration=facts.pop("last_duration"),
        counted_by=facts["counted_by"],
    )
    rate = find_rate(index)
    return VideoFacts(
        **facts,
        rate=str(rate.fps),
        constant_rate=rate.constant,
        frame_count=frames,
        duration_s=float(duration(index, rate)),
    ), index


def _decode(
    worker: DecodeWorker, path: Path, plan: Plan, segment: int, samples: tuple[int, int], settings: DecodeSettings
) -> Iterator[ExtractedFrame]:
    """The samples of the half-open range, from one worker. Raises `DecodeWorkerError` where it fails."""
    start, stop = samples
    _send_wanted(worker, path, plan, samples, settings)
    due = start
    while True:
        message, fd = worker.answer()
        if message["say"] == "refused":
            raise _refusal(path, message)
        if message["say"] == "done":
            break
        for frame in _frames_of(message, fd, start, segment):
            if frame.sample != due or due >= stop:
                raise DecodeWorkerError(f"the decode worker gave sample {frame.sample} where {due} was due")
            due += 1
            yield frame
        worker.ask({"do": "credit"})
    if due != stop:
        raise DecodeWorkerError(f"the decode worker ended the segment {stop - due} samples early")


def _send_wanted(
    worker: DecodeWorker, path: Path, plan: Plan, samples: tuple[int, int], settings: DecodeSettings
) -> None:
    chosen = slice(*samples)
    fd = memory_of(plan.pts[chosen].tobytes() + plan.key_pts[chosen].tobytes() + plan.leading[chosen].tobytes())
    try:
        seal(fd)
        order = {**_order("decode", path, settings), "counted": plan.counted_by == "decoding"}
        worker.ask({**order, "samples": samples[1] - samples[0]}, fd)
    finally:
        os.close(fd)


def _frames_of(message: dict[str, Any], fd: int | None, start: int, segment: int) -> Iterator[ExtractedFrame]:
    try:
        memory = None if fd is None else map_memory(fd, message["size_bytes"])
    except ChannelClosedError as error:
        raise DecodeWorkerError(str(error)) from error
    for entry in message["frames"]:
        if memory is None or len(entry) == 2:
            yield ExtractedFrame(start + entry[0], segment, None, str(entry[1]))
            continue
        sample, offset, height, width = entry
        pixels = np.frombuffer(memory, np.uint8, height * width * 3, offset).reshape(height, width, 3)
        yield ExtractedFrame(start + sample, segment, pixels)
