"""Downloads from a real web server on this machine, over real TLS."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.errors import PassingError, PermanentError
from tasks import url_addresses
from tasks.downloads import (
    DownloadBrokenError,
    DownloadRefusedError,
    TooLargeError,
    download,
    size_text,
)
from tasks.settings import UploadSettings
from tasks.url_addresses import BadUrlError, ForbiddenHostError
from tests.https_server import Page, WebServer, make_certificate, running_web_server

HOST = "videos.test"
SECRET = "X-Amz-Signature=top-secret"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificates"), HOST)


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses that names in `.test` have: a look-up takes the next of the list, the last one stays."""
    real, table = socket.getaddrinfo, {HOST: ["127.0.0.1"]}

    def resolve(host, *rest, **options):
        if str(host).endswith(".test"):
            host = table[host].pop(0) if len(table[host]) > 1 else table[host][0]
        return real(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return table


@pytest.fixture
def public_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 passes for a public address, so that a public server can be played on this machine."""
    real = url_addresses.is_public
    monkeypatch.setattr(
        url_addresses, "is_public", lambda address: address == ipaddress.ip_address("127.0.0.1") or real(address)
    )


@pytest.fixture
def web(
    certificate: tuple[Path, Path], lookups: dict[str, list[str]], public_loopback: None, monkeypatch
) -> Iterator[WebServer]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with running_web_server(certificate) as server:
        yield server


def url(web: WebServer, path: str) -> str:
    return f"https://{HOST}:{web.port}{path}"


def test_fetches_a_file_by_its_name_and_certificate(web: WebServer, tmp_path: Path) -> None:
    body = os.urandom(3_000_000)
    web.pages["/films/my film.mp4"] = Page(body)
    got = download(url(web, f"/films/my%20film.mp4?{SECRET}"), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == body
    assert (got.size_bytes, got.file_name) == (3_000_000, "my film.mp4")
    assert web.asked == [(f"{HOST}:{web.port}", f"/films/my%20film.mp4?{SECRET}")]


def test_the_connection_goes_to_the_address_that_was_checked(web: WebServer, lookups, tmp_path: Path) -> None:
    lookups[HOST] = ["127.0.0.1", "127.0.0.2"]  # a second look-up would lead elsewhere
    web.pages["/a.mp4"] = Page(b"x")
    download(url(web, "/a.mp4"), tmp_path / "file")
    assert lookups[HOST] == ["127.0.0.2"]


def test_one_private_address_among_public_ones_is_enough_to_refuse(web: WebServer, monkeypatch, tmp_path: Path) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, web.port)) for ip in ("127.0.0.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(ForbiddenHostError):
        download(url(web, "/a.mp4"), tmp_path / "file")
    assert web.asked == []


def test_a_certificate_of_another_name_or_authority(web: WebServer, lookups, monkeypatch, tmp_path: Path) -> None:
    lookups["other.test"] = ["127.0.0.1"]
    with pytest.raises(DownloadRefusedError, match="certificate"):
        download(f"https://other.test:{web.port}/a.mp4", tmp_path / "file")
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(DownloadRefusedError, match="certificate"):
        download(url(web, "/a.mp4"), tmp_path / "file")


def test_redirects_are_followed(web: WebServer, tmp_path: Path) -> None:
    web.pages["/old"] = Page(status=302, headers={"Location": "/new?name=x"})
    web.pages["/new"] = Page(status=307, headers={"Location": url(web, "/a.mkv")})
    web.pages["/a.mkv"] = Page(b"film")
    assert download(url(web, "/old"), tmp_path / "file").file_name == "a.mkv"
    assert (tmp_path / "file").read_bytes() == b"film"


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("https://127.0.0.2/a.mp4", ForbiddenHostError),
        ("https://private.test/a.mp4", ForbiddenHostError),
        ("https://[::1]/a.mp4", ForbiddenHostError),
        ("https://169.254.169.254/latest/meta-data", ForbiddenHostError),
        ("https://2852039166/latest/meta-data", ForbiddenHostError),
        ("https://0177.0.0.2/a.mp4", BadUrlError),
        ("https://[::ffff:10.0.0.1]/a.mp4", ForbiddenHostError),
        ("http://videos.test/a.mp4", BadUrlError),
        ("file:///etc/passwd", BadUrlError),
        ("https://user:secret@videos.test/a.mp4", BadUrlError),
        ("https://host:port/", BadUrlError),
        ("", DownloadRefusedError),
        ("/loop", DownloadRefusedError),
    ],
)
def test_each_redirect_is_checked(web: WebServer, lookups, tmp_path: Path, location: str, error) -> None:
    lookups["private.test"] = ["10.0.0.1"]
    web.pages["/loop"] = Page(status=302, headers={"Location": location})
    with pytest.raises(error):
        download(url(web, "/loop"), tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_turns_private_between_two_redirects(web: WebServer, lookups, tmp_path: Path) -> None:
    lookups[HOST] = ["127.0.0.1", "10.0.0.1"]
    web.pages["/a.mp4"] = Page(status=302, headers={"Location": url(web, "/b.mp4")})
    with pytest.raises(ForbiddenHostError):
        download(url(web, "/a.mp4"), tmp_path / "file")
    assert [path for _, path in web.asked] == ["/a.mp4"]


def test_a_private_host_is_not_even_asked(tmp_path: Path) -> None:
    with running_web_server() as server:
        with pytest.raises(ForbiddenHostError):
            download(f"http://127.0.0.1:{server.port}/a.mp4", tmp_path / "file", UploadSettings(allow_http=True))
        assert server.asked == []
        server.pages["/a.mp4"] = Page(b"x")
        allowed = UploadSettings(allow_http=True, allow_private_hosts=True)
        assert download(f"http://127.0.0.1:{server.port}/a.mp4", tmp_path / "file", allowed).size_bytes == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_the_size_is_limited_while_it_streams(web: WebServer, tmp_path: Path, chunked: bool) -> None:
    web.pages["/a.mp4"] = Page(bytes(5_000_000), chunked=chunked)
    with pytest.raises(TooLargeError, match=r"4\.0 MiB"):
        download(url(web, "/a.mp4"), tmp_path / "file", UploadSettings(max_video_bytes=4 * 2**20))
    assert list(tmp_path.iterdir()) == []
    assert download(url(web, "/a.mp4"), tmp_path / "file", UploadSettings(max_video_bytes=5_000_000)).size_bytes > 0


def test_a_slow_server_is_given_up(web: WebServer, tmp_path: Path) -> None:
    web.pages["/a.mp4"] = Page(b"x" * 100)
    with pytest.raises(DownloadBrokenError, match="longer than"):
        download(url(web, "/a.mp4"), tmp_path / "file", UploadSettings(max_download_s=1e-9))


@pytest.mark.parametrize(
    ("page", "error", "said"),
    [
        (Page(status=404), DownloadRefusedError, "404"),
        (Page(status=403), DownloadRefusedError, "403"),
        (Page(status=204), DownloadRefusedError, "204"),
        (Page(status=503), DownloadBrokenError, "503"),
        (Page(b"x", headers={"Content-Encoding": "gzip"}), DownloadRefusedError, "compressed"),
        (Page(b"x" * 10, announced_bytes=100), DownloadBrokenError, "broke off"),
    ],
)
def test_answers_that_are_no_file(web: WebServer, tmp_path: Path, page: Page, error, said: str) -> None:
    web.pages["/a.mp4"] = page
    with pytest.raises(error, match=said):
        download(url(web, "/a.mp4"), tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_down(lookups, public_loopback, tmp_path: Path) -> None:
    with pytest.raises(DownloadBrokenError, match="takes no connection") as caught:
        download(f"https://{HOST}:9/a.mp4?{SECRET}", tmp_path / "file")
    assert isinstance(caught.value, PassingError)


def test_no_message_and_no_log_shows_a_signature(web: WebServer, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    web.pages.update(
        {
            "/ok": Page(b"x"),
            "/broken": Page(b"x", announced_bytes=9),
            "/file": Page(status=302, headers={"Location": f"file:///x?{SECRET}"}),
            "/large": Page(bytes(200)),
        }
    )
    settings = UploadSettings(max_video_bytes=100)
    download(url(web, f"/ok?{SECRET}"), tmp_path / "file", settings)
    for path in ("/none", "/broken", "/file", "/large"):
        with pytest.raises((PermanentError, PassingError)) as caught:
            download(url(web, f"{path}?{SECRET}"), tmp_path / "file", settings)
        assert "secret" not in str(caught.value)
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="holiday.mp4"', "holiday.mp4"),
        ("attachment; filename*=UTF-8''f%C3%AAte.mkv", "fête.mkv"),
        ("attachment", "download"),
    ],
)
def test_the_server_may_name_the_file(web: WebServer, tmp_path: Path, disposition: str, name: str) -> None:
    web.pages["/download"] = Page(b"x", headers={"Content-Disposition": disposition})
    assert download(url(web, "/download?id=1"), tmp_path / "file").file_name == name


def test_sizes_are_said_in_units_that_fit() -> None:
    assert [size_text(size) for size in (12, 1024, 50 * 2**30, 2000 * 2**40)] == [
        "12 bytes",
        "1.0 KiB",
        "50.0 GiB",
        "2000.0 TiB",
    ]
