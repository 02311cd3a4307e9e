"""URLs of receivers."""

from __future__ import annotations

import pytest

from jobqueue.webhooks.addresses import Allowed
from jobqueue.webhooks.url import fault_of_callback, fault_of_url, host_of, host_of_place

FAULTS = {
    "": "a URL has 1 to 2000 printable ASCII characters",
    "https://example.com/" + "a" * 2000: "a URL has 1 to 2000 printable ASCII characters",
    "https://example.com/a b": "a URL has 1 to 2000 printable ASCII characters",
    "https://exämple.com/": "a URL has 1 to 2000 printable ASCII characters",
    "ftp://example.com/": "a URL begins with https:// and a host",
    "example.com/hooks": "a URL begins with https:// and a host",
    "https:///hooks": "a URL begins with https:// and a host",
    "file:///etc/passwd": "a URL begins with https:// and a host",
    "https://example.com:99999/": "not a URL",
    "https://user:password@example.com/": "a URL has no user and no password",
    "https://example.com@169.254.169.254/": "a URL has no user and no password",
    "https://example.com/#part": "a URL has no fragment",
    "https://169.254.169.254/latest": "is an address of cloud metadata",
    "http://[::ffff:127.0.0.1]/": "is an IPv6 address that carries an IPv4 one",
    "https://[::1]/": "is a loopback address",
    "https://127.1/": "is neither the name of a host nor an address in its usual form",
    "https://2130706433/": "is neither the name of a host nor an address in its usual form",
    "https://0x7f000001/": "is neither the name of a host nor an address in its usual form",
    "https://%31%32%37.0.0.1/": "is neither the name of a host nor an address in its usual form",
    "https://example.com./": "is neither the name of a host nor an address in its usual form",
    "http://example.com/": "http is not encrypted: use https, or list example.com in webhooks.allow",
    "http://8.8.8.8/": "http is not encrypted: use https, or list 8.8.8.8 in webhooks.allow",
}


@pytest.mark.parametrize(("url", "fault"), FAULTS.items())
def test_a_url_that_no_delivery_may_go_to_is_a_fault(url: str, fault: str) -> None:
    found = fault_of_url(url, Allowed())
    assert found is not None
    assert fault in found


@pytest.mark.parametrize(
    "url",
    ["https://example.com", "https://EXAMPLE.com:8443/hooks?token=a", "https://8.8.8.8/", "https://[2606:4700::1111]/"],
)
def test_a_url_of_https_to_a_public_host_has_no_fault(url: str) -> None:
    assert fault_of_url(url, Allowed()) is None


def test_a_listed_host_may_have_http() -> None:
    allowed = Allowed(["crm", "127.0.0.0/8"])
    assert fault_of_url("http://crm:8000/", allowed) is None
    assert fault_of_url("http://127.0.0.1:8000/", allowed) is None
    assert fault_of_url("http://crm.example.com/", allowed) is not None


def test_the_host_is_in_lower_case_without_port_and_brackets() -> None:
    assert host_of("https://EXAMPLE.com:8443/") == "example.com"
    assert host_of("https://[2606:4700::1111]:1/") == "2606:4700::1111"


def test_a_callback_goes_to_a_listed_host_only() -> None:
    assert fault_of_callback("https://app.example.com/done", Allowed(), ["app.example.com"]) is None
    fault = fault_of_callback("https://example.com/done", Allowed(), ["app.example.com"])
    assert fault is not None
    assert "webhooks.callback_hosts does not list it" in fault
    assert fault_of_callback("https://127.0.0.1/", Allowed(), ["127.0.0.1"]) is not None


@pytest.mark.parametrize(
    ("url", "listed", "goes"),
    [
        ("https://app.example.com/", "app.example.com", True),
        ("https://app.example.com:443/", "app.example.com", True),
        ("https://app.example.com/", "app.example.com:443", True),
        ("https://app.example.com:8443/", "app.example.com", False),
        ("https://app.example.com:80/", "app.example.com", False),
        ("https://app.example.com:8443/", "app.example.com:8443", True),
        ("https://app.example.com/", "app.example.com:8443", False),
        ("https://[2606:4700::1111]/", "2606:4700::1111", True),
        ("https://[2606:4700::1111]:8443/", "2606:4700::1111", False),
        ("https://[2606:4700::1111]:8443/", "[2606:4700::1111]:8443", True),
    ],
)
def test_a_callback_goes_to_the_port_of_the_scheme_or_to_a_listed_one(url: str, listed: str, *, goes: bool) -> None:
    assert (fault_of_callback(url, Allowed(), [listed]) is None) is goes


@pytest.mark.parametrize(
    ("place", "host"),
    [
        ("crm", "crm"),
        ("crm:8443", "crm"),
        ("10.0.0.1:80", "10.0.0.1"),
        ("::1", "::1"),
        ("[::1]:80", "::1"),
        *((text, None) for text in ("", "crm:", "crm:0", "crm:65536", "crm:08", "crm:http", ":80", "a:b:80")),
        *((text, None) for text in ("[crm]:80", "[10.0.0.1]:80", "[::1]", "127.1:80", "CRM:80", "[::1:80")),
    ],
)
def test_the_host_of_a_listed_place_has_a_port_or_none(place: str, host: str | None) -> None:
    assert host_of_place(place) == host
