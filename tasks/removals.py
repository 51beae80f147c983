"""Removing what somebody may begin to use in the same moment.

Whoever removes a folder says so first, by a notice in the store, and only then looks whether it is still due. Whoever
is about to use one says so first, too (a job's lease and spec, a video's record), and only then looks for notices,
waits until none stands, and sees what is left. So of the two, one always sees the other.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from models.errors import PermanentError
from tasks.store_interface import Store

_log = logging.getLogger(__name__)

NOTICES = "removals/"
NOTICE_S = 300.0
"""A notice older than this was left by a process that died; the last request of a living one ends well before."""
_BEGIN_S = NOTICE_S / 3
"""No removal begins longer after its notice than this; the rest of the time is for requests that are tried again."""
_AT_ONCE = 100
"""Folders that are announced together; for each such lot, what uses them is looked at again."""


def wait_until_settled(store: Store, folder: str, *, poll_s: float = 0.2) -> None:
    """Wait until nobody is removing the folder: seconds, and after a remover that died, minutes."""
    while _is_announced(store, folder):
        time.sleep(poll_s)


def remove_folders(
    store: Store,
    folders: Sequence[str],
    still_due: Callable[[Sequence[str]], Iterable[str]],
    remove: Callable[[str], object],
) -> tuple[list[str], dict[str, str]]:
    """Remove each of the folders that `still_due` names once it is announced.

    Returns which went, and which the store would not give up, with its words: one such does not keep the others.
    """
    removed: list[str] = []
    refused: dict[str, str] = {}
    for start in range(0, len(folders), _AT_ONCE):
        some = folders[start : start + _AT_ONCE]
        with announced(store, some) as may_begin:
            for folder in still_due(some):
                if not may_begin():
                    _log.warning("removing takes too long; %s and what follows stay until the next time", folder)
                    break
                try:
                    remove(folder)
                except PermanentError as error:
                    _log.warning("%s could not be removed: %s", folder, error)
                    refused[folder] = str(error)
                else:
                    removed.append(folder)
    return removed, refused


@contextmanager
def announced(store: Store, folders: Sequence[str]) -> Iterator[Callable[[], bool]]:
    """Let notices stand while the block runs; gives what says whether another removal may begin."""
    # Each remover has notices of its own: one that is through must not speak for another.
    token = secrets.token_hex(8)
    keys = [f"{_notices(folder)}{token}.json" for folder in folders]
    begun_s = time.monotonic()
    try:
        for key in keys:
            store.write(key, b"{}")
        yield lambda: time.monotonic() - begun_s < _BEGIN_S
    finally:
        store.delete(keys)


def _is_announced(store: Store, folder: str) -> bool:
    living = datetime.now(UTC) - timedelta(seconds=NOTICE_S)
    return any(info.modified_at > living for info in store.list(_notices(folder)))


def _notices(folder: str) -> str:
    return f"{NOTICES}{folder}/"
