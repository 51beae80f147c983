"""Elements of mkv and webm files, changed by hand where they stand: for what no muxer would write (RFC 9559)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

_DEFAULT_DURATION = b"\x23\xe3\x83\x84"
_VOID_OF_EIGHT = b"\xec\x86" + bytes(6)
_CLUSTER_TIME = re.compile(rb"\x1f\x43\xb6\x75.{1,8}?(?:\xbf\x84.{4})?\xe7[\x81-\x88]", re.DOTALL)
_PIXEL_SIZES = {"width": b"\xb0", "height": b"\xba"}


def set_default_duration(path: Path, duration_ns: int | None) -> None:
    """Say how long a frame of the video is meant to be shown; None leaves the element out."""
    data = path.read_bytes()
    place = data.index(_DEFAULT_DURATION)
    element = _VOID_OF_EIGHT if duration_ns is None else _DEFAULT_DURATION + duration_ns.to_bytes(4)
    path.write_bytes(data[:place] + element + data[place + 8 :])


def claim_size(path: Path, width: int, height: int) -> None:
    """Say another size of the pictures; both must have been written in as many bytes as `width` and `height` need."""
    data = path.read_bytes()
    video = data.index(b"\xe0", data.index(b"\x16\x54\xae\x6b"))
    for name, value in {"width": width, "height": height}.items():
        size = (value.bit_length() + 7) // 8
        place = data.index(_PIXEL_SIZES[name] + bytes([0x80 + size]), video)
        data = data[: place + 2] + value.to_bytes(size) + data[place + 2 + size :]
    path.write_bytes(data)


def change_cluster_times(path: Path, change: Callable[[int, int], int]) -> int:
    """Set each cluster's time to `change(number, time)`, in as many bytes as it has; returns how many there are."""
    data = bytearray(path.read_bytes())
    found = list(_CLUSTER_TIME.finditer(bytes(data)))
    for number, match in enumerate(found):
        size = data[match.end() - 1] - 0x80
        time = int.from_bytes(data[match.end() : match.end() + size])
        data[match.end() : match.end() + size] = change(number, time).to_bytes(size)
    path.write_bytes(data)
    return len(found)
