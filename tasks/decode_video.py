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

from tasks.decode_avi import AviTimes, avi_times
from tasks.decode_damage import Damage, damage_test
from tasks.decode_entry_points import entry_point_test
from tasks.decode_heap import tables_apart
from tasks.decode_units import is_unreferenced, length_size_of

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
"""Names of the demuxers that may open a file: playlists and image readers are not among them."""
_SEEK_MARGINS_S = (0, 5, 60)
_MOST_READ_ERRORS = 1000
_HARMLESS = ("mmco: unref short failure",)
"""A frame to be forgotten that was never decoded, as is right after a start in the middle: no pixel depends on it."""
_CONCEALMENT = "concealing "
"""What decoders say, not as an error, where they painted over what they could not decode (MPEG-2, MPEG-4, H.264)."""
_STRICT = {"av1": {"strict": "strict"}}
"""Decoders' options that make them check more: dav1d whether each tile's data ends where its decoding does (AV1, 8.2.4:
padding), which finds nearly any damage; players that use libaom always check it."""
_ORDER_IN_HEADERS = {"h264"}
"""Codecs of which libav decodes a frame or more when it opens a file, to find out how far they reorder, which takes as
long as a sample does. It needn't where the headers say so (H.264, E.2.1: max_num_reorder_frames); a file that is then
found to reorder nothing may just not say, and is opened once more in full."""
_ISO_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}
_EBML = b"\x1a\x45\xdf\xa3"


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
        av.logging.set_level(av.logging.INFO)
        av.logging.set_skip_repeated(False)
        self._logs = av.logging.Capture(local=False).__enter__()

    def were_there(self) -> bool:
        """Whether anything broken was logged since the last time this was asked."""
        if not self._logs:
            return False
        broken = any(_tells_of_damage(level, message) for level, _, message in self._logs)
        self._logs.clear()
        return broken


def _tells_of_damage(level: int, message: str) -> bool:
    if level > av.logging.ERROR:
        return message.startswith(_CONCEALMENT)
    return not message.startswith(_HARMLESS)


