"""Callers as operators see them, and their blocks, over both paths."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from jobqueue.http.request.blocks import BLOCKS_MAX
from tests.http.keyed import ANN, BOB, OPS, auth, bearer, reload
from tests.http.serving import Answer, Serving
from tests.http.test_caller_limits import ECHO, Wire, rate, wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from jobqueue.keys import Key

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]

NOWHERE = "203.0.113.9"
BLOCK = "/v1/callers/{}:block"

pytestmark = pytest.mark.parametrize("fast", [True, False], ids=["fast path", "stock path"])


async def act(
    http: aiohttp.ClientSession, name: str, action: str = "block", key: Key | None = OPS, status: int = 200, **body: Any
) -> dict[str, Any]:
    path = f"/v1/callers/{quote(name, safe='')}:{action}"
    async with http.post(path, json=body or None, headers=bearer(key)) as response:
        document: dict[str, Any] = await response.json()
        assert response.status == status, document
        return document


async def listed(http: aiohttp.ClientSession, query: str = "", key: Key | None = OPS) -> dict[str, Any]:
    async with http.get(f"/v1/callers{query}", headers=bearer(key)) as response:
        document: dict[str, Any] = await response.json()
        assert response.status == 200, document
        return document


async def started(start: Start, fast: bool, **settings: Any) -> Serving:
    return await start(server={"fast_path": fast}, **{"auth": auth(), **settings})


class Noting:
    """A fast path that notes which requests it recalls."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.recalled = inner, list[bool]()

    def recall(self, data: bytes, client: Any, now: float) -> bytes | None:
        answer: bytes | None = self.inner.recall(data, client, now)
        self.recalled.append(answer is not None)
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def ask_all(client: Wire) -> list[Answer]:
    """Send a request of each kind: those that the fast path answers, and others."""
    return [
        await client.submit(ECHO),
        await client.submit(ECHO, "Prefer: wait=1"),
        await client.ask("GET", "/v1/jobs/0aB000000-1c3FfGhIjKlM"),
        await client.ask("HEAD", "/v1/jobs/0aB000000-1c3FfGhIjKlM"),
        await client.ask("GET", "/v1/queues"),
        await client.ask("GET", "/nowhere"),
        await client.ask("DELETE", "/v1/jobs/0aB000000-1c3FfGhIjKlM"),
        await client.ask("POST", "/v1/jobs:cancel", body=b'{"type":"x"}'),
    ]


async def test_a_blocked_key_gets_429_for_every_request_and_the_others_none(
    start: Start, http_to: Open, fast: bool
) -> None:
    serving = await started(start, fast)
    http = await http_to(serving)
    async with wire(serving, BOB) as bob, wire(serving, ANN) as ann:
        before = [answer.status for answer in await ask_all(bob)]
        blocked = await act(http, "key:bob", for_s=60)
        assert blocked["blocked_until"] is not None
        answers = await ask_all(bob)
        assert [answer.status for answer in answers] == [429] * len(before)
        assert all(int(answer.headers["retry-after"]) in (60, 61) for answer in answers)
        assert answers[0].kind == "quota-exceeded"
        assert [answer.status for answer in await ask_all(ann)] == before
        assert (await act(http, "key:bob", "unblock"))["rejected"] == len(before)
        assert [answer.status for answer in await ask_all(bob)] == before


async def test_a_blocked_address_gets_429_over_each_of_its_connections(start: Start, fast: bool) -> None:
    serving = await start(server={"fast_path": fast})
    blocks = serving.api._rate_limits.blocks
    async with wire(serving) as first, wire(serving) as second:
        before = [[answer.status for answer in await ask_all(each)] for each in (first, second)]
        blocks.block("127.0.0.1", 60)
        for each in (first, second):
            assert {answer.status for answer in await ask_all(each)} == {429}
        blocks.unblock("127.0.0.1")
        assert [[answer.status for answer in await ask_all(each)] for each in (first, second)] == before


async def test_a_block_ends_by_itself(start: Start, http_to: Open, fast: bool) -> None:
    serving = await started(start, fast)
    blocks = serving.api._rate_limits.blocks
    await act(await http_to(serving), "key:bob", for_s=60)
    async with wire(serving, BOB) as bob:
        assert (await bob.submit()).status == 429
        blocks._until["key:bob"] = serving.service.backend.now()
        assert (await bob.submit()).status == 202
        assert not blocks


