"""One submission, sent again under its Idempotency-Key, is one job."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from multidict import CIMultiDict

from jobqueue.http.idempotency import Fingerprint, content_digest, key_of
from jobqueue.http.limits import BodyKind
from jobqueue.http.problems import MalformedRequest

if TYPE_CHECKING:
    from aiohttp import web


def key(*lines: str) -> str | None:
    headers = CIMultiDict([("Idempotency-Key", line) for line in lines])
    return key_of(cast("web.Request", SimpleNamespace(headers=headers)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"abc"', "abc"),
        ("abc", "abc"),
        ('  "abc"  ', "abc"),
        ('"a b"', "a b"),
        ("a b", "a b"),
        (r'"a\"b\\c"', r'a"b\c'),
        ('a"b', 'a"b'),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ('"' + "k" * 255 + '"', "k" * 255),
        ("k" * 255, "k" * 255),
    ],
)
def test_a_key_may_be_quoted_or_bare(text: str, value: str) -> None:
    assert key(text) == value


def test_no_header_is_no_key() -> None:
    assert key() is None


@pytest.mark.parametrize(
    "text",
    ["", '""', '"', '"abc', '"a"b"', '"a\\b"', '"a"; p=1', "a\x01b", '"a\x7f"', "é", '"é"', "k" * 256,
     '"' + "k" * 256 + '"', "\udcff"],
)  # fmt: skip
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(MalformedRequest, match="Idempotency-Key"):
        key(text)


def test_two_keys_are_refused() -> None:
    with pytest.raises(MalformedRequest, match="twice"):
        key("a", "a")


def digest(kind: BodyKind, job: bytes, *files: tuple[str, str, bytes]) -> bytes:
    fingerprint = Fingerprint(kind)
    fingerprint.add(job)
    for name, media_type, content in files:
        hashed = content_digest()
        hashed.update(content)
        fingerprint.add_file(name, media_type, hashed.digest())
    return fingerprint.under("k").fingerprint


def test_any_difference_makes_another_fingerprint() -> None:
    submissions = [
        digest(BodyKind.JSON, b"{}"),
        digest(BodyKind.JSON, b"{} "),
        digest(BodyKind.MULTIPART, b"{}"),
        digest(BodyKind.MULTIPART, b"{}", ("a", "text/plain", b"1")),
        digest(BodyKind.MULTIPART, b"{}", ("b", "text/plain", b"1")),
        digest(BodyKind.MULTIPART, b"{}", ("a", "text/html", b"1")),
        digest(BodyKind.MULTIPART, b"{}", ("a", "text/plain", b"2")),
        digest(BodyKind.MULTIPART, b"{}", ("a", "text/plain", b"")),
        digest(BodyKind.MULTIPART, b"{}", ("at", "ext/plain", b"1")),
        digest(BodyKind.MULTIPART, b"{}", ("a", "text/plain", b"1"), ("b", "text/plain", b"2")),
        digest(BodyKind.MULTIPART, b"{}", ("b", "text/plain", b"2"), ("a", "text/plain", b"1")),
    ]
    assert len(set(submissions)) == len(submissions)
    assert all(len(fingerprint) == 16 for fingerprint in submissions)
    assert submissions[0] == digest(BodyKind.JSON, b"{}")
