"""The store that a command works on: the one that is set, else that of the server it talks to on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.store import Store


def command_store() -> Store:
    """`REELMILL_STORE` where it is set; else the store of a running `reelmill up`; else the default one."""
    from deployments.running_server import running_setup
    from tasks.store import open_store

    if os.environ.get("REELMILL_STORE") or os.environ.get("PREFECT_API_URL"):
        return open_store()
    running = running_setup()
    return open_store(running.store_uri if running else None)
