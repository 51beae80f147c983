"""Folders of two models as one, for a model that works on what another one finds. Nothing is copied."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory


def joined_folder(folder: Path, parts: Mapping[str, Path], kept_in: Path) -> Path:
    """Give a folder of links to the files of `folder`, and to each of `parts` under its name.

    It is kept in `kept_in` and given again for the same folders, as long as none of them has gone.
    """
    links = {path.name: path for path in folder.resolve().iterdir()}
    links |= {name: part.resolve() for name, part in parts.items()}
    told = "\n".join(f"{name}\0{target}" for name, target in sorted(links.items()))
    joined = kept_in / hashlib.sha256(told.encode()).hexdigest()[:32]
    if not _whole(joined, links):
        shutil.rmtree(joined, ignore_errors=True)
        kept_in.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".partial-", dir=kept_in, ignore_cleanup_errors=True) as partial:
            for name, target in links.items():
                Path(partial, name).symlink_to(target)
            # Another process of this machine may have been faster, with the same links.
            with suppress(OSError):
                Path(partial).rename(joined)
    return joined


def _whole(joined: Path, links: Mapping[str, Path]) -> bool:
    return all((joined / name).exists() for name in links)
