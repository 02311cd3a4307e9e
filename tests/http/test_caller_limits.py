"""Limits of callers and of single keys: their 429s, the fields, and what the others keep, over both paths."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from jobqueue.config import LimitsOfCallers
from tests.http.keyed import ANN, BOB, OPS, SUB, auth, request
from tests.http.serving import Answer, Serving, read_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from jobqueue.keys import Key

    Start = Callable[..., Awaitable[Serving]]

HOLD = b'{"type":"hold"}'
ECHO = b'{"type":"echo","args":{"value":1}}'
WAIT = "Prefer: wait=5"

pytestmark = pytest.mark.parametrize("fast", [True, False], ids=["fast path", "stock path"])


@pytest.fixture
async def started(start: Start, fast: bool) -> Callable[..., Awaitable[Serving]]:
    async def started(
        keys: dict[str, dict[str, Any]] | None = None,
        names: tuple[str, ...] = ("ann", "bob", "ops"),
        proxies: Sequence[str] = (),
        **limits: Any,
    ) -> Serving:
        settings: dict[str, Any] = {"server": {"fast_path": fast, "proxies": list(proxies)}, "limits": limits}
        if keys is not None:
            settings["auth"] = section = auth(*names)
            for name, own in keys.items():
                section["keys"][name]["limits"] = own
        return await start(**settings)

    return started


def rate(count: int, period_s: float = 60.0) -> dict[str, float]:
    return {"count": count, "period_s": period_s}


class Wire:
    """One connection of a client with a key."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: Key | None) -> None:
        self._reader, self._writer, self.key = reader, writer, key

    def send_raw(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> Answer:
        return await read_answer(self._reader)

    def send(self, method: str, path: str, *lines: str, body: bytes = b"") -> None:
        self._writer.write(request(method, path, self.key, *lines, body=body))

    async def ask(self, method: str, path: str, *lines: str, body: bytes = b"") -> Answer:
        self.send(method, path, *lines, body=body)
        if method == "HEAD":
            return Answer(await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 5))
        return await read_answer(self._reader)

    async def submit(self, body: bytes = ECHO, *lines: str) -> Answer:
        return await self.ask("POST", "/v1/jobs", *lines, body=body)

    async def closed(self) -> bool:
        return await asyncio.wait_for(self._reader.read(), 5) == b""


@contextlib.asynccontextmanager
async def wire(serving: Serving, key: Key | None = None) -> AsyncIterator[Wire]:
    async with serving.connect() as (reader, writer):
        yield Wire(reader, writer, key)


def id_of(answer: Answer) -> str:
    assert answer.status == 202, answer.rest
    found: str = json.loads(answer.rest)["id"]
    return found


def assert_limited(answer: Answer, policy: str) -> None:
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert policy in answer.headers["ratelimit-policy"]
    if answer.rest:
        assert answer.kind == "quota-exceeded"


# -- requests


async def test_the_rate_of_all_requests_is_limited_for_each_caller(started: Callable[..., Awaitable[Serving]]) -> None:
    serving = await started(keys={}, caller_requests=rate(4))
    async with wire(serving, ANN) as ann, wire(serving, BOB) as bob:
        job_id = id_of(await ann.submit())
        path = f"/v1/jobs/{job_id}"
        assert [(await ann.ask(method, path)).status for method in ("GET", "HEAD", "GET")] == [200] * 3
        for method, asked in (("GET", path), ("HEAD", path), ("GET", "/v1/queues"), ("GET", "/v1/nothing")):
            answer = await ann.ask(method, asked)
            assert_limited(answer, '"requests";q=4;w=60')
            assert answer.headers["ratelimit"] == '"requests";r=0;t=15'
        assert_limited(await ann.submit(), '"requests";q=4;w=60')
        assert (await bob.ask("GET", "/v1/queues")).status == 200


