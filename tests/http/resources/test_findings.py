"""What is wrong now, over HTTP: the document, and what each key is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from jobqueue.findings.watch import Derived
from tests.http.keyed import ANN, OPS, READER, SUB, auth, bearer
from tests.http.resources.test_jobs import submit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from jobqueue.keys import Key
    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]


async def read(http: aiohttp.ClientSession, key: Key | None = None) -> dict[str, Any]:
    async with http.get("/v1/findings", headers=bearer(key)) as response:
        assert response.status == 200, await response.text()
        document: dict[str, Any] = await response.json()
        return document


async def forget(serving: Serving) -> None:
    """Let a derivation under way end, and forget it, so that the next request sees all that is there by now."""
    while serving.api.watch._handle is not None:
        await asyncio.sleep(0)
    serving.api.watch.latest = Derived(float("-inf"), (), 0)


async def told(serving: Serving, http: aiohttp.ClientSession, key: Key | None = None) -> dict[str, dict[str, Any]]:
    """Return the findings of now by kind, without the recent start."""
    await forget(serving)
    return {each["kind"]: each for each in (await read(http, key))["findings"] if each["kind"] != "started_recently"}


async def test_a_server_without_a_problem_has_only_its_start_to_tell(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    document = await read(http)
    assert [each["kind"] for each in document["findings"]] == ["started_recently"]
    assert document["findings"][0]["subject"] == {"server": True}
    assert document["more"] == 0


async def test_a_finding_has_its_words_its_subject_and_its_problem(start: Start, http_to: Open) -> None:
    serving = await start(queues={"default": {"capacity": 2}})
    http = await http_to(serving)
    for _ in range(2):
        await submit(http, type="hold")
    await serving.service.backend.pause("default")
    found = await told(serving, http)
    assert {*found} == {"queue_full", "queue_paused"}
    finding = found["queue_full"]
    assert finding["sentence"].startswith("Queue default is full: 2 of 2 jobs;")
    assert (finding["severity"], finding["subject"], finding["problem"]) == (
        "critical",
        {"queue": "default"},
        "queue-full",
    )
    assert finding["cause"] == "It is paused, so none of its jobs starts."
    assert finding["remedy"] == "Resume it."
    assert finding["since"].endswith("Z")


async def test_each_key_reads_the_findings_that_it_may_see(start: Start, http_to: Open) -> None:
    serving = await start(auth=auth(), queues={"default": {"capacity": 2, "retry_budget": 1}})
    http = await http_to(serving)
    async with http.post("/v1/jobs", json={"type": "fail"}, headers={**bearer(ANN), "Prefer": "wait=5"}) as response:
        assert response.status == 200
    for _ in range(2):
        async with http.post("/v1/jobs", json={"type": "hold"}, headers=bearer(ANN)) as response:
            assert response.status == 202
    serving.process.counted = msgspec.structs.replace(serving.process.counted, connections=2)
    everything, own = await told(serving, http, OPS), await told(serving, http, READER)
    assert {*everything} == {"type_quarantined", "queue_full", "connections_nearly_full"}
    assert {*own} == {"type_quarantined", "queue_full"}
    assert "it can't be done" in everything["type_quarantined"]["cause"]
    assert "it can't be done" not in str(own)
    assert own["queue_full"] == everything["queue_full"]
    # Of one derivation, too, in both orders.
    await forget(serving)
    for key in (OPS, READER, OPS):
        kinds = {each["kind"] for each in (await read(http, key))["findings"]}
        assert ("connections_nearly_full" in kinds) == (key is OPS)
    for key, status in ((None, 401), (SUB, 403)):
        async with http.get("/v1/findings", headers=bearer(key)) as response:
            assert response.status == status


async def test_a_parameter_that_is_not_known_is_rejected(serving: Serving, http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/findings?severity=critical") as response:
        assert response.status == 400


async def test_a_hundred_consoles_get_one_and_the_same_document(serving: Serving, http: aiohttp.ClientSession) -> None:
    documents = await asyncio.gather(*(read(http) for _ in range(100)))
    assert len({document["at"] for document in documents}) <= 2  # a sample of the recorder may come in between


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "\x00\x1b[2J‮", "x" * 100_000])
async def test_a_hostile_message_is_one_short_line(start: Start, http_to: Open, name: str) -> None:
    serving = await start(queues={"default": {"retry_budget": 1}})

    @serving.queue.handler
    async def hostile() -> None:
        raise ValueError(name)

    http = await http_to(serving)
    async with http.post("/v1/jobs", json={"type": "hostile"}, headers={"Prefer": "wait=5"}) as response:
        assert response.status == 200
    cause = (await told(serving, http))["type_quarantined"]["cause"]
    assert cause.isprintable()
    assert len(cause) < 1000
