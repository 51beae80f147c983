"""A video file opened with care, as the decode worker sees it: packets, seeking, decoding one packet at a time.

Runs in the worker only: imports av and the standard library, and nothing of ours beyond them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import av.logging
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tasks.decode_entry_points import entry_point_test

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
"""Names of the demuxers that may open a file: playlists and image readers are not among them."""
_SEEK_MARGINS_S = (0, 5, 60)
_MOST_READ_ERRORS = 1000
_HARMLESS = ("mmco: unref short failure",)
"""A frame to be forgotten that was never decoded, as is right after a start in the middle: no pixel depends on it."""
_ISO_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}


class RefusedError(Exception):
    """The file is not one that we take; `why` is a word that the parent turns into a sentence."""

    def __init__(self, why: str, **details: Any) -> None:
        super().__init__(why)
        self.why = why
        self.details = details


class LoggedErrors:
    """What libav logs as errors: some damage shows there and nowhere else.

    Made once for each process, with decoders of one thread: what is logged while a packet is decoded is about it.
    """

    def __init__(self) -> None:
        av.logging.set_level(av.logging.ERROR)
        av.logging.set_skip_repeated(False)
        self._logs = av.logging.Capture(local=False).__enter__()

    def were_there(self) -> bool:
        """Whether anything broken was logged since the last time this was asked."""
        if not self._logs:
            return False
        broken = any(not message.startswith(_HARMLESS) for _, _, message in self._logs)
        self._logs.clear()
        return broken


class VideoFile:
    """The first video stream of a file that is no cover picture, with one decoder.

    Raises `RefusedError` where the file is not taken.
    """

    def __init__(self, path: str, errors: LoggedErrors, *, max_pixels: int, threads: int = 1) -> None:
        self._errors = errors
        self.path = path
        self.max_pixels = max_pixels
        self._threads = threads
        self.shown_size: tuple[int, int] | None = None
        """Width and height in which the first frame is shown, once somebody has looked."""
        self.container, self.stream, self.context = self._open()
        self.container_name = self._container_name()
        self._is_entry_point = entry_point_test(self.codec_name, self.context.extradata)

    def close(self) -> None:
        """Give the file back."""
        self.container.close()

    def _open(self) -> tuple[InputContainer, VideoStream, VideoCodecContext]:
        # Decoders compare their limit with sizes rounded up to whole blocks, hence the slack; ours is exact.
        limit = str(self.max_pixels + self.max_pixels // 16 + 2**16)
        options = {"protocol_whitelist": "file", "format_whitelist": FORMATS, "max_pixels": limit}
        head = _first_bytes(self.path)
        try:
            container = av.open(f"file:{self.path}", "r", options=options, metadata_errors="replace")
        except (av.error.InvalidDataError, av.error.ArgumentError) as error:
            raise RefusedError("cut_off" if head[4:8] in _ISO_BOXES else "no_video_file") from error
        try:
            stream = _video_stream(container)
            context: VideoCodecContext | None = stream.codec_context
            if context is None:
                raise RefusedError("no_decoder")
            _check_size(context.width, context.height, self.max_pixels)
            context.options = {"max_pixels": limit}
            context.thread_count = self._threads
            context.copy_opaque = True
        except RefusedError:
            container.close()
            raise
        return container, stream, context

    def _container_name(self) -> str:
        name = self.container.format.name
        if "matroska" in name:
            return "webm" if b"webm" in _first_bytes(self.path) else "mkv"
        if "mp4" in name:
            return "mov" if self.container.metadata.get("major_brand", "").startswith("qt") else "mp4"
        return name

    @property
    def codec_name(self) -> str:
        """The codec's own name, whichever library decodes it."""
        return str(self.context.codec.canonical_name)

    def starts_group(self, packet: Packet[VideoStream]) -> bool:
        """Whether decoding can start at the packet: a keyframe that needs nothing before it."""
        return packet.is_keyframe and packet.pts is not None and self._is_entry_point(memoryview(packet))

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """All packets with data from here on, in decoding order; read errors are passed over."""
        errors = 0
        while errors < _MOST_READ_ERRORS:
            try:
                for packet in self.container.demux(self.stream):
                    if packet.size:
                        yield packet
            except av.error.FFmpegError:
                errors += 1
            else:
                return

    def packets_from(self, key_pts: int) -> Iterator[Packet[VideoStream]]:
        """Packets from the keyframe shown at `key_pts` on, or from an earlier one where seeking is that coarse."""
        assert self.stream.time_base is not None
        for margin_s in _SEEK_MARGINS_S:
            try:
                self.container.seek(key_pts - int(margin_s / self.stream.time_base), stream=self.stream)
            except av.error.FFmpegError:
                break
            packets = self.packets()
            for packet in packets:
                if packet.is_keyframe and packet.pts is not None:
                    if packet.pts <= key_pts:
                        return itertools.chain([packet], packets)
                    break
        self.rewind()
        return self.packets()

    def rewind(self) -> None:
        """Start again from the first packet, with a decoder that has seen nothing."""
        self.container.close()
        self.container, self.stream, self.context = self._open()

    def decode(self, packet: Packet[VideoStream] | None) -> tuple[list[VideoFrame], bool]:
        """Decode one packet, or what is left inside where it is None; False says that something was broken."""
        self._errors.were_there()
        try:
            frames = self.context.decode(packet)
        except av.error.FFmpegError:
            return [], False
        broken = self._errors.were_there() or (packet is not None and packet.is_corrupt)
        return frames, not broken

    def drain(self) -> list[VideoFrame]:
        """The frames still inside the decoder, which then stands as after opening."""
        frames, _ = self.decode(None)
        self.context.flush_buffers()
        return frames


def _first_bytes(path: str) -> bytes:
    with Path(path).open("rb") as file:
        head = file.read(64)
    if not head:
        raise RefusedError("empty")
    return head


def _video_stream(container: InputContainer) -> VideoStream:
    pictures = [bool(stream.disposition & Disposition.attached_pic) for stream in container.streams.video]
    for stream, is_picture in zip(container.streams.video, pictures, strict=True):
        if not is_picture:
            return stream
    raise RefusedError("only_cover" if pictures else "no_video_stream")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise RefusedError("too_many_pixels", width=width, height=height, max_pixels=max_pixels)
