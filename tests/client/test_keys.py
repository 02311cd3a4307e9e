"""Keys and URLs of both clients: where they come from, where they go, and that nothing shows them."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest

from jobqueue import errors
from jobqueue.client import Client, ErrorAnswer, SyncClient, address_of
from tests.client.calling import Script, answer, calling, document, page, scripted

KEY = "jq_7f3k_" + "Zq9-x_" * 7
OTHER = "jq_8a2m_" + "Yw4" * 14
MALFORMED = {
    f"{KEY}\n": "begins or ends with a blank or a line break",
    f" {KEY}": "begins or ends with a blank or a line break",
    f"{KEY}\r\nX-Admin: 1": "a line break",
    f"{KEY} {KEY}": "a blank",
    f"{KEY}\x00": "the character '\\x00'",
    f"{KEY}\N{LATIN SMALL LETTER E WITH ACUTE}": "the character '\\xe9'",
    f"=={KEY}": "'=' before its end",
    f'"{KEY}"': "the character '\"'",
    f"Bearer {KEY}": "the key alone, without 'Bearer'",
    "\n": "a line break",
}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JOBQUEUE_URL", "JOBQUEUE_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=[Client, SyncClient])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


# -- where they come from


async def test_a_key_is_sent_as_a_bearer_token_with_every_request(kind: str) -> None:
    async with scripted(kind, answer(200, document("queued")), answer(200, {"queues": []}), key=KEY) as (call, script):
        await call("get", "j")
        await call("queues")
    assert script.header("authorization") == [f"Bearer {KEY}"] * 2


async def test_a_client_without_arguments_takes_url_and_key_from_the_environment(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Script(answer(200, {"queues": []})).serving() as script:
        monkeypatch.setenv("JOBQUEUE_URL", script.url)
        monkeypatch.setenv("JOBQUEUE_KEY", KEY)
        async with calling(kind, None) as call:
            assert await call("queues") == ()
    assert script.header("authorization") == [f"Bearer {KEY}"]


async def test_arguments_win_over_the_environment(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBQUEUE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("JOBQUEUE_KEY", OTHER)
    async with scripted(kind, answer(200, {"queues": []}), key=KEY) as (call, script):
        await call("queues")
    assert script.header("authorization") == [f"Bearer {KEY}"]


async def test_an_empty_key_overrides_the_environment_and_sends_none(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBQUEUE_KEY", OTHER)
    async with scripted(kind, answer(200, {"queues": []}), key="") as (call, script):
        await call("queues")
    assert script.header("authorization") == [None]


async def test_a_users_own_authorization_is_sent_instead_of_the_key_in_the_environment(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBQUEUE_KEY", KEY)
    headers = {"authorization": "Digest x"}
    async with scripted(kind, answer(200, {"queues": []}), headers=headers) as (call, script):
        await call("queues")
    assert script.header("authorization") == ["Digest x"]


async def test_a_user_in_the_url_is_sent_instead_of_the_key_in_the_environment(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBQUEUE_KEY", KEY)
    async with (
        Script(answer(200, {"queues": []})).serving() as script,
        calling(kind, script.url.replace("//", "//ada:secret@")) as call,
    ):
        await call("queues")
    assert script.header("authorization") == ["Basic YWRhOnNlY3JldA=="]


@pytest.mark.parametrize(
    ("url", "headers", "beside"),
    [
        ("http://ada:secret@127.0.0.1", None, "a user in the URL"),
        ("http://127.0.0.1", {"AUTHORIZATION": "x"}, "an Authorization header"),
    ],
)
def test_a_given_key_beside_another_credential_is_an_error(make: Any, url: str, headers: Any, beside: str) -> None:
    with pytest.raises(ValueError, match=f"^a key and {beside} are two credentials: give one of them$"):
        make(url, key=KEY, headers=headers)


@pytest.mark.parametrize("environ", [{}, {"JOBQUEUE_URL": ""}])
def test_a_client_without_a_url_is_an_error(
    make: Any, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(
        ValueError, match=r"no server URL: give one, such as http://127.0.0.1:8080, or set JOBQUEUE_URL"
    ):
        make()


# -- malformed ones


@pytest.mark.parametrize("key", MALFORMED)
def test_a_malformed_key_is_an_error_at_construction_that_does_not_show_it(make: Any, key: str) -> None:
    with pytest.raises(ValueError, match=r"^the key ") as raised:
        make("http://127.0.0.1", key=key)
    assert MALFORMED[key] in str(raised.value)
    assert "Zq9" not in "".join(traceback.format_exception(raised.value))


def test_a_malformed_key_in_the_environment_is_named_by_its_variable(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBQUEUE_KEY", f"{KEY}\n")
    with pytest.raises(ValueError, match=r"^JOBQUEUE_KEY begins or ends with a blank or a line break: remove it$"):
        make("http://127.0.0.1")


def test_a_key_that_is_no_string_is_a_type_error(make: Any) -> None:
    with pytest.raises(TypeError, match="the key must be a string, not bytes"):
        make("http://127.0.0.1", key=KEY.encode())


# -- answers


async def test_a_missing_or_unknown_key_raises_unauthorized_and_is_sent_once(kind: str) -> None:
    refused = answer(401, {"type": "/problems/unauthorized", "detail": "no such key"}, WWW_Authenticate="Bearer")
    async with scripted(kind, refused, refused, key=KEY, retry_reads_for_s=5.0) as (call, script):
        with pytest.raises(errors.Unauthorized, match=r"^no such key$"):
            await call("submit", "echo", retry_for_s=5.0)
        with pytest.raises(errors.Unauthorized):
            await call("wait", "j", timeout_s=5.0)
    assert len(script.requests) == 2


async def test_a_missing_scope_raises_forbidden_with_its_name_and_is_sent_once(kind: str) -> None:
    refused = answer(403, {"type": "/problems/forbidden", "detail": "it needs the scope operate", "scope": "operate"})
    async with scripted(kind, refused, key=KEY, retry_reads_for_s=5.0) as (call, script):
        with pytest.raises(errors.Forbidden, match="it needs the scope operate") as raised:
            await call("cancel", "j")
    assert raised.value.scope == "operate"
    assert len(script.requests) == 1


async def test_a_stream_ends_with_the_refusal_of_its_key(kind: str) -> None:
    refused = answer(401, {"type": "/problems/unauthorized", "detail": "no such key"})
    async with scripted(kind, refused, key=KEY) as (call, script):
        with pytest.raises(errors.Unauthorized):
            await call("events", "j", retry_for_s=5.0)
    assert len(script.requests) == 1


async def test_a_proxys_refusal_is_not_one_of_the_key(kind: str) -> None:
    async with scripted(kind, page(401, "<h1>Sign in</h1>"), key=KEY) as (call, _):
        with pytest.raises(ErrorAnswer, match=r"^HTTP 401: not from the job server, perhaps .*: Sign in$"):
            await call("get", "j")


async def test_the_rest_of_many_submissions_is_not_sent_once_the_key_is_refused(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue.client.submit.BATCH_MAX", 2)
    refused = answer(401, {"type": "/problems/unauthorized", "detail": "no such key"})
    async with scripted(kind, refused, refused, refused, key=KEY) as (call, script):
        outcomes = await call("submit_many", [{"type": "echo"}] * 5, retry_for_s=5.0)
    assert [type(outcome) for outcome in outcomes] == [errors.Unauthorized] * 5
    assert len(script.requests) == 1


# -- where a key must not be seen


async def test_a_redirect_to_another_origin_does_not_get_the_key(kind: str) -> None:
    async with Script(answer(200, {"queues": []})).serving() as other:
        moved = answer(307, Location=f"{other.url}/v1/queues?k={KEY}")
        async with scripted(kind, moved, key=KEY) as (call, script):
            with pytest.raises(ErrorAnswer, match="redirected to") as raised:
                await call("queues")
    assert len(script.requests) == 1
    assert other.requests == []
    assert "Zq9" not in str(raised.value)


async def test_a_page_that_repeats_the_request_does_not_put_its_key_into_the_error(kind: str) -> None:
    echoed = page(404, f"<p>GET / authorization: Bearer {OTHER[8:]} key {KEY}</p>")
    async with scripted(kind, echoed, key=KEY) as (call, _):
        with pytest.raises(ErrorAnswer) as raised:
            await call("queues")
    assert "Zq9" not in str(raised.value)
    assert "Yw4" not in str(raised.value)
    assert "jq_7f3k_***" in str(raised.value)


async def test_no_error_log_or_repr_shows_the_key(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with scripted(kind, None, b"nonsense\r\n\r\n", answer(401), key=KEY) as (call, _):
        for _attempt in range(3):
            with pytest.raises(errors.JobQueueError) as raised:
                await call("queues")
            shown = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
            assert "Zq9" not in "".join(shown.format())
    assert "Zq9" not in caplog.text


def test_the_repr_of_a_client_and_its_address_has_no_key(make: Any) -> None:
    client = make("http://127.0.0.1:8080", key=KEY)
    assert repr(client) == f"{make.__name__}('http://127.0.0.1:8080')"
    address = address_of("http://127.0.0.1:8080", {"X": "y"}, KEY)
    assert repr(address) == "Address('http://127.0.0.1:8080', headers: X, Authorization)"
    assert "Zq9" not in repr(address.headers)
    assert address.headers["Authorization"] == f"Bearer {KEY}"
