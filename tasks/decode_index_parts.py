"""An index on its way from the decode worker to its parent.

Runs in the decode worker only: imports the standard library, and nothing of ours that imports more.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field

from tasks.decode_protocol import INDEX_FLAG_BITS, INDEX_LEADING, Channel, memory_of, seal

_PART_FRAMES = 2**16


@dataclass
class IndexSender:
    """Times on their way to the parent, each with its flags in the lowest bits, in the order of decoding."""

    channel: Channel
    frames: array[int] = field(default_factory=lambda: array("q"))
    keys: array[int] = field(default_factory=lambda: array("q"))

    def add(self, pts: int, *, leading: bool = False) -> None:
        """Add a frame shown at `pts`."""
        self.frames.append(pts << INDEX_FLAG_BITS | (INDEX_LEADING if leading else 0))
        if len(self.frames) >= _PART_FRAMES:
            self.flush()

    def add_key(self, pts: int) -> None:
        """Add a keyframe that decoding can start at."""
        self.keys.append(pts)
        if len(self.keys) >= _PART_FRAMES:
            self.flush()

    def flush(self) -> None:
        """Send what there is."""
        if not self.frames and not self.keys:
            return
        fd = memory_of(self.frames.tobytes() + self.keys.tobytes())
        try:
            seal(fd)
            self.channel.send({"say": "index-part", "frames": len(self.frames), "keys": len(self.keys)}, fd)
        finally:
            os.close(fd)
        self.frames, self.keys = array("q"), array("q")

    def forget(self) -> None:
        """Make what was sent so far void."""
        self.frames, self.keys = array("q"), array("q")
        self.channel.send({"say": "index-void"})
