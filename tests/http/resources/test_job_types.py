"""Types over HTTP: options, JSON Schema, counts and quarantine of the handlers."""

from __future__ import annotations

import asyncio
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import aiohttp
import msgspec
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from jobqueue.core.backoff import Backoff
from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.grant import Grant
from jobqueue.http.resources.job_types import JobTypes
from jobqueue.keys import SCOPES, Key
from tests.http.keyed import ANN, OPS, auth, bearer
from tests.http.resources.test_jobs import ended, submit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]


class Size(msgspec.Struct):
    width: Annotated[int, msgspec.Meta(ge=1, le=100)]
    height: int = 1


class Mail(BaseModel):
    to: str = Field(min_length=3)
    copies: list[Mail] = []


class Odd:
    """A type of the application's that pydantic takes, and that has no schema."""


class WithOdd(BaseModel, arbitrary_types_allowed=True):
    odd: Odd | None = None


async def read(http: aiohttp.ClientSession, name: str, **headers: str) -> dict[str, Any]:
    async with http.get(f"/v1/types/{name}", headers=headers) as response:
        assert response.status == 200, await response.text()
        document: dict[str, Any] = await response.json()
        return document


async def test_a_type_has_the_options_of_its_handler(serving: Serving, http: aiohttp.ClientSession) -> None:
    @serving.queue.handler(
        timeout_s=None,
        attempts_max=3,
        rate="10/s burst 1",
        concurrency=4,
        group_rate="5/h",
        group_concurrency=1,
        backoff=Backoff(backoff_s_base=2, backoff_s_max=9),
        redact=("password",),
    )
    def bounded(password: str, times: int = 1) -> None:
        """
        Do a thing, slowly.

        And more of it.
        """

    document = await read(http, "bounded")
    assert {name: document[name] for name in list(document)[:13]} == {
        "type": "bounded",
        "built_in": False,
        "doc": "Do a thing, slowly.",
        "run_in": "thread",
        "queue": "default",
        "timeout_s": None,
        "attempts_max": 3,
        "rate": "10/s burst 1",
        "concurrency": 4,
        "group_rate": "5/h",
        "group_concurrency": 1,
        "backoff": {"backoff_s_base": 2.0, "backoff_s_max": 9.0},
        "redact": ["password"],
    }
    plain = await read(http, "echo")
    limits = ("rate", "concurrency", "group_rate", "group_concurrency", "doc", "quarantined")
    assert [plain[name] for name in limits] == [None] * len(limits)
    assert (plain["backoff"], plain["redact"]) == ({"backoff_s_base": 1.0, "backoff_s_max": 60.0}, [])
    async with http.get("/v1/types") as response:
        types = (await response.json())["types"]
    assert [each["type"] for each in types] == [handler.name for handler in serving.queue.service.registry]
    assert document in types


async def with_all(size: Size, mail: Mail, path: Path, kind: Literal["a", "b"] = "a", data: Any = None) -> None: ...
async def with_more(user: str, **more: Any) -> None: ...
async def without() -> None: ...
async def with_odd(odd: WithOdd) -> None: ...


@pytest.mark.parametrize(
    ("func", "right", "wrong"),
    [
        (
            with_all,
            {"size": {"width": 3}, "mail": {"to": "you", "copies": [{"to": "she"}]}, "path": "/x"},
            [
                {"size": {"width": 0}, "mail": {"to": "you"}, "path": "/x"},
                {"size": {"width": 3}, "mail": {"to": "you", "copies": [{"to": "x"}]}, "path": "/x"},
                {"size": {"width": 3}, "mail": {"to": "you"}, "path": 1},
                {"size": {"width": 3}, "mail": {"to": "you"}},
                {"size": {"width": 3}, "mail": {"to": "you"}, "path": "/x", "kind": "c"},
                {"size": {"width": 3}, "mail": {"to": "you"}, "path": "/x", "other": 1},
            ],
        ),
        (with_more, {"user": "u", "x": [1]}, [{}, {"user": 1}]),
        (without, {}, [{"x": 1}, []]),
        (with_odd, {"odd": {}}, [[]]),
    ],
)
async def test_the_schema_accepts_the_arguments_that_the_handler_accepts(
    serving: Serving, http: aiohttp.ClientSession, func: Any, right: Any, wrong: list[Any]
) -> None:
    serving.queue.handler(name="t")(func)
    schema = (await read(http, "t"))["arguments"]
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    validator.validate(right)
    async with http.post("/v1/jobs", json={"type": "t", "args": right}) as response:
        assert response.status == 202
    for args in wrong:
        assert not validator.is_valid(args), args
        async with http.post("/v1/jobs", json={"type": "t", "args": args}) as response:
            assert response.status == 422
    assert (await read(http, "t"))["arguments"] == schema


