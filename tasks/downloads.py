"""Fetches a URL into a local file: bounded in bytes and time, and only from hosts that may be asked.

It knows nothing of videos. Each redirect is checked like the first URL, and the connection goes to the very address
that was checked, so that a name cannot point elsewhere a moment later (DNS rebinding).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import httpx

from models.errors import PassingError, PermanentError
from tasks.local_store import written_whole
from tasks.pinned_requests import pinned_answer
from tasks.settings import UploadSettings
from tasks.url_addresses import BadUrlError, CheckedUrl, check_url, redact_url

MAX_REDIRECTS = 5
_CHUNK_BYTES = 2**20
_REDIRECTS = {301, 302, 303, 307, 308}
_MAY_PASS = {408, 425, 429, 500, 502, 503, 504}


class DownloadRefusedError(PermanentError):
    """The URL's server says no, or sends what we don't take."""


class TooLargeError(PermanentError):
    """More bytes than `max_video_bytes`."""


class DownloadBrokenError(PassingError):
    """The URL's server is out of reach, too slow, or broke off."""


@dataclass(frozen=True)
class Downloaded:
    """What came: its size, and the name that the URL or the server gives it, unchecked and possibly empty."""

    size_bytes: int
    file_name: str


def size_text(size_bytes: int) -> str:
    """Say a size for people: 50.0 GiB, 12 bytes."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size_bytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def download(url: str, path: Path, settings: UploadSettings | None = None) -> Downloaded:
    """Fetch `url` into the file `path`, which appears only when whole.

    Raises `BadUrlError`, `ForbiddenHostError`, `UnknownHostError`, `TooLargeError`, `DownloadRefusedError`,
    `DownloadBrokenError` and `DiskFullError`; no message shows more of a URL than scheme, host and path.
    """
    limits = settings or UploadSettings()
    deadline_s = time.monotonic() + limits.max_download_s
    target = url
    for _ in range(MAX_REDIRECTS + 1):
        checked = check_url(target, allow_http=limits.allow_http, allow_private_hosts=limits.allow_private_hosts)
        with _answer(checked, limits.timeout_s) as answer:
            if answer.status_code not in _REDIRECTS:
                _refuse_unless_file(answer, checked.url, limits)
                size_bytes = _save(answer, checked.url, path, limits, deadline_s)
                return Downloaded(size_bytes, _file_name(url, answer, checked.url))
            target = _redirect(answer, checked.url)
    raise DownloadRefusedError(f"{redact_url(url)} redirects more than {MAX_REDIRECTS} times; give the file's own URL.")


@contextmanager
def _answer(checked: CheckedUrl, timeout_s: float) -> Iterator[httpx.Response]:
    """Ask for the URL at the addresses that were checked. Raises `DownloadRefusedError` and `DownloadBrokenError`."""
    with ExitStack() as stack:
        try:
            answer = stack.enter_context(pinned_answer(checked, timeout_s))
        except httpx.HTTPError as error:
            raise _broken(checked.url, error) from error
        yield answer


def _redirect(answer: httpx.Response, url: httpx.URL) -> str:
    location = answer.headers.get("Location")
    if not location:
        raise DownloadRefusedError(f"{redact_url(url)} redirects to nowhere; give the file's own URL.")
    try:
        return str(url.join(location))
    except httpx.InvalidURL:
        raise BadUrlError(f"{redact_url(url)} redirects to what is no URL; give the file's own URL.") from None


def _refuse_unless_file(answer: httpx.Response, url: httpx.URL, limits: UploadSettings) -> None:
    if answer.status_code in _MAY_PASS:
        raise DownloadBrokenError(f"{redact_url(url)} answered {answer.status_code}; try again later.")
    if answer.status_code != httpx.codes.OK:
        raise DownloadRefusedError(
            f"{redact_url(url)} answered {answer.status_code}; give a URL that can be read without signing in."
        )
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise DownloadRefusedError(f"{redact_url(url)} sends its file compressed; give a URL that sends it as it is.")
    announced = answer.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > limits.max_video_bytes:
        raise _too_large(url, limits)


def _save(answer: httpx.Response, url: httpx.URL, path: Path, limits: UploadSettings, deadline_s: float) -> int:
    size_bytes = 0
    with written_whole(path) as target:
        try:
            for chunk in answer.iter_raw(_CHUNK_BYTES):
                size_bytes += len(chunk)
                if size_bytes > limits.max_video_bytes:
                    raise _too_large(url, limits)
                if time.monotonic() > deadline_s:
                    raise DownloadBrokenError(
                        f"{redact_url(url)} took longer than {limits.max_download_s:.0f} s; "
                        "try again, or raise REELMILL_UPLOAD_MAX_DOWNLOAD_S."
                    )
                target.write(chunk)
        except httpx.HTTPError as error:
            raise _broken(url, error) from error
    return size_bytes


def _file_name(first_url: str, answer: httpx.Response, last_url: httpx.URL) -> str:
    """The first of the URL's own name, the server's, and the last URL's that has an extension; else the URL's own."""
    told = Message()
    told["Content-Disposition"] = answer.headers.get("Content-Disposition", "")
    names = [_last_part(httpx.URL(first_url)), told.get_filename() or "", _last_part(last_url)]
    return next((name for name in names if Path(name).suffix), names[0])


def _last_part(url: httpx.URL) -> str:
    return url.path.rpartition("/")[2]


def _too_large(url: httpx.URL, limits: UploadSettings) -> TooLargeError:
    return TooLargeError(
        f"{redact_url(url)} is larger than the {size_text(limits.max_video_bytes)} that are taken; "
        "give a smaller video, or raise REELMILL_UPLOAD_MAX_VIDEO_BYTES."
    )


def _broken(url: httpx.URL, error: Exception) -> DownloadRefusedError | DownloadBrokenError:
    """A sentence without the error's own text, which may repeat the URL."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return DownloadRefusedError(f"The certificate of {url.host!r} is not trusted; give a URL of a host whose is.")
    if isinstance(error, httpx.TimeoutException):
        reason = "it did not answer in time"
    elif isinstance(error, httpx.ConnectError):
        reason = "it takes no connection"
    else:
        reason = "it broke off"
    return DownloadBrokenError(f"{redact_url(url)} could not be fetched: {reason}; try again, or give another URL.")
