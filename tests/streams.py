"""Videos with more than one encoder behind them: two streams, or one whose frames change their size."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from tests.video_files import barcode

_RATE = Fraction(10)


def make_two_streams(path: Path) -> None:
    """Two H.264 streams in one file: frames 0 to 59 at 30 a second, and a larger one whose frames count from 1000."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=30, options={"preset": "veryfast"}) for _ in range(2)]
        for stream, (width, height) in zip(streams, [(160, 96), (320, 192)], strict=True):
            stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "yuv420p", 12
        for number in range(60):
            for first, stream in zip((0, 1000), streams, strict=True):
                frame = av.VideoFrame.from_ndarray(barcode(first + number, stream.width, stream.height), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 30)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))


def make_changing_size(
    path: Path, codec: str, sizes: list[tuple[int, int]], *, frames: int = 120, gop: int = 25
) -> None:
    """One stream whose frames, numbered through, change their size in mid-stream, at a keyframe."""
    share = frames // len(sizes)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=_RATE)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "yuv420p"
        stream.gop_size = gop
        for part, (width, height) in enumerate(sizes):
            encoder = stream if part == 0 else av.CodecContext.create(codec, "w")
            if part:
                encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
                encoder.time_base, encoder.framerate, encoder.gop_size = 1 / _RATE, _RATE, gop
            for number in range(part * share, (part + 1) * share):
                frame = av.VideoFrame.from_ndarray(barcode(number, width, height), format="rgb24")
                frame.pts, frame.time_base = number, 1 / _RATE
                _mux(container, stream, encoder.encode(frame))
            _mux(container, stream, encoder.encode(None))


def _mux(container: av.container.OutputContainer, stream: av.VideoStream, packets: list[av.Packet]) -> None:
    for packet in packets:
        packet.stream = stream
        if packet.time_base is None:
            packet.time_base = 1 / _RATE
        container.mux(packet)
