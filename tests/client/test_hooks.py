"""Hooks of the clients: `before_request` and `after_answer`, and the name that the clients give themselves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import __version__
from jobqueue.client import Answer, Client, NoAnswer, Request, SyncClient
from tests.client.calling import answer, calling, document, event, refusal, scripted, stream

if TYPE_CHECKING:
    from tests.http.serving import Serving

KEY = "jq_7f3k_secret"


async def test_before_request_adds_headers_to_every_try(kind: str) -> None:
    numbers = iter(range(9))

    def traced(request: Request) -> Request:
        return request.with_headers({"traceparent": f"00-{next(numbers)}", "accept": "application/json"})

    answers = (refusal("queue-full", 0), answer(202, document("queued")))
    async with scripted(kind, *answers, before_request=traced) as (call, script):
        await call("submit", "t", retry_for_s=5)

    assert script.header("traceparent") == ["00-0", "00-1"]
    assert script.header("accept") == ["application/json"] * 2
    assert len(set(script.header("idempotency-key"))) == 1


async def test_after_answer_sees_each_answer_with_its_request(kind: str) -> None:
    seen: list[tuple[str, str, int]] = []

    def note(request: Request, answer: Answer) -> None:
        seen.append((request.method, request.target, answer.status))

    answers = (refusal("queue-full", 0), answer(202, document("queued")), answer(404, {"type": "/problems/not-found"}))
    async with scripted(kind, *answers, after_answer=note) as (call, _):
        await call("submit", "t", retry_for_s=5)
        with pytest.raises(Exception, match="no detail"):
            await call("get", "j")

    assert seen == [("POST", "/v1/jobs", 503), ("POST", "/v1/jobs", 202), ("GET", "/v1/jobs/j", 404)]


async def test_hooks_see_the_streams_of_events(kind: str) -> None:
    seen: list[Any] = []
    options = {
        "before_request": lambda request: seen.append(request.target),
        "after_answer": lambda request, answer: seen.append((answer.status, answer.body)),
    }
    events = (refusal("too-many-waiters", 0), stream("retry: 100", event(1, "queued"), event(2, "succeeded")))
    async with scripted(kind, *events, **options) as (call, _):
        assert len(await call("events", "j")) == 2

    target = "/v1/jobs/j/events"
    assert [it if isinstance(it, str) else it[0] for it in seen] == [target, 503, target, 200]
    assert seen[-1] == (200, b"")


async def test_the_asynchronous_client_awaits_its_hooks() -> None:
    async def signed(request: Request) -> Request:
        await asyncio.sleep(0)
        return request.with_headers({"X-Signed": "yes"})

    seen: list[int] = []

    async def note(request: Request, answer: Answer) -> None:
        await asyncio.sleep(0)
        seen.append(answer.status)

    options = {"before_request": signed, "after_answer": note}
    async with scripted("async", answer(200, document("succeeded")), **options) as (call, script):
        await call("get", "j")

    assert (script.header("x-signed"), seen) == (["yes"], [200])


async def test_hooks_see_no_key(kind: str) -> None:
    seen: list[Request] = []
    options = {"key": KEY, "before_request": seen.append}
    async with scripted(kind, answer(200, document("succeeded")), **options) as (call, script):
        await call("get", "j")

    assert script.header("authorization") == [f"Bearer {KEY}"]
    assert KEY not in repr(seen)


@pytest.mark.parametrize("error", [TimeoutError, ConnectionError, NoAnswer, StopIteration, RuntimeError])
async def test_an_error_of_a_hook_ends_the_call_and_nothing_is_sent_again(kind: str, error: type[Exception]) -> None:
    def fail(*_: object) -> None:
        raise error("from the hook")

    expected = RuntimeError if error is StopIteration else error  # a coroutine can't raise it, nor a generator
    for options in ({"before_request": fail}, {"after_answer": fail}):
        async with scripted(kind, *[answer(202, document("queued"))] * 3, **options) as (call, script):
            for name in ("submit", "get", "events"):
                if error is StopIteration and kind == "sync":
                    continue
                with pytest.raises(expected):
                    await call(name, "t", **({} if name == "get" else {"retry_for_s": 30.0}))
        assert len(script.requests) == (0 if "before_request" in options else len(script.times))
        assert len(script.requests) <= 3


async def test_a_hook_that_returns_something_else_is_an_error(kind: str) -> None:
    async with scripted(kind, before_request=lambda request: {"X": "1"}) as (call, script):
        with pytest.raises(TypeError, match=r"before_request must return a Request, or None .* not \{'X': '1'\}"):
            await call("get", "j")
    assert script.requests == []


async def test_a_blocking_client_rejects_coroutines_as_hooks(serving: Serving) -> None:
    async def hook(*_: object) -> None: ...

    for name in ("before_request", "after_answer"):
        client = SyncClient(serving.url, **{name: hook})
        with pytest.raises(TypeError, match=f"{name} of a SyncClient must be a plain function"):
            await asyncio.to_thread(client.queues)


@pytest.mark.parametrize("of", [Client, SyncClient])
@pytest.mark.parametrize("name", ["before_request", "after_answer", "transport"])
def test_a_hook_that_is_no_function_is_rejected_at_once(of: type, name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a function"):
        of("http://h", **{name: "print"})


async def test_the_clients_tell_their_name_and_version(kind: str) -> None:
    async with scripted(kind, *[answer(200, document("succeeded"))] * 2) as (call, script):
        await call("get", "j")
        async with calling(kind, script.url, headers={"user-agent": "mine/1"}) as mine:
            await mine("get", "j")

    assert script.header("user-agent") == [f"jobqueue-python/{__version__}", "mine/1"]
