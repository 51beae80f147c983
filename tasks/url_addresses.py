"""Which URLs may be fetched, and at which addresses: what keeps a caller from reading our own network through us.

Pure checks and one name lookup; nothing here connects anywhere (OWASP, Server-Side Request Forgery Prevention).
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

import httpx

from models.errors import PassingError, PermanentError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291; everything else is reserved, local or multicast
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_MAX_PORT = 65535
_LEFT_OUT = "?…"
_NOT_FOR_US = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # RFC 6890: protocol assignments; a cloud's metadata service lies in it
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's host agent, on an address that is public otherwise
)


class BadUrlError(PermanentError):
    """The URL is none that we fetch."""


class ForbiddenHostError(PermanentError):
    """The URL's host lies in a private network, or is this machine."""


class UnknownHostError(PermanentError):
    """The URL's host has no address."""


class HostLookupError(PassingError):
    """The URL's host could not be looked up at present."""


@dataclass(frozen=True)
class CheckedUrl:
    """A URL with the addresses that its host had when it was checked; connect to these and to no others."""

    url: httpx.URL
    addresses: tuple[str, ...]


def redact_url(url: str | httpx.URL) -> str:
    """Return scheme, host and path only: queries, fragments and user names may be secrets and are never shown."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return "(a text that is no URL)"
    shown = str(parsed.copy_with(userinfo=b"", query=None, fragment=None))
    return f"{shown}{_LEFT_OUT}" if parsed.query else shown


def check_url(url: str | httpx.URL, *, allow_http: bool, allow_private_hosts: bool) -> CheckedUrl:
    """Check a URL's form, look its host up, and refuse it unless every address is a public one.

    Raises `BadUrlError`, `ForbiddenHostError`, `UnknownHostError` and `HostLookupError`.
    """
    parsed = _parsed(url)
    shown = redact_url(parsed)
    if str(url).endswith(_LEFT_OUT):
        raise BadUrlError(f"The secret part of {shown!r} was left out after its first use; give the whole URL again.")
    if parsed.scheme not in (("https", "http") if allow_http else ("https",)):
        raise BadUrlError(f"{shown!r} is no https URL; give one that begins with https://.")
    if not parsed.host or not 0 < (parsed.port or 443) <= _MAX_PORT:
        raise BadUrlError(f"{shown!r} names no host and port; give a whole URL.")
    if parsed.userinfo:
        raise BadUrlError(
            f"{shown!r} came with a user name or password in it; give a URL without, such as a signed one."
        )
    addresses = _look_up(parsed.host, parsed.port or (443 if parsed.scheme == "https" else 80))
    if not allow_private_hosts and not all(is_public(ipaddress.ip_address(address)) for address in addresses):
        raise ForbiddenHostError(
            f"The host {parsed.host!r} lies in a private network or on this machine; give a URL that is public."
        )
    return CheckedUrl(parsed, addresses)


def is_public(address: IPAddress) -> bool:
    """Whether the address is one of the public internet, also where IPv6 wraps an IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _wrapped_ipv4(address)
        if inner is not None:
            return is_public(inner)
        return address in _GLOBAL_UNICAST and address.is_global and not address.scope_id
    if address.is_multicast or address.is_reserved or any(address in network for network in _NOT_FOR_US):
        return False
    return address.is_global


def _wrapped_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def _parsed(url: str | httpx.URL) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL:
        raise BadUrlError("What was given is no URL; give one that begins with https://.") from None


def _look_up(host: str, port: int) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise HostLookupError(f"The host {host!r} could not be looked up just now; try again later.") from None
        raise UnknownHostError(f"The host {host!r} is not known; see whether the URL is spelled right.") from None
    except (OSError, UnicodeError):
        raise UnknownHostError(f"The host {host!r} is not known; see whether the URL is spelled right.") from None
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
