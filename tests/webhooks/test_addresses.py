"""Addresses of receivers: which a delivery may connect to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.webhooks.addresses import Allowed, is_host_name

NOT_PUBLIC = {
    "127.0.0.1": "a loopback address",
    "127.8.9.10": "a loopback address",
    "::1": "a loopback address",
    "10.1.2.3": "a private address",
    "172.31.255.255": "a private address",
    "192.168.0.1": "a private address",
    "100.64.0.1": "a private address",
    "fd12::1": "a private address",
    "169.254.0.1": "a link-local address",
    "fe80::1": "a link-local address",
    "fe80::1%eth0": "a link-local address",
    "169.254.169.254": "an address of cloud metadata",
    "fd00:ec2::254": "an address of cloud metadata",
    "100.100.100.200": "an address of cloud metadata",
    "168.63.129.16": "an address of cloud metadata",
    "192.0.0.192": "an address of cloud metadata",
    "::ffff:127.0.0.1": "an IPv6 address that carries an IPv4 one",
    "::ffff:8.8.8.8": "an IPv6 address that carries an IPv4 one",
    "::ffff:0:127.0.0.1": "an IPv6 address that carries an IPv4 one",
    "::127.0.0.1": "an IPv6 address that carries an IPv4 one",
    "64:ff9b::a00:1": "an IPv6 address that carries an IPv4 one",
    "64:ff9b:1::a00:1": "an IPv6 address that carries an IPv4 one",
    "2002:7f00:1::": "an IPv6 address that carries an IPv4 one",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "an IPv6 address that carries an IPv4 one",
    "0.0.0.0": "an unspecified address",
    "224.0.0.1": "a multicast address",
    "ff0e::1": "a multicast address",
    "255.255.255.255": "a reserved address",
    "240.0.0.1": "a reserved address",
    "192.0.2.1": "a reserved address",
    "2001:db8::1": "a reserved address",
    "fec0::1": "a reserved address",
}


@pytest.mark.parametrize(("address", "kind"), NOT_PUBLIC.items())
def test_an_address_that_is_not_public_is_refused_with_its_kind(address: str, kind: str) -> None:
    refusal = Allowed().refusal("example.com", address)
    assert refusal is not None
    assert f"is {kind}, and webhooks.allow does not list it" in refusal


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "172.32.0.1", "100.128.0.1"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert Allowed().refusal("example.com", address) is None


@pytest.mark.parametrize("address", ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "localhost", "", "1.2.3.4.5"])
def test_an_address_in_an_unusual_form_is_refused(address: str) -> None:
    refusal = Allowed(["127.0.0.0/8", "localhost"]).refusal("localhost", address)
    assert refusal is not None
    assert "is no address" in refusal


def test_a_listed_network_allows_its_addresses_and_no_others() -> None:
    allowed = Allowed(["10.1.0.0/16", "169.254.169.254"])
    assert allowed.refusal("crm", "10.1.2.3") is None
    assert allowed.refusal("crm", "169.254.169.254") is None
    assert allowed.refusal("crm", "10.2.0.1") is not None
    assert allowed.refusal("crm", "::ffff:10.1.2.3") is not None


def test_a_listed_name_may_have_private_addresses_and_none_of_cloud_metadata() -> None:
    allowed = Allowed(["CRM.internal"])
    assert allowed.refusal("crm.internal", "172.18.0.5") is None
    assert allowed.refusal("crm.internal", "127.0.0.1") is None
    assert allowed.refusal("other.internal", "172.18.0.5") is not None
    for address in ("169.254.169.254", "fd00:ec2::254", "169.254.0.1", "::ffff:172.18.0.5", "0.0.0.0"):
        assert allowed.refusal("crm.internal", address) is not None, address


def test_the_address_that_a_listed_one_carries_is_judged_too() -> None:
    allowed = Allowed(["64:ff9b::/96", "::ffff:0:0/96"])
    assert allowed.refusal("example.com", "64:ff9b::808:808") is None
    assert allowed.refusal("example.com", "64:ff9b::7f00:1") is not None
    assert allowed.refusal("example.com", "::ffff:169.254.169.254") is not None


@given(st.ip_addresses(v=4))
def test_no_notation_of_an_address_that_is_not_public_is_allowed(address: ipaddress.IPv4Address) -> None:
    allowed, number = Allowed(), int(address)
    if allowed.refusal("example.com", str(address)) is None:
        assert address.is_global
        assert not address.is_multicast
    for carrier in (f"::ffff:{address}", f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}", f"::{address}", str(number)):
        assert allowed.refusal("example.com", carrier) is not None, carrier


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "1.2.3", "a b", "*.example.com", "https://example.com", "a:80", "-a"])
def test_an_entry_that_is_no_host_address_or_network_is_a_fault(entry: str) -> None:
    with pytest.raises(ValueError, match=r"^") as fault:
        Allowed([entry])
    assert str(fault.value) == entry


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("example.com", True), ("crm", True), ("a_b.c-d", True), ("127.1", False), ("a.0x7f", False), ("a..b", False)],
)
def test_a_host_with_a_number_as_its_last_label_is_no_name(text: str, is_one: bool) -> None:
    assert is_host_name(text) is is_one
