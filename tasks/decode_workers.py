"""The decode workers of one caller: started when needed, lent for one file each, ended together."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from tasks.decode_process import DecodeWorker, DecodeWorkerError
from tasks.file_stamps import FileStamp, StampedFile, stamp_of
from tasks.settings import DecodeSettings
from tasks.spare_memory import SpareMemory


class DecodeWorkers:
    """Starts decode workers and lends them, so that probing and extracting one file share those that run already.

    A worker sees one file and no other, and ends when another file comes: a hostile one must not reach the next
    video's frames. Threads may share the pool.
    """

    def __init__(self, settings: DecodeSettings | None = None) -> None:
        """Start nothing yet."""
        self.settings = settings or DecodeSettings()
        self.most = self.settings.workers or len(os.sched_getaffinity(0))
        """Workers that should run at a time."""
        self._lock = threading.Lock()
        self._stamps: dict[Path, FileStamp] = {}
        self._idle: dict[DecodeWorker, StampedFile] = {}
        self._lent: dict[DecodeWorker, StampedFile] = {}
        self._ending: dict[DecodeWorker, StampedFile] = {}
        self._cpu_s: dict[Path, float] = {}
        self._spare = SpareMemory()

    def opened(self, path: Path, *, afresh: bool = False) -> StampedFile:
        """The file as it was when it was first opened here, or as it is now where `afresh`.

        Raises `VideoChangedError` where it is another one since.
        """
        with self._lock:
            if afresh or path not in self._stamps:
                self._stamps[path] = stamp_of(path)
            file = StampedFile(path, self._stamps[path])
        file.check()
        return file

    def lend(self, file: StampedFile, buffers: int = 0) -> DecodeWorker:
        """A worker that has seen no other file; a new one is handed so many buffers that ended ones left behind."""
        with self._lock:
            worker = next((worker for worker, seen in self._idle.items() if seen == file), None)
            others = [other for other, seen in self._idle.items() if seen != file]
            for other in others:
                self._ending[other] = self._idle.pop(other)
            if worker is not None:
                self._lent[worker] = self._idle.pop(worker)
        for other in others:
            self._close(other, self._spare)
        if worker is None:
            worker = DecodeWorker(self.settings)
            with self._lock:
                self._lent[worker] = file
            with contextlib.suppress(DecodeWorkerError):  # the first order shows what is wrong with it
                worker.adopt(self._spare.take(buffers))
        return worker

    def room(self) -> int:
        """How many more workers may be lent before there are too many."""
        with self._lock:
            return self.most - len(self._lent)

    def give_back(self, worker: DecodeWorker) -> None:
        """Take back a worker that has answered everything; it waits for more of the same file."""
        try:
            worker.rest()
        except DecodeWorkerError:
            self.end(worker)
            return
        with self._lock:
            self._idle[worker] = self._lent.pop(worker)

    def end(self, worker: DecodeWorker) -> None:
        """Take back a worker that failed or is still busy, and end it."""
        with self._lock:
            if worker in self._lent:
                self._ending[worker] = self._lent.pop(worker)
        self._close(worker, self._spare)

    @contextmanager
    def lent(self, file: StampedFile) -> Iterator[DecodeWorker]:
        """Lend a worker; one that is in use when an error comes is ended."""
        worker = self.lend(file)
        try:
            yield worker
        except BaseException:
            self.end(worker)
            raise
        self.give_back(worker)

    def close(self) -> None:
        """End all workers, lent or not."""
        with self._lock:
            workers = self._idle | self._lent
            self._ending |= workers
            self._idle.clear()
            self._lent.clear()
        for worker in workers:
            self._close(worker)
        self._spare.close()

    def cpu_s(self, path: Path) -> float:
        """User and system time that workers took for the file until now."""
        with self._lock:
            living = self._idle | self._lent | self._ending
            return self._cpu_s.get(path, 0.0) + sum(
                worker.cpu_s_so_far() for worker, seen in living.items() if seen.path == path
            )

    def _close(self, worker: DecodeWorker, spare: SpareMemory | None = None) -> None:
        """End a worker and count what it took."""
        worker.close(spare)
        with self._lock:
            if (file := self._ending.pop(worker, None)) is not None:
                self._cpu_s[file.path] = self._cpu_s.get(file.path, 0.0) + worker.cpu_s_so_far()

    def __enter__(self) -> DecodeWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
