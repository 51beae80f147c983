"""Whether a file is still the one that was opened first. Looks at its inode, never at its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.video_refusals import VideoChangedError, shown_name


@dataclass(frozen=True)
class FileStamp:
    """What changes when a file is written to or replaced: `size_bytes`, `mtime_ns`, `inode` and `device`."""

    size_bytes: int
    mtime_ns: int
    inode: int
    device: int


@dataclass(frozen=True)
class StampedFile:
    """A file as it was when it was first opened."""

    path: Path
    stamp: FileStamp

    def check(self) -> None:
        """Raise `VideoChangedError` where the path leads to other bytes by now."""
        try:
            same = stamp_of(self.path) == self.stamp
        except FileNotFoundError:
            same = False
        if not same:
            raise VideoChangedError(
                f"{shown_name(self.path)} was changed, replaced or removed while it was being read; start again from "
                "the file as it is now."
            )


def stamp_of(path: Path) -> FileStamp:
    """The file's stamp as it is now. Raises `FileNotFoundError`."""
    facts = path.stat()
    return FileStamp(facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_dev)