async def test_counts_are_those_of_the_type_by_the_state_at_the_end(start: Start, http_to: Open) -> None:
    serving = await start(queues={"default": {}, "other": {}})
    http = await http_to(serving)
    before = await read(http, "echo")
    totals = ("submitted_total", "started_total", "succeeded_total", "failed_total", "queued", "running")
    assert [before[name] for name in totals] == [0] * 6
    assert before["wait_s"] == before["run_s"] == {"p50": None, "p95": None}
    for type, queue in (("echo", "default"), ("echo", "other"), ("fail", "default"), ("echo", "default")):
        await ended(serving, await submit(http, type=type, queue=queue))
    async with http.post("/v1/queues/other:pause"):
        await submit(http, type="echo", queue="other")
    await submit(http, type="hold")
    counted = await read(http, "echo")
    assert [counted[name] for name in totals] == [4, 3, 3, 0, 1, 0]
    assert 0 < counted["run_s"]["p50"] <= counted["run_s"]["p95"]
    assert counted["wait_s"]["p95"] > 0
    failed, held = await read(http, "fail"), await read(http, "hold")
    assert [failed[name] for name in totals] == [1, 1, 0, 1, 0, 0]
    while held["running"] == 0:
        await asyncio.sleep(0)
        held = await read(http, "hold")
    assert [held[name] for name in totals] == [1, 1, 0, 0, 0, 1]


async def test_counts_are_there_for_keys_that_see_all_jobs_only(start: Start, http_to: Open) -> None:
    async def counted(shared: bool, key: Key) -> list[bool]:
        http = await http_to(await start(auth=auth(shared=shared, ann=["submit", "read"])))
        async with http.get("/v1/types", headers=bearer(key)) as response:
            (document,) = (each for each in (await response.json())["types"] if each["type"] == "echo")
        assert document == await read(http, "echo", **bearer(key))
        return [name in document for name in ("submitted_total", "queued", "run_s", "wait_s")]

    assert await counted(False, ANN) == [False] * 4
    assert await counted(False, OPS) == await counted(True, ANN) == [True] * 4


async def test_other_requests_are_answered_while_many_types_are_listed(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue.http.resources.job_types.SLICE_S", 0.0)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    for number in range(50):
        serving.queue.handler(name=f"t{number}")(without)
    request: Any = _Request()
    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    turns = 0
    await JobTypes(serving.service).all(request)
    counting.cancel()
    assert turns >= 50


class _Request(dict[Any, Any]):
    """As much of a request as the list takes."""

    method = "GET"

    def __init__(self) -> None:
        super().__init__({GRANT: Grant(None, SCOPES, shared=True)})


async def test_a_quarantine_has_its_reason_for_admins_only(start: Start, http_to: Open) -> None:
    serving = await start(queues={"default": {"retry_budget": 1}}, auth=auth(ann=["submit", "read"]))
    http = await http_to(serving)
    async with http.post("/v1/jobs", json={"type": "fail"}, headers=bearer(ANN)) as response:
        job = await response.json()
    await ended(serving, job)
    for key, told in ((OPS, True), (ANN, False)):
        quarantined = (await read(http, "fail", **bearer(key)))["quarantined"]
        assert ("it can't be done" in quarantined["reason"]) == told
        assert quarantined["since"] < quarantined["until"]
        assert (await read(http, "echo", **bearer(key)))["quarantined"] is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [("eco", "did you mean 'echo'?"), ("zz", "there are: big, echo"), ("x" * 3000, "there are"), ("%00", "there are")],
)
async def test_an_unknown_type_is_not_found_and_a_similar_one_is_named(
    http: aiohttp.ClientSession, name: str, hint: str
) -> None:
    async with http.get(f"/v1/types/{name}") as response:
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["type"]) == (404, "/problems/type-not-found")
    assert hint in problem["detail"]
    assert len(problem["detail"]) < 800


class Callable_:
    """An object that is called."""

    async def __call__(self) -> None:
        """Called."""


def decorated(func: Any) -> Any:
    @wraps(func)
    async def wrapper() -> None:
        await func()

    return wrapper


async def documented() -> None:
    """Is documented."""


@pytest.mark.parametrize(
    ("func", "doc"),
    [
        (documented, "Is documented."),
        (decorated(documented), "Is documented."),
        (partial(documented), "Is documented."),
        (Callable_(), "An object that is called."),
        (without, None),
        (partial(without), None),
    ],
)
async def test_the_doc_is_that_of_the_function_behind_wrappers(
    serving: Serving, http: aiohttp.ClientSession, func: Any, doc: str | None
) -> None:
    serving.queue.handler(name="t")(func)
    assert (await read(http, "t"))["doc"] == doc


async def test_a_release_ends_the_quarantine_and_the_waiting_jobs_start(start: Start, http_to: Open) -> None:
    serving = await start(queues={"default": {"retry_budget": 1}})
    http = await http_to(serving)
    await ended(serving, await submit(http, type="fail"))
    assert (await read(http, "fail"))["quarantined"] is not None
    waiting = await submit(http, type="fail")
    async with http.get("/v1/events") as events, http.post("/v1/types/fail:release") as response:
        assert (response.status, (await response.json())["quarantined"]) == (200, None)
        while (await events.content.readline()) != b"event: released\n":
            pass
    await ended(serving, waiting)


async def test_a_release_needs_the_scope_operate_and_no_quarantine(start: Start, http_to: Open) -> None:
    http = await http_to(await start(auth=auth(ann=["submit", "read"])))
    async with http.post("/v1/types/echo:release", headers=bearer(ANN)) as response:
        assert response.status == 403
    async with http.post("/v1/types/echo:release", headers=bearer(OPS)) as response:
        assert (response.status, (await response.json())["quarantined"]) == (200, None)
    async with http.post("/v1/types/ehco:release", headers=bearer(OPS)) as response:
        assert (response.status, "did you mean 'echo'?" in (await response.json())["detail"]) == (404, True)