async def test_a_block_survives_a_reload(start: Start, http_to: Open, fast: bool) -> None:
    serving = await started(start, fast)
    await act(await http_to(serving), "key:bob", for_s=60)
    await reload(serving, auth(shared=True))
    async with wire(serving, BOB) as bob:
        assert (await bob.submit()).status == 429
        assert (await bob.submit()).status == 429


async def test_while_a_caller_is_blocked_the_heads_of_the_others_are_recalled(
    start: Start, http_to: Open, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fast:
        pytest.skip("the stock path has no head cache")
    serving = await started(start, fast)
    await act(await http_to(serving), "key:bob", for_s=60)
    noting = Noting(serving.server.fast_path)
    monkeypatch.setattr(serving.server, "fast_path", noting)
    async with wire(serving, ANN) as ann, wire(serving, BOB) as bob:
        for _ in range(3):
            assert (await ann.submit()).status == 202
            assert (await bob.submit()).status == 429
    assert noting.recalled == [False, False, True, False, True, False]


async def test_an_operator_does_not_block_its_own_key(start: Start, http_to: Open, fast: bool) -> None:
    http = await http_to(await started(start, fast))
    problem = await act(http, "key:ops", status=422, for_s=60)
    assert problem["errors"] == [
        {"pointer": "", "detail": "key:ops is the caller of this request: it would be blocked itself"}
    ]


async def test_without_keys_an_operator_does_not_block_its_own_address(start: Start, http_to: Open, fast: bool) -> None:
    http = await http_to(await start(server={"fast_path": fast}))
    assert (await act(http, "::ffff:127.0.0.1", key=None, status=422, for_s=60))["errors"][0]["pointer"] == ""
    for given, caller in (
        (NOWHERE, NOWHERE),
        ("2001:DB8::17", "2001:db8::/64"),
        ("2001:db8::/64", "2001:db8::/64"),
        ("cert:fleet 7/a:b", "cert:fleet 7/a:b"),
        ("uid:1000", "uid:1000"),
    ):
        assert (await act(http, given, key=None, for_s=60))["name"] == caller
    names = [each["name"] for each in (await listed(http, key=None))["callers"]]
    assert {"2001:db8::/64", "cert:fleet 7/a:b"} < set(names)


@pytest.mark.parametrize(
    ("name", "body", "status", "detail"),
    [
        ("key:bo", {"for_s": 60}, 404, "did you mean 'key:bob'?"),
        (NOWHERE, {"for_s": 60}, 404, "GET /v1/callers has their names"),
        ("x" * 5000, {"for_s": 60}, 404, "no caller has the name"),
        ("\x00\u202e", {"for_s": 60}, 404, "no caller has the name"),
        ("key:bob", {"for_s": 0}, 422, "/for_s"),
        ("key:bob", {"for_s": 1e9}, 422, "/for_s"),
        ("key:bob", {"for": 60}, 422, "/for"),
        ("key:bob", None, 422, "/for_s"),
    ],
)
async def test_a_faulty_block_is_rejected_with_a_hint(
    start: Start, http_to: Open, fast: bool, name: str, body: dict[str, Any] | None, status: int, detail: str
) -> None:
    http = await http_to(await started(start, fast))
    path = f"/v1/callers/{quote(name, safe='')}:block"
    async with http.post(path, json=body or {}, headers=bearer(OPS)) as response:
        assert response.status == status
        assert detail in await response.text()


async def test_names_without_an_address_are_none(start: Start, http_to: Open, fast: bool) -> None:
    http = await http_to(await start(server={"fast_path": fast}))
    for name in ("nobody", "10.0.0.1/8", "300.1.1.1", "cert:", "uid:", "key:x", ":block"):
        await act(http, name, key=None, status=404, for_s=60)
    await act(http, NOWHERE, "unblock", key=None)  # it is not blocked: nothing to do


async def test_the_number_of_blocks_is_bounded(start: Start, http_to: Open, fast: bool) -> None:
    serving = await started(start, fast)
    http, blocks = await http_to(serving), serving.api._rate_limits.blocks
    for n in range(BLOCKS_MAX):
        blocks.block(f"10.0.{n // 256}.{n % 256}", 60)
    assert "1,000 callers are blocked" in (await act(http, "key:bob", status=422, for_s=60))["errors"][0]["detail"]
    await act(http, "10.0.0.1", for_s=3600)
    await act(http, "10.0.0.1", "unblock")
    await act(http, "key:bob", for_s=60)


async def test_a_block_and_its_end_are_logged_with_the_operator(
    start: Start, http_to: Open, fast: bool, caplog: pytest.LogCaptureFixture
) -> None:
    http = await http_to(await started(start, fast))
    with caplog.at_level(logging.INFO, "jobqueue"):
        await act(http, "key:bob", for_s=60)
        for _ in range(2):
            await act(http, "key:bob", "unblock")
    lines = [record.getMessage() for record in caplog.records if "caller." in record.getMessage()]
    assert lines == [
        "caller.blocked caller=key:bob for_s=60.0 by=key:ops",
        "caller.unblocked caller=key:bob by=key:ops",
    ]


async def test_the_list_has_the_use_and_the_limits_of_each_caller(start: Start, http_to: Open, fast: bool) -> None:
    limits = {
        "caller_requests": rate(100, 3600.0),
        "caller_rate": rate(10, 3600.0),
        "caller_jobs_max": 2,
        "caller_connections_max": 5,
        "caller_waits_max": 3,
    }
    serving = await started(start, fast, limits=limits)
    http = await http_to(serving)
    async with wire(serving, BOB) as bob:
        statuses = [(await bob.submit(b'{"type":"hold"}')).status for _ in range(3)]
        assert statuses == [202, 202, 429]
        found = await listed(http)
    one = next(each for each in found["callers"] if each["name"] == "key:bob")
    assert one | {"bytes": 0} == {
        "name": "key:bob",
        "kind": "key",
        "requests": {"used": 3, "limit": 100, "count": 100, "period_s": 3600.0},
        "submissions": {"used": 3, "limit": 10, "count": 10, "period_s": 3600.0},
        "jobs_live": 2,
        "jobs_max": 2,
        "records": 2,
        "records_max": None,
        "bytes": 0,
        "bytes_max": None,
        "connections": 1,
        "connections_max": 5,
        "waits": 0,
        "waits_max": 3,
        "rejected": 1,
        "blocked_until": None,
    }
    assert found["callers"][0] == one
    assert {each["name"] for each in found["callers"]} >= {"key:ann", "key:ops", "key:sub"}
    assert (found["total"], found["complete"]) == (len(found["callers"]), True)


async def test_unlimited_use_is_not_counted(start: Start, http_to: Open, fast: bool) -> None:
    serving = await start(server={"fast_path": fast})
    await serving.queue.submit("hold")
    http = await http_to(serving)
    async with wire(serving) as client:
        await client.submit(b'{"type":"hold"}')
    found = await listed(http, key=None)
    kinds = {each["name"]: (each["kind"], each["jobs_live"], each["requests"]) for each in found["callers"]}
    assert kinds == {None: ("application", 1, None), "127.0.0.1": ("address", 1, None)}
    assert all(each["connections"] is None and each["waits"] is None for each in found["callers"])


async def test_the_list_is_bounded_with_blocked_callers_first(
    start: Start, http_to: Open, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue.http.resources.callers.READ_MAX", 50)
    serving = await start(server={"fast_path": fast})
    rejections = serving.api._rate_limits.rejections
    for n in range(300):
        rejections.add(f"10.0.{n // 256}.{n % 256}")
    rejections.add("10.0.1.1")
    serving.api._rate_limits.blocks.block(NOWHERE, 60)
    found = await listed(await http_to(serving), "?limit=2", None)
    assert [each["name"] for each in found["callers"]] == [NOWHERE, "10.0.1.1"]
    assert (found["total"], found["complete"]) == (51, False)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limt=1"])
async def test_a_faulty_query_of_callers_is_rejected(start: Start, http_to: Open, fast: bool, query: str) -> None:
    http = await http_to(await started(start, fast))
    async with http.get(f"/v1/callers?{query}", headers=bearer(OPS)) as response:
        assert response.status == 400
        assert "limit" in (await response.json())["detail"]


async def test_only_an_admin_sees_and_blocks_callers(start: Start, http_to: Open, fast: bool) -> None:
    http = await http_to(await started(start, fast))
    for method, path in (("GET", "/v1/callers"), ("POST", BLOCK.format("key%3Abob"))):
        async with http.request(method, path, json={"for_s": 60}, headers=bearer(ANN)) as response:
            assert (response.status, json.loads(await response.text())["type"]) == (403, "/problems/insufficient-scope")