class VideoFile:
    """The first video stream of a file that is no cover picture, with one decoder.

    Raises `RefusedError` where the file is not taken.
    """

    def __init__(
        self, path: str, errors: LoggedErrors, *, max_pixels: int, threads: int = 1, codec: str | None = None
    ) -> None:
        """Open it; where its `codec` is known, and nobody asks for more than frames, with less looking around."""
        self._errors = errors
        self._knows_order = codec in _ORDER_IN_HEADERS
        self.path = path
        self.max_pixels = max_pixels
        self._threads = threads
        self.shown_size: tuple[int, int] | None = None
        """Width and height in which the first frame is shown, once somebody has looked."""
        self._decoding_container: InputContainer | None = None
        """The file once more, where its decoder had to be renewed while packets are still read."""
        self._latest_pts: int | None = None
        """The greatest time that was decoded."""
        self.container, self.stream, self.context = self._open()
        self._reorders = self.context.has_b_frames
        self.container_name = self._container_name()
        self.avi_times: AviTimes | None = None
        """What tells the times of an AVI's packets, from a call of `packets` on."""
        self.saw_damage = False
        """Whether the demuxer has come upon anything broken."""
        self.is_fresh = True
        """Whether nothing was read yet."""
        self._damage_test = damage_test(self.codec_name, self.context.extradata)
        self._is_entry_point = entry_point_test(self.codec_name, self.context.extradata)

    def close(self) -> None:
        """Give the file back."""
        self.container.close()
        self._close_decoding_container()

    def _open(self) -> tuple[InputContainer, VideoStream, VideoCodecContext]:
        options = {"protocol_whitelist": "file", "format_whitelist": FORMATS, "max_pixels": self._decoder_limit()}
        if self._knows_order:
            options |= {"skip_frame": "all", "analyzeduration": "1"}
        head = _first_bytes(self.path)
        try:
            with tables_apart():
                container = av.open(f"file:{self.path}", "r", options=options, metadata_errors="replace")
        except (av.error.InvalidDataError, av.error.ArgumentError, av.error.EOFError, av.error.MemoryError) as error:
            # A broken table of frames may claim any length, for which there is no memory.
            raise RefusedError("cut_off" if _begins_as_video(head) else "no_video_file") from error
        try:
            stream = _video_stream(container)
            context: VideoCodecContext | None = stream.codec_context
            if context is None:
                raise RefusedError("no_decoder")
            _check_size(context.width, context.height, self.max_pixels)
            if self._knows_order and not context.has_b_frames:
                container.close()
                self._knows_order = False
                return self._open()
            self._set_up(context)
        except RefusedError:
            container.close()
            raise
        return container, stream, context

    def _set_up(self, context: VideoCodecContext) -> None:
        strict = _STRICT.get(str(context.codec.canonical_name), {})
        if strict and not _takes_headers(context, strict):
            self._errors.were_there()
            strict = {}
        context.options = {"max_pixels": self._decoder_limit(), **strict}
        context.thread_count = self._threads
        context.copy_opaque = True

    def _decoder_limit(self) -> str:
        """Decoders compare their limit with sizes rounded up to whole blocks, hence the slack; ours is exact."""
        return str(self.max_pixels + self.max_pixels // 16 + 2**16)

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

    def is_unreferenced(self, packet: Packet[VideoStream]) -> bool:
        """Whether the packet itself, of H.264 or HEVC, says that no other one refers to it."""
        length_size = length_size_of(self.codec_name, self.context.extradata or b"")
        return is_unreferenced(self.codec_name, memoryview(packet), length_size)

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """All packets with data from here on, in decoding order, in AVI with times where those can be told."""
        packets = self.untimed_packets()
        if self.container_name != "avi":
            return packets
        self.avi_times = avi_times(self.codec_name, self.stream, reorders=self._reorders)
        return self.avi_times.timed(packets) if self.avi_times else packets

    def untimed_packets(self) -> Iterator[Packet[VideoStream]]:
        """All packets with data from here on, as the container has them; read errors are passed over."""
        self.is_fresh = False
        errors = 0
        while errors < _MOST_READ_ERRORS:
            try:
                for packet in self.container.demux(self.stream):
                    if self._errors.were_there():
                        self.saw_damage = True
                        # Its group depends on what was passed over; a keyframe does not.
                        packet.is_corrupt = packet.is_corrupt or not packet.is_keyframe
                    if packet.size:
                        yield packet
            except av.error.FFmpegError:
                self.saw_damage = True
                errors += 1
            else:
                return

    def packets_from(self, key_pts: int) -> Iterator[Packet[VideoStream]]:
        """Packets from the keyframe shown at `key_pts` on, or from an earlier one where seeking is that coarse."""
        assert self.stream.time_base is not None
        if self._latest_pts is not None and key_pts < self._latest_pts:
            # What a decoder keeps when it is flushed, such as parameter sets, may come from frames further on.
            self.rewind()
        for margin_s in _SEEK_MARGINS_S:
            try:
                self.container.seek(key_pts - int(margin_s / self.stream.time_base), stream=self.stream)
            except av.error.FFmpegError:
                break
            packets = self.packets()
            for packet in packets:
                if packet.is_keyframe and packet.pts is not None:
                    if packet.pts <= key_pts:
                        self.saw_damage = False
                        return itertools.chain([packet], packets)
                    break
        self.rewind()
        return self.packets()

    def rewind(self) -> None:
        """Start again from the first packet, with a decoder that has seen nothing."""
        self.close()
        self.container, self.stream, self.context = self._open()
        self.saw_damage, self.is_fresh, self._latest_pts = False, True, None

    def decode(self, packet: Packet[VideoStream] | None) -> tuple[list[VideoFrame], bool]:
        """Decode one packet, or what is left inside where it is None; False says that something was broken."""
        self._errors.were_there()
        if (
            packet is not None
            and packet.pts is not None
            and (self._latest_pts is None or packet.pts > self._latest_pts)
        ):
            self._latest_pts = packet.pts
        try:
            frames = self.context.decode(packet)
        except av.error.FFmpegError:
            return [], False
        broken = self._errors.were_there() or (packet is not None and packet.is_corrupt)
        return frames, not broken

    def damage_of(self, packet: Packet[VideoStream]) -> Damage:
        """What the packet's bytes tell of damage, without being decoded."""
        return self._damage_test(memoryview(packet))

    def met_damage(self) -> bool:
        """Whether the demuxer has come upon anything broken since the last time this was asked."""
        met, self.saw_damage = self.saw_damage, False
        return met

    def drain(self) -> list[VideoFrame]:
        """The frames still inside the decoder, which then stands as after opening."""
        frames, _ = self.decode(None)
        self.context.flush_buffers()
        return frames

    def renew_decoder(self) -> None:
        """Go on from here with a decoder that has seen nothing: broken data leaves traces in one that flushing keeps.

        Measured: after a cut-off H.264 slice, the frames of the next whole group came out a little different.
        """
        decoding_container, _, context = self._open()
        self._close_decoding_container()
        self._decoding_container, self.context = decoding_container, context

    def _close_decoding_container(self) -> None:
        if self._decoding_container is not None:
            self._decoding_container.close()
            self._decoding_container = None


def _first_bytes(path: str) -> bytes:
    with Path(path).open("rb") as file:
        head = file.read(64)
    if not head:
        raise RefusedError("empty")
    return head


def _begins_as_video(head: bytes) -> bool:
    """Whether the first bytes are those of an mp4, mkv, webm or avi, whatever follows them."""
    return head[4:8] in _ISO_BOXES or head[:4] == _EBML or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")


def _video_stream(container: InputContainer) -> VideoStream:
    pictures = [bool(stream.disposition & Disposition.attached_pic) for stream in container.streams.video]
    for stream, is_picture in zip(container.streams.video, pictures, strict=True):
        if not is_picture:
            return stream
    if all(stream.type == "data" for stream in container.streams.get()):
        raise RefusedError("cut_off")
    raise RefusedError("only_cover" if pictures else "no_video_stream")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise RefusedError("too_many_pixels", width=width, height=height, max_pixels=max_pixels)


def _takes_headers(context: VideoCodecContext, options: dict[str, str]) -> bool:
    """Whether an AV1 decoder with these options takes the file's headers (ISOBMFF binding, 2.3): some are sloppy."""
    headers = (context.extradata or b"")[4:]
    trial = VideoCodecContext.create(context.codec.name, "r")
    assert isinstance(trial, VideoCodecContext)
    trial.options = options
    try:
        if headers:
            trial.decode(Packet(headers))
    except av.error.FFmpegError:
        return False
    return True
