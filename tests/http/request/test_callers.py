"""Callers over HTTP, identified by their addresses: isolation from each other, on both paths."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from datetime import datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from jobqueue.errors import InvalidSubmission
from jobqueue.http.request.caller import caller_of
from jobqueue.http.request.peer import peer_at
from tests.http.serving import CLOSE, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.http.serving import Serving

BAD, GOOD = {"type": "fail"}, {"type": "echo"}


@pytest.fixture(params=[True, False], ids=["fast", "stock"])
def fast_path(request: pytest.FixtureRequest) -> dict[str, object]:
    return {"fast_path": request.param}


class Callers:
    """Clients of one server, each at its own address."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def post(self, address: str, submission: dict[str, Any], path: str = "/v1/jobs") -> tuple[int, Any]:
        session = self._sessions.get(address)
        if session is None:
            connector = aiohttp.TCPConnector(local_addr=(address, 0))
            session = self._sessions[address] = aiohttp.ClientSession(self._serving.url, connector=connector)
        async with session.post(path, json=submission) as response:
            return response.status, await response.json(content_type=None)

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()


@pytest.fixture
async def callers_of() -> AsyncIterator[Callable[[Serving], Callers]]:
    made: list[Callers] = []

    def callers_of(serving: Serving) -> Callers:
        made.append(Callers(serving))
        return made[-1]

    yield callers_of
    for callers in made:
        await callers.close()


HOSTILE, HONEST = "127.0.0.2", "127.0.0.3"


async def test_failures_of_one_caller_do_not_quarantine_a_type_of_another(
    start: Callable[..., Awaitable[Serving]], fast_path: dict[str, object], callers_of: Callable[[Serving], Callers]
) -> None:
    serving = await start(server=fast_path, queues={"default": {"retry_budget": 5}})
    callers = callers_of(serving)
    _, held = await callers.post(HONEST, {"type": "fail", "delay_s": 1000})
    for _ in range(20):
        _, job = await callers.post(HOSTILE, BAD)
        await serving.queue.job(job["id"]).wait()
    assert serving.service.backend.stats()[1][0].quarantined == []
    await callers.post(HONEST, {"type": "fail"})
    while not serving.service.backend.stats()[1][0].quarantined:
        await asyncio.sleep(0.01)
    assert held["state"] == "delayed"


async def test_timeouts_set_by_submissions_do_not_quarantine_a_type(
    start: Callable[..., Awaitable[Serving]], callers_of: Callable[[Serving], Callers]
) -> None:
    serving = await start(queues={"default": {"retry_budget": 5}})
    callers = callers_of(serving)
    poisoned = {"jobs": [{"type": "hold", "timeout_s": 0.001}] * 100}
    status, results = await callers.post(HOSTILE, poisoned, "/v1/jobs:batch")
    assert status == 207
    for result in results["jobs"]:
        job = await serving.queue.job(result["id"]).wait()
        assert job.error is not None
        assert job.error.code == "timed_out"
    serving.gate.set()
    _, job = await callers.post(HONEST, {"type": "hold"})
    assert (await serving.queue.job(job["id"]).wait()).state == "succeeded"


async def test_rejections_of_one_caller_do_not_delay_the_retry_after_of_another(
    start: Callable[..., Awaitable[Serving]], fast_path: dict[str, object], callers_of: Callable[[Serving], Callers]
) -> None:
    serving = await start(server=fast_path, queues={"default": {"capacity": 1, "workers": 1}})
    callers = callers_of(serving)
    await callers.post(HOSTILE, {"type": "hold"})
    for _ in range(300):
        status, problem = await callers.post(HOSTILE, GOOD)
        assert status == 503
    hostile_s = problem["retry_after_s"]
    status, problem = await callers.post(HONEST, GOOD)
    assert status == 503
    assert problem["retry_after_s"] < hostile_s / 3


