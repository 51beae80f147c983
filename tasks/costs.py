"""What jobs cost: decode CPU seconds, GPU seconds by model, bytes read and written. Knows nothing of Prefect.

Counted are the GPU runs, every attempt up to its last heartbeat, and the bytes of publishing; not the registration and
the planning of a video, and not what a job got from shards that stood. A job that took another's result cost nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from tasks.store_interface import Store


class Costs(BaseModel):
    """Of a job, or of one attempt at a group of its segments."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    decode_cpu_s: float = 0.0
    """User and system time of decode workers."""
    gpu_s: dict[str, float] = {}
    """By model: seconds in which a batch of it was worked on, the mean of its lanes, on the GPU or what stood for it.
    Where jobs share a run, each has the part that its frames are of all."""
    read_bytes: int = 0
    """Through the store's interface: a video or a model that is read in place, in a local store, isn't counted."""
    written_bytes: int = 0

    def __add__(self, other: Costs) -> Costs:
        """Both together."""
        return Costs(
            decode_cpu_s=round(self.decode_cpu_s + other.decode_cpu_s, 3),
            gpu_s={
                key: round(self.gpu_s.get(key, 0.0) + other.gpu_s.get(key, 0.0), 3)
                for key in (*self.gpu_s, *(other.gpu_s.keys() - self.gpu_s.keys()))
            },
            read_bytes=self.read_bytes + other.read_bytes,
            written_bytes=self.written_bytes + other.written_bytes,
        )


def total_costs(costs: Iterable[Costs]) -> Costs:
    """The sum of them."""
    return sum(costs, start=Costs())


def job_costs(store: Store, prefix: str) -> Costs:
    """What the job cost whose result lies there, as its job.json says. Raises `KeyNotFoundError`."""
    import orjson

    from tasks.results import JOB_JSON

    return Costs.model_validate(orjson.loads(store.read(f"{prefix}/{JOB_JSON}")).get("costs") or {})


def cost_labels(costs: Costs) -> dict[str, float | int]:
    """The labels of a flow run that say so; a model's seconds stand under `gpu_s.` and its key."""
    return {
        "decode_cpu_s": costs.decode_cpu_s,
        "gpu_s": round(sum(costs.gpu_s.values()), 3),
        **{f"gpu_s.{key}": seconds for key, seconds in costs.gpu_s.items()},
        "read_bytes": costs.read_bytes,
        "written_bytes": costs.written_bytes,
    }


def share_of(seconds: float, frames: int, all_frames: int) -> float:
    """The part of a run's seconds that one job's frames are of all; nothing before there is a frame."""
    return seconds * frames / all_frames if all_frames else 0.0


class CountedStore:
    """A store that counts the bytes which go through it; everything else is the store's own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._bytes: Counter[str] = Counter()

    def _count(self, way: str, size_bytes: int) -> None:
        with self._lock:
            self._bytes[way] += size_bytes

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    @property
    def costs(self) -> Costs:
        """What was counted so far."""
        return Costs(read_bytes=self._bytes["read"], written_bytes=self._bytes["written"])

    def as_store(self) -> Store:
        """Itself, for whoever needs a store."""
        return cast("Store", self)

    def read(self, key: str) -> bytes:
        """See `Store.read`."""
        data = self._store.read(key)
        self._count("read", len(data))
        return data

    def write(self, key: str, data: bytes) -> None:
        """See `Store.write`."""
        self._store.write(key, data)
        self._count("written", len(data))

    def write_file(self, key: str, path: Path) -> None:
        """See `Store.write_file`."""
        self._store.write_file(key, path)
        self._count("written", path.stat().st_size)

    def fetch(self, key: str, path: Path, *, if_etag: str | None = None) -> None:
        """See `Store.fetch`."""
        self._store.fetch(key, path, if_etag=if_etag)
        self._count("read", path.stat().st_size)


CostsOf = Callable[[], Costs]
"""Says what was spent so far."""
