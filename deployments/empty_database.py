"""Prefect's empty SQLite database, made once and copied: most of a new server's start is its migrations.

Kept in the cache directory under Prefect's version; deleting it costs the next start some seconds and nothing else.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

_NAME = "prefect.db"  # Prefect's default, in its home


def seed_database(prefect_home: Path, cache_dir: Path) -> None:
    """Put a copy of the kept database into a home that has none; without a kept one, do nothing."""
    kept = _kept(cache_dir)
    if kept.is_file() and not (prefect_home / _NAME).exists():
        shutil.copyfile(kept, prefect_home / _NAME)


def keep_database(prefect_home: Path, cache_dir: Path) -> None:
    """Keep the database of a running server, where none is kept and this one has seen no flow yet."""
    kept = _kept(cache_dir)
    if kept.exists():
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_name(f".{kept.name}.{secrets.token_hex(4)}")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(sqlite3.connect(prefect_home / _NAME)) as source, closing(sqlite3.connect(partial)) as target:
            source.backup(target)
            (flows,) = target.execute("SELECT count(*) FROM flow").fetchone()
        if not flows:
            partial.replace(kept)
    finally:
        partial.unlink(missing_ok=True)


def forget_database(cache_dir: Path) -> None:
    """Drop the kept database: a server did not come up with it."""
    _kept(cache_dir).unlink(missing_ok=True)


def _kept(cache_dir: Path) -> Path:
    return cache_dir / f"prefect-{version('prefect')}-empty.db"