async def test_a_job_of_a_quarantined_type_reports_the_reason_and_the_time_of_the_probe(
    start: Callable[..., Awaitable[Serving]], fast_path: dict[str, object], callers_of: Callable[[Serving], Callers]
) -> None:
    serving = await start(server=fast_path, queues={"default": {"retry_budget": 1}})
    callers = callers_of(serving)
    _, failed = await callers.post(HOSTILE, BAD)
    await serving.queue.job(failed["id"]).wait()
    _, waiting = await callers.post(HOSTILE, BAD)
    assert waiting["state"] == "queued"
    assert waiting["waiting_for"]["reason"] == "type-quarantined"
    assert waiting["waiting_for"]["retry_at"] > waiting["created_at"]
    _, other = await callers.post(HOSTILE, GOOD)
    assert other["waiting_for"] is None


@pytest.mark.parametrize(("field", "value"), [("ttl_s", 3601), ("delay_s", 61), ("run_at", "2999-01-01T00:00:00Z")])
async def test_a_ttl_or_delay_over_the_limit_is_rejected(
    start: Callable[..., Awaitable[Serving]], callers_of: Callable[[Serving], Callers], field: str, value: object
) -> None:
    serving = await start(statuses={"ttl_s_max": 3600.0}, limits={"delay_s_max": 60.0})
    callers = callers_of(serving)
    status, problem = await callers.post(HOSTILE, {"type": "echo", field: value})
    assert (status, problem["errors"][0]["pointer"]) == (422, f"/{field}")
    _, results = await callers.post(HOSTILE, {"jobs": [{"type": "echo", field: value}]}, "/v1/jobs:batch")
    assert results["jobs"][0]["problem"]["errors"][0]["pointer"] == f"/jobs/0/{field}"
    within = datetime.fromisoformat(value) if isinstance(value, str) else value
    with pytest.raises(InvalidSubmission, match=f"/{field}: at most"):
        await serving.queue.submit("echo", **{field: within})  # type: ignore[arg-type]  # one of several options


class Transport(asyncio.Transport):
    def __init__(self, peer: object, **others: object) -> None:
        super().__init__({"peername": peer, **others})


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        (("10.0.0.7", 4711), "10.0.0.7"),
        (("2001:db8:1:2:3:4:5:6", 4711, 0, 0), "2001:db8:1:2::/64"),
        (("::ffff:10.0.0.7", 4711, 0, 0), "10.0.0.7"),
        (("fe80::1%eth0", 4711, 0, 2), "fe80::/64"),
        ("", "local"),
        (None, "local"),
        ((), "local"),
        ("/run/client.sock", "/run/client.sock"),
    ],
)
def test_a_caller_is_named_after_its_address(peer: object, name: str) -> None:
    assert peer_at(Transport(peer)).caller == name


def test_a_caller_with_a_client_certificate_is_named_after_it() -> None:
    peer = peer_at(Transport(("10.0.0.7", 4711), client_name="10.0.0.7"))
    assert (peer.caller, peer.address, peer.certificate) == ("cert:10.0.0.7", "10.0.0.7", "10.0.0.7")


def test_a_caller_on_a_unix_socket_is_the_user_of_its_process() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = peer_at(Transport("", socket=ours))
    assert (peer.caller, peer.address, peer.is_unix) == (f"uid:{os.getuid()}", None, True)


def test_addresses_of_one_64_bit_network_are_one_caller() -> None:
    assert {caller_of(f"2001:db8:0:1::{n:x}") for n in range(1000)} == {"2001:db8:0:1::/64"}


@pytest.mark.parametrize("at", ["before it is accepted", "after it was accepted"])
async def test_a_submission_over_a_connection_that_is_reset_is_of_no_other_caller(
    start: Callable[..., Awaitable[Serving]], fast_path: dict[str, object], at: str
) -> None:
    serving = await start(server=fast_path)
    submission = post(b'{"type":"echo"}', CLOSE, "Idempotency-Key: k")
    with socket.create_connection(("127.0.0.1", serving.port)) as wire:
        while at.startswith("after") and not serving.server.open:
            await asyncio.sleep(0)
        wire.sendall(submission)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await serving.talk(submission)
    async with aiohttp.ClientSession(serving.url) as http, http.get("/v1/queues") as response:
        (queue,) = (await response.json())["queues"]
    assert queue["submitted_total"] == 1, "the key of the reset submission is that of its address"
