"""Idempotency keys and unique values: a repeated submission is one job."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from jobqueue.http.errors import MalformedRequest
from jobqueue.http.request.body import BodyKind
from jobqueue.http.request.idempotency import Fingerprint, content_digest, json_key, key_of
from tests.http.request.test_uploads import form, posted, removed
from tests.http.serving import CLOSE, Answer, post, read_answer

if TYPE_CHECKING:
    import aiohttp

    from tests.http.serving import Serving


def key(*lines: str) -> str | None:
    return key_of(CIMultiDictProxy(CIMultiDict([("Idempotency-Key", line) for line in lines])))


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


_ONE_BY_ONE = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"|([!#-~][ -~]*)')


@given(st.text(st.sampled_from('"\\ ak\té\x7f'), max_size=8))
def test_any_text_is_the_key_that_the_grammar_makes_it(text: str) -> None:
    grammar = _ONE_BY_ONE.fullmatch(text.strip(" \t"))
    if grammar is None:
        with pytest.raises(MalformedRequest):
            key(text)
    else:
        assert key(text) == (grammar[2] or re.sub(r"\\(.)", r"\1", grammar[1]))


def test_a_long_quoted_key_that_never_ends_is_rejected_at_once() -> None:
    with pytest.raises(MalformedRequest):
        key('"' + "a" * 100_000 + "é")


@given(st.binary())
def test_the_digest_of_a_json_body_is_that_of_its_one_piece(body: bytes) -> None:
    assert json_key("k", body).fingerprint == digest(BodyKind.JSON, body)


def test_a_missing_header_is_no_key() -> None:
    assert key() is None


@pytest.mark.parametrize(
    "text",
    ["", '""', '"', '"abc', '"a"b"', '"a\\b"', '"a"; p=1', "a\x01b", '"a\x7f"', "é", '"é"', "k" * 256,
     '"' + "k" * 256 + '"', "\udcff"],
)  # fmt: skip
def test_an_invalid_key_raises_malformed_request(text: str) -> None:
    with pytest.raises(MalformedRequest, match="Idempotency-Key"):
        key(text)


def test_two_keys_raise_malformed_request() -> None:
    with pytest.raises(MalformedRequest, match="duplicate"):
        key("a", "a")


def digest(kind: BodyKind, job: bytes, *files: tuple[str, str, bytes], filename: str = "f") -> bytes:
    fingerprint = Fingerprint(kind)
    fingerprint.add(job)
    for name, media_type, content in files:
        hashed = content_digest()
        hashed.update(content)
        fingerprint.add_file(name, filename, media_type, hashed.digest())
    return fingerprint.under("k").fingerprint


def test_any_difference_changes_the_fingerprint() -> None:
    submissions = [
        digest(BodyKind.JSON, b"{}"),
        digest(BodyKind.JSON, b"{} "),
        digest(BodyKind.MULTIPART, b"{}"),
        digest(BodyKind.MULTIPART, b"{}", ("a", "text/plain", b"1")),
        digest(BodyKind.MULTIPART, b"{}", ("a", "text/plain", b"1"), filename="g"),
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


# -- over HTTP

ECHO = b'{"type":"echo","args":{"value":1}}'
KEY = "Idempotency-Key: k"


async def test_the_same_submission_under_the_same_key_returns_the_same_job(serving: Serving) -> None:
    first = Answer(await serving.talk(post(b'{"type":"hold"}', KEY, CLOSE)))
    assert first.status == 202
    assert "job-deduplicated" not in first.headers
    again = Answer(await serving.talk(post(b'{"type":"hold"}', 'Idempotency-Key: "k"', CLOSE)))
    assert (again.status, again.headers["job-deduplicated"]) == (202, "true")
    assert again.headers["location"] == first.headers["location"]
    serving.gate.set()
    await serving.service.backend.wait(first.headers["location"][-22:])
    over = Answer(await serving.talk(post(b'{"type":"hold"}', KEY, CLOSE)))
    assert (over.status, over.headers["job-deduplicated"]) == (200, "true")
    assert json.loads(over.rest)["result"] == "held"
    assert serving.service.backend.stats()[0].accepted_total == 1


async def test_another_submission_under_the_same_key_gets_422(serving: Serving) -> None:
    assert Answer(await serving.talk(post(ECHO, KEY, CLOSE))).status == 202
    for body in (b'{"type":"echo","args":{"value":2}}', ECHO + b" ", b'{"type":"hold"}'):
        reused = Answer(await serving.talk(post(body, KEY, CLOSE)))
        assert (reused.status, reused.kind) == (422, "idempotency-key-reused")
    assert serving.service.backend.stats()[0].accepted_total == 1
    assert Answer(await serving.talk(post(ECHO, "Idempotency-Key: other", CLOSE))).status == 202


async def test_a_rejected_submission_can_be_repeated_under_its_key(start: Any) -> None:
    serving = await start(queues={"default": {"capacity": 1, "workers": 1}})
    held = Answer(await serving.talk(post(b'{"type":"hold"}', CLOSE)))
    assert Answer(await serving.talk(post(ECHO, KEY, CLOSE))).status == 503
    serving.gate.set()
    await serving.service.backend.wait(held.headers["location"][-22:])
    accepted = Answer(await serving.talk(post(ECHO, KEY, CLOSE)))
    assert accepted.status == 202
    assert "job-deduplicated" not in accepted.headers


@pytest.mark.parametrize("more", [[], [CLOSE]], ids=["fast", "stock"])
async def test_a_key_keeps_its_retry_slot_among_others_of_its_address(start: Any, more: list[str]) -> None:
    serving = await start(queues={"default": {"capacity": 1, "workers": 1}})
    await serving.talk(post(b'{"type":"hold"}', CLOSE))

    async def retry_after_s(key: str) -> float:
        async with serving.connect() as (reader, writer):
            writer.write(post(ECHO, f"Idempotency-Key: {key}", *more))
            refused = await read_answer(reader)
        assert refused.status == 503
        return float(refused.problem["retry_after_s"])

    keys = [f"k{number}" for number in range(6)]
    first = [await retry_after_s(key) for key in keys]
    again = [await retry_after_s(key) for key in keys[1:]]

    assert first == sorted(first)
    assert all(later <= 1.1 * earlier for later, earlier in zip(again, first[1:], strict=True)), "except for the jitter"
    assert await retry_after_s("new") > first[-1]


async def test_a_key_is_forgotten_with_its_record(serving: Serving) -> None:
    first = Answer(await serving.talk(post(ECHO, KEY, CLOSE)))
    await serving.service.backend.wait(first.headers["location"][-22:])
    await serving.service.backend.delete(first.headers["location"][-22:])
    later = Answer(await serving.talk(post(ECHO, KEY, CLOSE)))
    assert later.status == 202
    assert later.headers["location"] != first.headers["location"]


@pytest.mark.parametrize("text", ["", '""', "k" * 256, '"open', "é", "a\x7f"])
async def test_an_invalid_key_gets_400(serving: Serving, text: str) -> None:
    answer = Answer(await serving.talk(post(ECHO, f"Idempotency-Key: {text}", CLOSE)))
    assert (answer.status, answer.kind) == (400, "malformed-request")
    assert serving.service.backend.stats()[0].accepted_total == 0


async def test_a_repeated_upload_under_a_key_returns_the_same_job_and_stores_no_files(serving: Serving) -> None:
    parts = (("job", b'{"type":"hold"}'), ("a", b"x" * 100_000), ("b", b"2"))
    first = Answer(await serving.talk(posted(form(*parts), KEY, CLOSE)))
    assert first.status == 202
    again = Answer(await serving.talk(posted(form(*parts), KEY, CLOSE)))
    assert (again.status, again.headers["location"]) == (202, first.headers["location"])
    assert again.headers["job-deduplicated"] == "true"
    await removed(serving, left=2)
    assert serving.service.spool.bytes_used == 100_001
    for others in (
        (parts[0], ("a", b"y" * 100_000), parts[2]),
        (parts[0], ("c", b"x" * 100_000), parts[2]),
        parts[:2],
        (("job", b'{"type":"hold" }'), *parts[1:]),
    ):
        reused = Answer(await serving.talk(posted(form(*others), KEY, CLOSE)))
        assert (reused.status, reused.kind) == (422, "idempotency-key-reused")
    as_json = Answer(await serving.talk(post(b'{"type":"hold"}', KEY, CLOSE)))
    assert as_json.status == 422
    await removed(serving, left=2)
    assert serving.service.spool.bytes_used == 100_001


async def test_a_repeated_post_can_wait_for_the_outcome(serving: Serving) -> None:
    await serving.talk(post(ECHO, KEY, CLOSE))
    again = Answer(await serving.talk(post(ECHO, KEY, "Prefer: wait=10", CLOSE)))
    assert (again.status, again.headers["preference-applied"]) == (200, "wait=10")
    assert json.loads(again.rest)["result"] == 1


# -- unique values


async def test_a_unique_value_allows_one_live_job(serving: Serving, http: aiohttp.ClientSession) -> None:
    async def send(**more: Any) -> tuple[int, str | None, dict[str, Any]]:
        async with http.post("/v1/jobs", json={"type": "hold", **more}) as response:
            return response.status, response.headers.get("Job-Deduplicated"), await response.json()

    status, deduplicated, first = await send(unique="u")
    assert (status, deduplicated) == (202, None)
    status, deduplicated, same = await send(unique="u")
    assert (status, deduplicated, same["id"]) == (202, "true", first["id"])
    status, deduplicated, problem = await send(unique={"value": "u", "mode": "reject"})
    assert (status, problem["type"], problem["id"]) == (409, "/problems/duplicate", first["id"])
    status, deduplicated, other = await send(unique={"value": "other"})
    assert (status, deduplicated, other["id"] != first["id"]) == (202, None, True)
    status, deduplicated, replaced = await send(unique={"value": "u", "mode": "replace"})
    assert (status, deduplicated, replaced["id"] != first["id"]) == (202, None, True)
    serving.gate.set()
    await serving.service.backend.wait(replaced["id"])
    status, deduplicated, later = await send(unique="u")
    assert (status, deduplicated, later["id"] != replaced["id"]) == (202, None, True)
