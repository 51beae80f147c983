"""A hub of models on 127.0.0.1 that speaks as much of the Hugging Face hub's HTTP as fetching a model takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What is published; `refused` maps a repository to the status and error code that it is answered with."""

    url: str = ""
    folders: dict[str, Path] = field(default_factory=dict)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Serve a hub until the block ends."""
    hub = Hub()

    class Handler(_Handler):
        published = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    published: Hub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.published.asked.append(path)
        parts = path.strip("/").split("/")
        about = parts[:2] == ["api", "models"]
        repo = "/".join(parts[2:4] if about else parts[:2])
        rest = parts[4:] if about else parts[2:]
        if repo in self.published.refused:
            return self._answer(*self.published.refused[repo])
        folder = self.published.folders.get(repo)
        if folder is None:
            return self._answer(404, "RepoNotFound")
        if len(rest) > 1 and rest[1] not in ("main", COMMIT):
            return self._answer(404, "RevisionNotFound")
        return self._about(folder, rest[0] if rest else "") if about else self._file(folder / rest[-1])

    def do_HEAD(self) -> None:
        self.do_GET()

    def _about(self, folder: Path, what: str) -> None:
        files = sorted(path for path in folder.iterdir())
        if what == "tree":
            content = [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": _etag(p)} for p in files]
        else:
            content = {"id": "x/y", "sha": COMMIT, "siblings": [{"rfilename": path.name} for path in files]}
        self._answer(200, body=json.dumps(content).encode())

    def _file(self, path: Path) -> None:
        if not path.is_file():
            return self._answer(404, "EntryNotFound")
        return self._answer(200, body=path.read_bytes(), etag=f'"{_etag(path)}"')

    def _answer(self, status: int, error: str = "", *, body: bytes = b"", etag: str = "") -> None:
        self.send_response(status)
        headers = {
            "Content-Length": str(len(body)),
            "X-Error-Code": error,
            "ETag": f'"{etag}"',
            "X-Repo-Commit": COMMIT,
        }
        for name, value in headers.items():
            if value not in ("", '""'):
                self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output quiet."""


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
