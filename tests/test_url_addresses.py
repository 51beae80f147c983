"""Which URLs and addresses are refused. Name lookups are real; they are of names that need no network."""

from __future__ import annotations

import ipaddress

import pytest

from tasks.url_addresses import (
    BadUrlError,
    ForbiddenHostError,
    HostLookupError,
    UnknownHostError,
    check_url,
    is_public,
    redact_url,
)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("168.63.129.16", "::", "::1", "fe80::1", "fe80::1%2", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1"),
        *("64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:db8::1", "100::1"),
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo around 10.0.0.1
    ],
)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2a00:1450:4001::1"],
)
def test_an_address_that_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0", "0.0.0.0", "[::1]", "[::]"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "169.254.169.254", "[fe80::1]", "10.0.0.1:8443", "127.0.0.1."),
        "①②⑦.0.0.1",
    ],
)
def test_a_host_of_our_own_network_is_refused(host: str) -> None:
    with pytest.raises((ForbiddenHostError, BadUrlError, UnknownHostError, HostLookupError)):
        check_url(f"https://{host}/a.mp4", allow_http=False, allow_private_hosts=False)


@pytest.mark.parametrize(
    "host",
    [
        *("3232235521", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "0xA9.0xFE.43518", "192.168.1", "10.1"),
        *("017700000001", "0x7f000001", "127.0.0.1:443", "0x0a.0.0.1", "172.16.1", "100.64.1"),
        *("[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::ffff:c0a8:101]", "[0:0:0:0:0:ffff:7f00:1]"),
        *("[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[fd00:ec2::254]", "[::127.0.0.1]"),
    ],
)
def test_every_way_to_write_a_private_address_is_seen_through(host: str) -> None:
    """The C library reads decimal, octal, hexadecimal and short forms; what it reads is what is checked."""
    with pytest.raises((ForbiddenHostError, BadUrlError)):
        check_url(f"https://{host}/a.mp4", allow_http=False, allow_private_hosts=False)


def test_a_setting_allows_private_hosts() -> None:
    checked = check_url("https://127.0.0.1:8443/a.mp4", allow_http=False, allow_private_hosts=True)
    assert checked.addresses == ("127.0.0.1",)


@pytest.mark.parametrize(
    "url",
    [
        *("http://1.1.1.1/a.mp4", "ftp://1.1.1.1/a.mp4", "file:///etc/passwd", "gopher://1.1.1.1/", "a.mp4", ""),
        *("//1.1.1.1/a.mp4", "https:///a.mp4", "https://user:secret@1.1.1.1/a.mp4", "https://secret@1.1.1.1/a.mp4"),
        *("https://1.1.1.1:99999/", "javascript:alert(1)", "https://1.1.1.1/\r\nHost: x"),
    ],
)
def test_what_is_no_https_url(url: str) -> None:
    with pytest.raises(BadUrlError) as caught:
        check_url(url, allow_http=False, allow_private_hosts=False)
    assert "secret" not in str(caught.value)


def test_http_where_a_setting_says_so() -> None:
    assert check_url("http://1.1.1.1/a.mp4", allow_http=True, allow_private_hosts=False).addresses == ("1.1.1.1",)


def test_an_unknown_host() -> None:
    with pytest.raises((UnknownHostError, HostLookupError), match=r"nowhere\.invalid"):
        check_url("https://nowhere.invalid/a.mp4", allow_http=False, allow_private_hosts=False)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host:8443/a/b.mp4?X-Amz-Signature=secret#secret", "https://host:8443/a/b.mp4?…"),
        ("https://user:secret@host/a.mp4", "https://host/a.mp4"),
        ("https://host/a.mp4", "https://host/a.mp4"),
        ("https://host:secret/", "(a text that is no URL)"),
    ],
)
def test_a_shown_url_keeps_no_secret(url: str, shown: str) -> None:
    assert redact_url(url) == shown
