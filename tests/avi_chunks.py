"""AVI files changed by hand where they stand."""

from __future__ import annotations

import struct
from pathlib import Path


def set_rate(path: Path, rate: int) -> None:
    """Say another number of frames a second in the first stream's header, which is all that AVI has of times."""
    data = bytearray(path.read_bytes())
    header = data.index(b"strh") + 8
    struct.pack_into("<II", data, header + 20, 1, rate)
    path.write_bytes(data)


def without_index(path: Path) -> None:
    """Cut the old index (`idx1`) off, as in a recording that was never finished."""
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"idx1")])
