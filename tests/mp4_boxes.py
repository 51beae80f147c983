"""Boxes of mp4 files, taken out and put back by hand: for what no muxer would write (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_VIDEO_TRACK = "moov/trak"
_STBL = "mdia/minf/stbl"
ONE = 1 << 16
"""1.0 as a 16.16 fixed-point number."""
MIRRORED = {
    "horizontally": (-ONE, 0, 0, ONE),
    "vertically": (ONE, 0, 0, -ONE),
    "and turned by 90°": (0, ONE, ONE, 0),
    "and turned by 270°": (0, -ONE, -ONE, 0),
}
"""The upper left part of display matrices, row by row."""


def edit_video_track(path: Path, box: str, change: Callable[[bytes], bytes]) -> None:
    """Replace the payload of a box of the first track, named by its path in it, such as `edts/elst`.

    The box may change its size: the file has to have its `moov` at the end.
    """
    data = path.read_bytes()
    places = [*_VIDEO_TRACK.split("/"), *box.split("/")]
    path.write_bytes(_changed(data, places, change))


def edit_sample_table(path: Path, box: str, change: Callable[[bytes], bytes]) -> None:
    """`edit_video_track` for a box of the sample table, such as `ctts`."""
    edit_video_track(path, f"{_STBL}/{box}", change)


def without_box(path: Path, kind: bytes) -> None:
    """Leave a box of the file's top level out."""
    data = path.read_bytes()
    path.write_bytes(b"".join(data[start:stop] for name, start, _, stop in _boxes(data) if name != kind))


def edit_list(entries: Sequence[tuple[int, int]]) -> Callable[[bytes], bytes]:
    """An edit list of (duration in the movie's ticks, media time in the track's ticks; -1 for an empty edit)."""
    body = b"".join(struct.pack(">Iihh", duration, media_time, 1, 0) for duration, media_time in entries)
    return lambda _: struct.pack(">II", 0, len(entries)) + body


def display_matrix(matrix: tuple[int, int, int, int], width: int, height: int) -> Callable[[bytes], bytes]:
    """A track header whose matrix turns or mirrors the stored `width` × `height` and moves it back into sight."""
    a, b, c, d = matrix
    x = -min(0, a * width + c * height)
    y = -min(0, b * width + d * height)

    def change(header: bytes) -> bytes:
        assert header[0] == 0, "a header of version 0 has its matrix at byte 40"
        return header[:40] + struct.pack(">9i", a, b, 0, c, d, 0, x, y, 1 << 30) + header[76:]

    return change


def moved_by(ticks: int) -> Callable[[bytes], bytes]:
    """A composition offset table whose offsets are all `ticks` later, negative ones included."""

    def change(table: bytes) -> bytes:
        counts = struct.unpack(f">{(len(table) - 8) // 4}i", table[8:])
        moved = [value + ticks if place % 2 else value for place, value in enumerate(counts)]
        return b"\1\0\0\0" + table[4:8] + struct.pack(f">{len(moved)}i", *moved)

    return change


def claimed_size(width: int, height: int) -> Callable[[bytes], bytes]:
    """A sample description whose first entry says that its pictures are `width` × `height`."""
    return lambda table: table[:40] + struct.pack(">HH", width, height) + table[44:]


def step_times(steps: Sequence[tuple[int, int]]) -> Callable[[bytes], bytes]:
    """A decoding time table of (samples, ticks from each to the next)."""
    return lambda _: struct.pack(">II", 0, len(steps)) + b"".join(struct.pack(">Ii", *step) for step in steps)


def _changed(data: bytes, places: list[str], change: Callable[[bytes], bytes]) -> bytes:
    if not places:
        return change(data)
    for kind, start, payload, stop in _boxes(data):
        if kind.decode("latin-1") == places[0]:
            inner = _changed(data[payload:stop], places[1:], change)
            return data[:start] + struct.pack(">I4s", len(inner) + 8, kind) + inner + data[stop:]
    raise ValueError(f"no box {places[0]}")


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int, int]]:
    """Kind, start, payload's start and end of each box."""
    start = 0
    while start + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            header = 16
        stop = len(data) if size == 0 else start + size
        yield kind, start, start + header, stop
        start = stop