async def test_requests_are_answered_again_once_retry_after_is_over(
    started: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await started(caller_requests=rate(1, 1.0))
    async with wire(serving) as client:
        assert (await client.ask("GET", "/v1/queues")).status == 200
        answer = await client.ask("GET", "/v1/queues")
        assert_limited(answer, '"requests";q=1;w=1')
        assert float(answer.problem["retry_after_s"]) <= 1
        await asyncio.sleep(float(answer.problem["retry_after_s"]))
        assert (await client.ask("GET", "/v1/queues")).status == 200


async def test_liveness_needs_no_key_and_counts_for_the_peer(started: Callable[..., Awaitable[Serving]]) -> None:
    serving = await started(keys={"ann": {"requests": rate(1)}})
    async with wire(serving, ANN) as ann:
        assert (await ann.ask("GET", "/v1/queues")).status == 200
        assert_limited(await ann.ask("GET", "/v1/queues"), '"requests";q=1')
        assert (await ann.ask("GET", "/livez")).status == 200


# -- submissions, live jobs, records and bytes


async def test_each_key_has_its_own_limits_and_fields(started: Callable[..., Awaitable[Serving]]) -> None:
    serving = await started(keys={"ann": {"rate": rate(3), "jobs_max": 2}}, caller_jobs_max=1)
    async with wire(serving, ANN) as ann, wire(serving, BOB) as bob:
        for left in (2, 1):
            answer = await ann.submit(HOLD)
            assert answer.headers["ratelimit-policy"] == (
                '"submissions";q=3;w=60, "live-jobs";q=2;qu="concurrent-requests"'
            )
            assert answer.headers["ratelimit"].startswith(f'"submissions";r={left};')
        answer = await ann.submit(HOLD)
        assert_limited(answer, '"live-jobs";q=2')
        assert "has 2 live jobs, and the limit is 2" in answer.problem["detail"]
        answer = await ann.submit(HOLD)
        assert "submits more often than 3/m" in answer.problem["detail"]
        assert answer.headers["ratelimit"] == '"submissions";r=0;t=20'
        assert (await bob.submit(HOLD)).headers["ratelimit-policy"] == '"live-jobs";q=1;qu="concurrent-requests"'
        assert_limited(await bob.submit(HOLD), '"live-jobs";q=1')
        serving.gate.set()


async def test_a_caller_keeps_its_newest_records_within_its_limit(started: Callable[..., Awaitable[Serving]]) -> None:
    serving = await started(keys={"ann": {"records_max": 3}})
    async with wire(serving, ANN) as ann, wire(serving, BOB) as bob:
        kept = [id_of(await bob.submit()) for _ in range(6)]
        answers = [await ann.submit(ECHO, WAIT) for _ in range(6)]
        assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"records";q=3;qu="concurrent-requests"'}
        ids = [json.loads(answer.rest)["id"] for answer in answers]
        assert [(await ann.ask("HEAD", f"/v1/jobs/{job_id}")).status for job_id in ids] == [410] * 3 + [200] * 3
        assert [(await bob.ask("HEAD", f"/v1/jobs/{job_id}")).status for job_id in kept] == [200] * 6
        for _ in range(3):
            await ann.submit(HOLD)
        answer = await ann.submit(HOLD)
        assert_limited(answer, '"records";q=3')
        assert "take all its 3 records" in answer.problem["detail"]
        serving.gate.set()


async def test_a_caller_with_its_bytes_in_live_jobs_is_rejected(started: Callable[..., Awaitable[Serving]]) -> None:
    serving = await started(keys={"ann": {"bytes_max": 2048}})
    async with wire(serving, ANN) as ann, wire(serving, BOB) as bob:
        body = json.dumps({"type": "hold", "args": {"note": "x" * 1500}}).encode()
        assert (await ann.submit(body)).status == 202
        answer = await ann.submit(body)
        assert_limited(answer, '"bytes";q=2048;qu="content-bytes"')
        assert "no room in the bytes that it may hold" in answer.problem["detail"]
        assert (await bob.submit(body)).status == 202
        serving.gate.set()


# -- connections


async def test_a_peer_over_its_connections_gets_a_429_and_is_let_in_again_later(
    started: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await started(caller_connections_max=2)
    async with wire(serving) as first:
        async with wire(serving) as second:
            for each in (first, second):
                assert (await each.ask("GET", "/v1/queues")).status == 200
            raw = await serving.talk()
            answer = Answer(raw)
            assert_limited(answer, '"connections";q=2;qu="concurrent-requests"')
            assert answer.headers["ratelimit"] == '"connections";r=0;t=1'
            assert answer.headers["connection"] == "close"
            assert (await second.ask("GET", "/v1/queues", "Connection: close")).status == 200
            assert await second.closed()
        async with wire(serving) as third:
            assert (await third.ask("GET", "/v1/queues")).status == 200
    assert serving.server.caller_connections is not None


async def test_a_connection_counts_for_the_key_of_its_first_request(
    started: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await started(keys={"ann": {"connections_max": 1}})
    async with wire(serving, ANN) as ann, wire(serving, ANN) as again, wire(serving, BOB) as bob:
        job_id = id_of(await ann.submit())
        for _ in range(3):
            assert (await ann.ask("HEAD", f"/v1/jobs/{job_id}")).status == 200
        answer = await again.ask("GET", f"/v1/jobs/{job_id}")
        assert_limited(answer, '"connections";q=1')
        assert await again.closed()
        assert (await bob.submit()).status == 202
        async with wire(serving, BOB) as more:
            assert (await more.submit()).status == 202
    assert serving.server.caller_connections is not None
    async with asyncio.timeout(5):
        while len(serving.server.caller_connections):
            await asyncio.sleep(0.01)


async def test_a_request_beyond_the_scope_of_its_key_counts_as_any_other(
    started: Callable[..., Awaitable[Serving]], fast: bool
) -> None:
    serving = await started(keys={"sub": {"requests": rate(2), "connections_max": 1}}, names=("sub", "bob"))
    looking, foreign = ("HEAD", "/v1/jobs/" + "0" * 22), ("GET", "/v1/jobs", "Expect: 100-continue")
    async with wire(serving, SUB) as sub, wire(serving, SUB) as again:
        assert [(await sub.ask(*asked)).status for asked in (looking, looking)] == [403] * 2
        assert_limited(await again.ask(*looking), '"connections";q=1')
        assert_limited(await sub.ask(*foreign), '"requests";q=2;w=60')


# -- behind a listed proxy


def via(client: str) -> str:
    return f"X-Forwarded-For: {client}"


async def test_the_clients_behind_a_proxy_have_a_rate_each(started: Callable[..., Awaitable[Serving]]) -> None:
    serving = await started(proxies=["127.0.0.1"], caller_requests=rate(4))
    async with wire(serving) as proxy, wire(serving) as other:
        job_id = id_of(await proxy.submit(ECHO, via("198.51.100.7")))
        look = ("HEAD", f"/v1/jobs/{job_id}")
        for each in (proxy, other, proxy):
            assert (await each.ask(*look, via("198.51.100.7"))).status == 200
        assert_limited(await other.ask(*look, via("198.51.100.7")), '"requests";q=4')
        assert_limited(await proxy.ask("GET", "/v1/queues", via("203.0.113.9, 198.51.100.7")), '"requests";q=4')
        for told in (via("198.51.100.8"), "Forwarded: for=198.51.100.9", "Accept: */*"):
            assert (await proxy.ask(*look, told)).status == 200


async def test_the_clients_behind_a_proxy_have_their_waits_each(started: Callable[..., Awaitable[Serving]]) -> None:
    serving = await started(proxies=["127.0.0.1"], caller_waits_max=1)
    async with contextlib.AsyncExitStack() as wires:
        proxy = [await wires.enter_async_context(wire(serving)) for _ in range(4)]
        job_id = id_of(await proxy[0].submit(HOLD))
        for number, client in enumerate(("198.51.100.7", "198.51.100.8")):
            proxy[number].send("GET", f"/v1/jobs/{job_id}", WAIT, via(client))
        async with asyncio.timeout(5):
            while serving.waiting.count < 2:
                await asyncio.sleep(0)
        for asked in (f"/v1/jobs/{job_id}", f"/v1/jobs?ids={job_id}"):
            answer = await proxy[2].ask("GET", asked, WAIT, via("198.51.100.8"))
            assert "preference-applied" not in answer.headers
        assert_limited(await proxy[2].ask("GET", "/v1/events", via("198.51.100.7")), '"waits";q=1')
        proxy[3].send("GET", f"/v1/jobs/{job_id}", WAIT)
        async with asyncio.timeout(5):
            while serving.waiting.count < 3:
                await asyncio.sleep(0)
        serving.gate.set()
        for number in (0, 1, 3):
            assert (await read_answer(proxy[number]._reader)).headers["preference-applied"] == "wait=5"
    assert serving.waiting._deadlines.by_caller == {}


@pytest.mark.parametrize("key", [None, ANN], ids=["without keys", "with a key"])
async def test_the_connections_of_a_proxy_count_for_no_caller(
    started: Callable[..., Awaitable[Serving]], key: Key | None
) -> None:
    serving = await started(keys=None if key is None else {}, proxies=["127.0.0.1"], caller_connections_max=1)
    async with wire(serving, key) as first, wire(serving, key) as second, wire(serving, key) as third:
        job_id = id_of(await first.submit())
        for each in (first, second, third, first):
            assert (await each.ask("HEAD", f"/v1/jobs/{job_id}", via("198.51.100.7"))).status == 200
            assert (await each.ask("HEAD", f"/v1/jobs/{job_id}")).status == 200
    async with asyncio.timeout(5):
        while serving.server.open:
            await asyncio.sleep(0)
    assert serving.server.caller_connections is not None
    assert not len(serving.server.caller_connections)


# -- waits and streams


async def test_a_caller_with_all_its_waits_is_answered_at_once_and_others_wait(
    started: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await started(keys={"ann": {"waits_max": 2}})
    async with contextlib.AsyncExitStack() as wires:
        ann = [await wires.enter_async_context(wire(serving, ANN)) for _ in range(4)]
        bob = await wires.enter_async_context(wire(serving, BOB))
        job_id = id_of(await ann[0].submit(HOLD))
        ann[0].send("GET", f"/v1/jobs/{job_id}", WAIT)
        ann[1].send("GET", f"/v1/jobs?ids={job_id}", WAIT)
        async with asyncio.timeout(5):
            while serving.waiting.count < 2:
                await asyncio.sleep(0)
        answer = await ann[2].ask("GET", f"/v1/jobs/{job_id}", WAIT)
        assert (answer.status, "preference-applied" in answer.headers) == (202, False)
        answer = await ann[2].submit(HOLD, WAIT)
        assert (answer.status, "preference-applied" in answer.headers) == (202, False)
        answer = await ann[3].ask("GET", f"/v1/jobs/{job_id}/events")
        assert_limited(answer, '"waits";q=2;qu="concurrent-requests"')
        assert answer.headers["ratelimit"] == '"waits";r=0;t=5'
        bob.send("POST", "/v1/jobs", WAIT, body=HOLD)
        async with asyncio.timeout(5):
            while serving.waiting.count < 3:
                await asyncio.sleep(0)
        serving.gate.set()
        for each in (ann[0], ann[1], bob):
            answer = await read_answer(each._reader)
            assert (answer.status, answer.headers["preference-applied"]) == (200, "wait=5")
        assert (await ann[3].submit(ECHO, WAIT)).headers["preference-applied"] == "wait=5"
    async with asyncio.timeout(5):
        while serving.waiting.count:
            await asyncio.sleep(0.01)
    assert serving.waiting._deadlines.by_caller == {}


# -- reload


async def test_a_reload_changes_the_limits_of_a_key_and_ends_nothing(
    started: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await started(keys={"ann": {"jobs_max": 1}})
    async with wire(serving, ANN) as ann, wire(serving, ANN) as waiting:
        job_id = id_of(await ann.submit(HOLD))
        waiting.send("GET", f"/v1/jobs/{job_id}", WAIT)
        async with asyncio.timeout(5):
            while serving.waiting.count < 1:
                await asyncio.sleep(0)
        assert_limited(await ann.submit(HOLD), '"live-jobs";q=1')
        settings = serving.service.settings
        key = settings.auth.keys["ann"]
        more = msgspec.structs.replace(key, limits=msgspec.structs.replace(key.limits, jobs_max=3))
        keys = msgspec.structs.replace(settings.auth, keys={**settings.auth.keys, "ann": more})
        assert await serving.queue.reload(msgspec.structs.replace(settings, auth=keys)) == []
        answer = await ann.submit(HOLD)
        assert answer.status == 202
        assert answer.headers["ratelimit-policy"] == '"live-jobs";q=3;qu="concurrent-requests"'
        assert serving.waiting.count == 1
        serving.gate.set()
        assert (await read_answer(waiting._reader)).status == 200


# -- an elephant and 50 mice


async def test_an_elephant_takes_nothing_away_from_fifty_mice(started: Callable[..., Awaitable[Serving]]) -> None:
    """One key takes all it can; the mice's submissions, waits and records stay whole."""
    limits = {"jobs_max": 50, "waits_max": 20, "connections_max": 40, "records_max": 300}
    serving = await started(keys={"ann": limits})
    mice: list[str] = []

    async def elephant(until: asyncio.Event) -> int:
        refused = 0
        async with wire(serving, ANN) as ann:
            batch = b'{"jobs":[' + b",".join([HOLD, *[ECHO] * 30]) + b"]}"
            while not until.is_set():
                answer = await ann.ask("POST", "/v1/jobs:batch", body=batch)
                refused += sum(each["status"] == 429 for each in json.loads(answer.rest)["jobs"])
        return refused

    async def stream(until: asyncio.Event) -> None:
        while not until.is_set():
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                async with wire(serving, ANN) as ann:
                    ann.send("GET", "/v1/events")
                    await asyncio.wait_for(ann._reader.read(100), 5)
            await asyncio.sleep(0)

    async def mouse(client: Wire) -> None:
        answer = await client.submit(ECHO, WAIT)
        assert (answer.status, answer.headers.get("preference-applied")) == (200, "wait=5")
        mice.append(json.loads(answer.rest)["id"])

    over = asyncio.Event()
    hostile = [asyncio.ensure_future(elephant(over)) for _ in range(3)]
    streams = [asyncio.ensure_future(stream(over)) for _ in range(5)]
    async with contextlib.AsyncExitStack() as wires:
        clients = [await wires.enter_async_context(wire(serving, BOB)) for _ in range(50)]
        for _ in range(3):
            await asyncio.gather(*(mouse(client) for client in clients))
        over.set()
        refused = await asyncio.gather(*hostile)
        await asyncio.gather(*streams)
        assert sum(refused) > 0, "the elephant reached its limit"
        assert len(mice) == 150
        for job_id in mice:
            assert (await clients[0].ask("HEAD", f"/v1/jobs/{job_id}")).status == 200
    holding = serving.service.local._engine.store.holdings.by_caller["key:ann"]  # type: ignore[attr-defined] # its own
    assert holding.records <= 300
    serving.gate.set()


async def test_keys_without_limits_of_their_own_share_the_common_ones(
    started: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await started(keys={"ann": {"rate": rate(9)}}, caller_rate=rate(2), caller_waits_max=7)
    callers = LimitsOfCallers(serving.service.settings)
    assert callers.of("key:bob") == callers.of("192.0.2.1") == callers.of(None)
    assert (callers.of("key:ann").rate, callers.of("key:ann").waits_max) == (
        msgspec.structs.replace(callers.common.rate, count=9),  # type: ignore[type-var] # a rate
        7,
    )
    async with wire(serving, OPS) as ops, wire(serving, BOB) as bob:
        for client in (ops, bob):
            assert [(await client.submit()).status for _ in range(3)] == [202, 202, 429]


# -- files


def form_of(size_bytes: int, type_name: str = "hold") -> tuple[str, bytes]:
    """Return the media type and the body of a submission with one file."""
    job = b'--xyz\r\nContent-Disposition: form-data; name="job"\r\n\r\n{"type":"%b"}\r\n' % type_name.encode()
    file = b'--xyz\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n%b\r\n--xyz--\r\n'
    return "Content-Type: multipart/form-data; boundary=xyz", job + file % (b"x" * size_bytes)


async def upload(client: Wire, size_bytes: int, type_name: str = "hold", *lines: str) -> Answer:
    media_type, body = form_of(size_bytes, type_name)
    client.send_raw(request("POST", "/v1/jobs", client.key, media_type, f"Content-Length: {len(body)}", *lines) + body)
    return await client.answer()


async def test_one_callers_files_leave_the_spool_to_the_others(started: Callable[..., Awaitable[Serving]]) -> None:
    serving = await started(keys={"bob": {"spool_bytes_max": 5000}}, caller_spool_bytes_max=1000)
    async with wire(serving, ANN) as ann, wire(serving, BOB) as bob, wire(serving, OPS) as ops:
        job_id = id_of(await upload(ann, 600))
        refused = await upload(ann, 600)
        assert_limited(refused, '"files";q=1000;qu="content-bytes"')
        assert "600 of 1000 bytes" in refused.problem["detail"]
        assert id_of(await upload(ann, 0))
        for _ in range(3):
            assert id_of(await upload(bob, 1400))
        assert_limited(await upload(bob, 1400), '"files";q=5000')
        assert (await ops.ask("POST", f"/v1/jobs/{job_id}:cancel")).status in (200, 202)
        async with asyncio.timeout(5):
            while (await upload(ann, 700)).status != 202:  # until the cancelled handler has stopped
                await asyncio.sleep(0.01)


async def test_failed_jobs_keep_their_files_and_succeeded_ones_do_not(
    started: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await started(keys={}, caller_spool_bytes_max=1000)
    async with wire(serving, ANN) as ann:
        for _ in range(3):
            answer = await upload(ann, 600, "sizes", WAIT)
            assert (answer.status, json.loads(answer.rest)["state"]) == (200, "succeeded")
        answer = await upload(ann, 600, "fail", WAIT)
        assert json.loads(answer.rest)["state"] == "failed"
        assert_limited(await upload(ann, 600), '"files";q=1000')
        assert (await ann.ask("DELETE", f"/v1/jobs/{json.loads(answer.rest)['id']}")).status in (204, 403)


async def test_a_form_without_a_length_is_cut_at_the_bound(started: Callable[..., Awaitable[Serving]]) -> None:
    serving = await started(keys={}, caller_spool_bytes_max=1000)
    async with wire(serving, ANN) as ann:
        media_type, body = form_of(3000)
        head = request("POST", "/v1/jobs", ANN, media_type, "Transfer-Encoding: chunked")
        ann.send_raw(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        assert_limited(await ann.answer(), '"files";q=1000')
        assert serving.service.spool.bytes_used == 0
    async with wire(serving, ANN) as ann:
        assert id_of(await upload(ann, 700))
