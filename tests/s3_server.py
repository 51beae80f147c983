"""moto's S3 as a real HTTP server in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_START_S = 60.0


@contextmanager
def running_s3_server(**environment: str) -> Iterator[str]:
    """Start a server on a free port of 127.0.0.1 and yield its URL."""
    with tempfile.TemporaryFile() as log:  # a pipe that nobody reads would fill up and stop the server
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
        try:
            yield f"http://127.0.0.1:{_port(process, log)}"
        finally:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Any) -> int:
    end = time.monotonic() + _START_S
    said = b""
    while time.monotonic() < end and process.poll() is None:
        said = os.pread(log.fileno(), 10_000, 0)
        if found := re.search(rb"http://127\.0\.0\.1:(\d+)", said):
            return int(found.group(1))
        time.sleep(0.05)
    raise RuntimeError(f"the S3 server did not start: {said.decode(errors='replace')}")
