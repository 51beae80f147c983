"""What a test needs beyond Python: skipped where missing, failed where `REELMILL_REQUIRE` says it must be there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def assets() -> Path:
    """The folder of real weights and videos; call it only in tests marked with `needs("assets")`."""
    return Path(os.environ["REELMILL_ASSETS"]).resolve()


def _postgres_binary() -> str | None:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return str(versions[-1]) if versions else shutil.which("postgres")


_FOUND: dict[str, Callable[[], bool]] = {
    "assets": lambda: Path(os.environ.get("REELMILL_ASSETS", "/nonexistent"), "models").is_dir(),
    "ffmpeg": lambda: shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None,
    "postgres": lambda: _postgres_binary() is not None,
}


def needs(*names: str) -> pytest.MarkDecorator:
    """Mark a test (or a module, as `pytestmark`) that cannot run without the things named."""
    required = set(filter(None, os.environ.get("REELMILL_REQUIRE", "").split(",")))
    missing = [name for name in names if not _FOUND[name]()]
    must_be_there = sorted(required.intersection(missing))
    if must_be_there:
        raise RuntimeError(f"REELMILL_REQUIRE names {', '.join(must_be_there)}, which this machine lacks")
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")
