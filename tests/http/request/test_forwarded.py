"""Forwarded addresses: the caller behind listed proxies, and what is never believed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from jobqueue.http.request.forwarded import HOPS_MAX, Proxies
from jobqueue.http.request.peer import Peer
from tests.http.serving import post, read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

LISTED = ("127.0.0.1", "10.0.0.0/8", "2001:db8:ffff::/48")


def client_in(*headers: tuple[str, str]) -> str | None:
    return Proxies(LISTED).client_in(CIMultiDictProxy(CIMultiDict(headers)))


@pytest.mark.parametrize(
    ("text", "client"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("203.0.113.9,198.51.100.7 ,10.1.2.3,\t10.0.0.1", "198.51.100.7"),
        ("10.1.2.3, 10.0.0.1", "10.1.2.3"),
        ("198.51.100.7:4711", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:db8::7, 2001:db8:ffff::1", "2001:db8::7"),
        ("::ffff:198.51.100.7, ::ffff:10.0.0.1", "198.51.100.7"),
        # malformed: the nearest that a listed proxy has told
        ("198.51.100.7, unknown", None),
        ("198.51.100.7, unknown, 10.0.0.1", "10.0.0.1"),
        ("", None),
        (",", None),
        ("198.51.100.7,", None),
        ("198.51.100", None),
        ("198.51.100.7.1", None),
        ("256.1.1.1", None),
        ("198.51.100.7:port", None),
        ("[198.51.100.7]", "198.51.100.7"),
        ("fe80::1%eth0", None),
        ("198.51.100.7;x", None),
        ("'198.51.100.7'", None),
        ("evil.example.com", None),
        ("\u0661\u0662\u0667.0.0.1", None),
    ],
)
def test_the_rightmost_address_of_no_listed_proxy_is_the_client(text: str, client: str | None) -> None:
    assert client_in(("X-Forwarded-For", text)) == client


@pytest.mark.parametrize(
    ("text", "client"),
    [
        ("for=198.51.100.7", "198.51.100.7"),
        ("For=198.51.100.7;Proto=https;by=10.0.0.1", "198.51.100.7"),
        ("for=203.0.113.9, for=198.51.100.7;by=10.0.0.1, for=10.0.0.1", "198.51.100.7"),
        ('for="198.51.100.7:4711"', "198.51.100.7"),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        ('for="[2001:db8::7]"', "2001:db8::7"),
        ('host="a,b;for=203.0.113.9";for=198.51.100.7', "198.51.100.7"),
        (r'for="198.51.100\.7"', "198.51.100.7"),
        ('for="203.0.113.9, for=198.51.100.7', "198.51.100.7"),  # an open quote of the client's own
        ('x="\\", for=198.51.100.7', "198.51.100.7"),
        # malformed, hidden, or doubtful
        ("for=unknown", None),
        ("for=_hidden, for=10.0.0.1", "10.0.0.1"),
        ("for=198.51.100.7, for=unknown", None),
        ("by=10.0.0.1", None),
        ("for=198.51.100.7;for=203.0.113.9", None),
        ("for=198.51.100.7;;", None),
        ("for = 198.51.100.7", None),
        ("for=", None),
        ('for=""', None),
        ("198.51.100.7", None),
        ('for="198.51.100.7', None),
        ("", None),
        ("for=2001:db8::7", None),  # a colon is no character of a token
        (";".join(f"x{n}=1" for n in range(50)) + ";for=198.51.100.7", None),
    ],
)
def test_forwarded_is_read_as_its_rfc_says(text: str, client: str | None) -> None:
    assert client_in(("Forwarded", text)) == client


def test_several_lines_of_a_header_are_one_list() -> None:
    lines = ("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-For", "10.0.0.1")
    assert client_in(*lines) == "198.51.100.7"
    assert client_in(("Forwarded", "for=203.0.113.9"), ("forwarded", "for=198.51.100.7")) == "198.51.100.7"


def test_both_headers_are_believed_only_where_they_agree() -> None:
    told = ("X-Forwarded-For", "203.0.113.9, 198.51.100.7")
    assert client_in(told, ("Forwarded", "for=198.51.100.7")) == "198.51.100.7"
    assert client_in(told, ("Forwarded", "for=203.0.113.9")) is None
    assert client_in(told, ("Forwarded", "for=unknown")) is None
    assert client_in(("X-Forwarded-For", "x"), ("Forwarded", "for=198.51.100.7")) is None


def test_a_long_list_is_read_from_its_end_and_no_further_than_its_bound() -> None:
    assert client_in(("X-Forwarded-For", "203.0.113.9," * 5000 + "198.51.100.7")) == "198.51.100.7"
    hops = ["203.0.113.9", *["10.0.0.1"] * HOPS_MAX]
    assert client_in(("X-Forwarded-For", ",".join(hops))) == "10.0.0.1"
    assert client_in(("Forwarded", ",".join(f"for={hop}" for hop in hops))) == "10.0.0.1"
    assert client_in(("Forwarded", 'for="' + ',"' * 8000)) is None


@given(st.text(st.sampled_from('for="[]:;,._ \t\\127.0.db8%') | st.characters(max_codepoint=255), max_size=200))
def test_any_text_is_a_list_of_addresses_or_none(text: str) -> None:
    for name in ("Forwarded", "X-Forwarded-For"):
        client = client_in((name, text))
        assert client is None or set(client) <= set("0123456789abcdef.:")


@pytest.mark.parametrize(
    ("address", "is_unix", "listed"),
    [
        ("127.0.0.1", False, True),
        ("::ffff:10.9.8.7", False, True),
        ("2001:db8:ffff::9", False, True),
        ("fe80::1%eth0", False, False),
        ("127.0.0.2", False, False),
        (None, True, False),
        (None, False, False),
        ("no address", False, False),
    ],
)
def test_a_peer_is_listed_by_its_address(address: str | None, is_unix: bool, listed: bool) -> None:
    assert Proxies(LISTED).has(address, is_unix=is_unix) is listed
    assert Proxies(["unix"]).has(address, is_unix=is_unix) is is_unix


def test_a_proxy_with_a_certificate_tells_callers_and_is_one_without_headers() -> None:
    proxy = Peer("cert:edge", "10.0.0.1", "edge", proxies=Proxies(LISTED))
    assert proxy.behind(CIMultiDictProxy(CIMultiDict({"X-Forwarded-For": "2001:db8:0:1::7"}))).caller == (
        "2001:db8:0:1::/64"
    )
    assert proxy.behind(CIMultiDictProxy(CIMultiDict())).caller == "cert:edge"


HEADERS = ("X-Forwarded-For: 203.0.113.9, 198.51.100.7", "Forwarded: for=203.0.113.9, for=198.51.100.7")


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "stock"])
@pytest.mark.parametrize("proxies", [["127.0.0.1"], ["10.0.0.0/8"], []], ids=["listed", "another", "none"])
async def test_only_listed_proxies_name_the_caller(
    start: Callable[..., Awaitable[Serving]], proxies: list[str], fast_path: bool
) -> None:
    serving = await start(server={"proxies": proxies, "fast_path": fast_path, "hosts": ["h"]})
    told = "198.51.100.7" if proxies == ["127.0.0.1"] else "127.0.0.1"
    body = b'{"type": "echo"}'
    requests = [post(body), post(body), *[post(body, header) for header in HEADERS], post(body), post(body, *HEADERS)]
    assert await callers_of(serving, requests) == ["127.0.0.1", "127.0.0.1", told, told, "127.0.0.1", told]


async def callers_of(serving: Serving, requests: list[bytes]) -> list[str | None]:
    """Send the requests over one connection; return the callers of their jobs."""
    callers = []
    async with serving.connect() as (reader, writer):
        for request in requests:
            writer.write(request)
            answer = await read_answer(reader)
            assert answer.status in (200, 202), answer.rest
            job = await serving.service.backend.get(json.loads(answer.rest)["id"])
            callers.append(job.caller)
    return callers


async def test_quotas_and_idempotency_keys_belong_to_the_clients_behind_a_proxy(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    limits: dict[str, Any] = {"caller_rate": {"count": 1, "period_s": 3600.0}}
    serving = await start(server={"proxies": ["127.0.0.1"], "hosts": ["h"]}, limits=limits)
    async with serving.connect() as (reader, writer):
        statuses, ids = [], set()
        for client in ("198.51.100.7", "198.51.100.8", "198.51.100.7"):
            writer.write(post(b'{"type": "echo"}', f"X-Forwarded-For: {client}", "Idempotency-Key: k"))
            answer = await read_answer(reader)
            statuses.append(answer.status)
            ids.add(answer.headers.get("location"))
    assert statuses == [202, 202, 429]
    assert len(ids) == 3
