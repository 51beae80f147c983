"""A web server for tests: https with a certificate of its own authority, plain http, redirects, and rude answers."""

from __future__ import annotations

import datetime
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Page:
    """What a path answers; `announced_bytes` overrides the length that the header says."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    announced_bytes: int | None = None
    chunked: bool = False


@dataclass
class WebServer:
    """A running server: put pages in `pages` by path; `asked` holds the Host headers and targets that came.

    A POST is answered with the next of `post_statuses`, the last one stays; `posted` holds headers and bodies.
    """

    port: int
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    post_statuses: list[int] = field(default_factory=lambda: [200])
    posted: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def running_web_server(certificate: tuple[Path, Path] | None = None, host: str = "127.0.0.1") -> Iterator[WebServer]:
    """Serve on a free port; with a certificate and its key, over TLS."""
    server = _Server((host, 0), _Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.web = web = WebServer(server.server_port)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up: some tests are about them."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        web: WebServer = self.server.web  # type: ignore[attr-defined]
        web.asked.append((self.headers["Host"], self.path))
        page = web.pages.get(unquote(self.path.partition("?")[0]), Page(status=404))
        self.send_response(page.status)
        for name, value in page.headers.items():
            self.send_header(name, value)
        if page.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(page.announced_bytes or len(page.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            if page.chunked:
                for start in range(0, len(page.body), 1000):
                    piece = page.body[start : start + 1000]
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.wfile.write(page.body)
        except OSError:  # the client had enough
            return

    def do_POST(self) -> None:
        web: WebServer = self.server.web  # type: ignore[attr-defined]
        web.asked.append((self.headers["Host"], self.path))
        web.posted.append((dict(self.headers.items()), self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(web.post_statuses.pop(0) if len(web.post_statuses) > 1 else web.post_statuses[0])
        self.send_header("Location", self.path)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def make_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A self-signed certificate for `host` and its key, as PEM files; trust it by SSL_CERT_FILE."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = folder / f"{host}.pem", folder / f"{host}.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, key_pem
