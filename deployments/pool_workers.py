"""The worker processes of one machine: their command lines and their environment.

Knows nothing of a server's inside. What a worker has in its environment, every run that it starts has as well.
"""

from __future__ import annotations

import hashlib
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployments.automations import worker_settings
from deployments.prefect_server import Connection, plain_environment, quiet_settings

_ONLY_FOR_THE_SERVER = ("REELMILL_DATABASE_URL",)
_CUDA_DEVICE = Path("/dev/nvidiactl")


@dataclass(frozen=True)
class Worker:
    """One worker process of a pool, running at most `limit` runs at once."""

    pool: str
    limit: int
    owner: str = "reelmill"
    """The set-up that it belongs to; its name in Prefect begins with that."""
    gpu: bool = False
    """Whether its runs hold a GPU, and so its lock."""

    @property
    def name(self) -> str:
        """What its process and its log are called."""
        return f"worker-{self.pool}"

    def command(self) -> list[str]:
        """The command line."""
        start = [sys.executable, "-m", "prefect", "--no-prompt", "worker", "start", "--type", "process"]
        return [*start, "--pool", self.pool, "--name", f"{self.owner}-{self.pool}", "--limit", str(self.limit)]

    def environment(self, shared: Mapping[str, str], *, cuda: bool) -> dict[str, str]:
        """Its environment; pure. Without CUDA each GPU pool has a lock of its own, as if it had a GPU of its own."""
        own = {} if cuda or not self.gpu else {"REELMILL_GPU_LOCK": self.pool}
        return own | dict(shared)


def worker_environment(home: Path, connection: Connection, store_uri: str) -> dict[str, str]:
    """What all workers of the set-up share: our environment without the server's secrets, and Prefect's settings."""
    ours = {name: value for name, value in plain_environment().items() if name not in _ONLY_FOR_THE_SERVER}
    return {
        **ours,
        **quiet_settings(home / "prefect"),
        **connection.client_settings(),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        **worker_settings(),
        "REELMILL_STORE": store_uri,
        "REELMILL_JOB_DISPATCH": "deployment",
    }


def owner_of(home: Path) -> str:
    """What the workers of a home are called on this machine, and on no other one and in no other home."""
    digest = hashlib.sha256(str(home).encode()).hexdigest()
    return f"{re.sub('[^A-Za-z0-9.-]', '-', socket.gethostname())}-{digest[:8]}"


def has_cuda() -> bool:
    """Whether NVIDIA's driver is loaded on this machine; asks no library, and needs none."""
    return _CUDA_DEVICE.exists()
