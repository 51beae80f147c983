"""One HTTP request at the very addresses that were checked, so that a name cannot point elsewhere a moment later.

DNS rebinding would lead past `tasks.url_addresses` otherwise. Host name and certificate stay the URL's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from tasks.url_addresses import CheckedUrl


@contextmanager
def pinned_answer(
    checked: CheckedUrl,
    timeout_s: float,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Iterator[httpx.Response]:
    """Ask at the checked addresses, one after the other until one connects; redirects are not followed.

    Raises `httpx.HTTPError`, whose text may repeat the URL.
    """
    # A bare transport: httpx's client would log the URL with its signature. It has no connection from an earlier hop
    # to use again, whose certificate was checked for another name, and asks no proxy, which would choose the address.
    with httpx.HTTPTransport(verify=httpx.create_ssl_context(), trust_env=False) as transport:
        answer = _connect(transport, checked, timeout_s, method, headers or {}, body)
        try:
            yield answer
        finally:
            answer.close()


def _connect(
    transport: httpx.HTTPTransport,
    checked: CheckedUrl,
    timeout_s: float,
    method: str,
    headers: Mapping[str, str],
    body: bytes | None,
) -> httpx.Response:
    url, failure = checked.url, None
    for address in checked.addresses:
        request = httpx.Request(
            method,
            url.copy_with(host=address),
            headers={"Host": url.netloc.decode("ascii"), "Accept": "*/*", "Accept-Encoding": "identity", **headers},
            content=body,
            extensions={
                "sni_hostname": url.raw_host.decode("ascii"),
                "timeout": httpx.Timeout(timeout_s).as_dict(),
            },
        )
        try:
            return transport.handle_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            failure = error
    assert failure is not None, "a checked URL has an address"
    raise failure
