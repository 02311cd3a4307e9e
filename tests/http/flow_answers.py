"""Requests that provoke each answer of the routes of flows, and of submissions with parents."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.errors import JournalFailed, JournalFull
from jobqueue.wiring import system
from tests.backend.keeping import HeldKeeper
from tests.http.far import far
from tests.http.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from jobqueue.errors import Refused

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]
    Ask = Callable[..., Awaitable[Any]]

FLOWS, FLOW, EVENTS = "/v1/flows", "/v1/flows/{id}", "/v1/flows/{id}/events"
UNKNOWN = "0aB000000-1c3FfGhIjKlM"


def graph(type: str, *after: str, **options: Any) -> dict[str, Any]:
    """Return a graph of one job."""
    return {"jobs": [{"name": "a", "type": type, "after": [*after], **options}]}


async def ended(http: aiohttp.ClientSession, ask: Ask, type: str) -> str:
    """Return the id of a flow that has ended."""
    flow_id = (await ask(http, "POST", FLOWS, json=graph(type)))["id"]
    async with http.get(f"{FLOWS}/{flow_id}", headers={"Prefer": "wait=5"}) as response:
        assert response.status == 200
    return str(flow_id)


async def answers(serving: Serving, http: aiohttp.ClientSession, ask: Ask) -> None:
    """Those of a server that works."""
    live = await _submissions(serving, http, ask)
    done, failed, gone = await ended(http, ask, "echo"), await ended(http, ask, "fail"), await ended(http, ask, "echo")
    (job,) = (await ask(http, "GET", FLOW, gone))["jobs"]
    await ask(http, "DELETE", "/v1/jobs/{id}", job["id"])
    await ask(http, "POST", FLOWS, json=graph("echo", job["id"]))
    await ask(http, "POST", "/v1/jobs", json={"type": "echo", "after": [job["id"]]})
    for method in ("GET", "HEAD"):
        for query in ("", "?state=running&limit=2", "?state=nope"):
            await ask(http, method, FLOWS, query)
        for flow_id in (live, done, gone, UNKNOWN):
            await ask(http, method, FLOW, flow_id, headers={"Prefer": "wait=0"})
            await ask(http, method, FLOW, f"{flow_id}?include=nope")
        await ask(http, method, FLOW, done, headers={"Prefer": "wait=0", "If-None-Match": "*"})
    for flow_id in (live, gone, UNKNOWN):
        await ask(http, "GET", EVENTS, flow_id)
    async with http.get(EVENTS.format(id=done)) as response:
        (line,) = (line for line in (await response.text()).splitlines() if line.startswith("id: "))
    await ask(http, "GET", EVENTS, done, headers={"Last-Event-ID": line.removeprefix("id: ")})
    delayed = (await ask(http, "POST", FLOWS, json=graph("echo", delay_s=60)))["id"]
    for flow_id in (live, delayed, done, gone, UNKNOWN):
        await ask(http, "POST", f"{FLOW}:cancel", flow_id)
    for flow_id in (failed, done, gone, UNKNOWN):
        await ask(http, "POST", f"{FLOW}:retry", flow_id)


async def _submissions(serving: Serving, http: aiohttp.ClientSession, ask: Ask) -> str:
    """Submit, and return the id of a flow that runs."""
    for key in ("live", "live"):
        live = await ask(http, "POST", FLOWS, json=graph("hold"), headers={"Idempotency-Key": key})
    repeated = {"Idempotency-Key": "done"}
    flow_id = (await ask(http, "POST", FLOWS, json=graph("echo"), headers=repeated))["id"]
    async with http.get(f"{FLOWS}/{flow_id}", headers={"Prefer": "wait=5"}) as response:
        assert response.status == 200
    await ask(http, "POST", FLOWS, json=graph("echo"), headers=repeated)
    await ask(http, "POST", FLOWS, json=graph("fail"), headers=repeated)
    await ask(http, "POST", FLOWS, json=graph("echo"), headers={"Idempotency-Key": '"'})
    for body in ({"jobs": []}, graph("echo", "a"), graph("nope"), graph("echo", UNKNOWN)):
        await ask(http, "POST", FLOWS, json=body)
    await ask(http, "POST", "/v1/jobs", json={"type": "echo", "after": [UNKNOWN]})
    serving.lag_s = 10.0
    await ask(http, "POST", FLOWS, json=graph("echo"))
    serving.lag_s = 0.0
    return str(live["id"])


async def rejected_in_a_store(start: Start, http_to: Open, ask: Ask) -> None:
    serving = Serving(Path(), {}, "valkey")
    serving.service.surroundings = far(system)
    await serving.start()
    http = await http_to(serving)
    await ask(http, "POST", "/v1/jobs", json={"type": "echo", "after": [UNKNOWN]})
    await ask(http, "POST", FLOWS, json=graph("echo"))
    for method in ("GET", "HEAD"):
        await ask(http, method, FLOWS)
    for method, path in (("GET", FLOW), ("HEAD", FLOW), ("GET", EVENTS), ("POST", f"{FLOW}:cancel")):
        await ask(http, method, path, UNKNOWN)
    await ask(http, "POST", f"{FLOW}:retry", UNKNOWN)
    await serving.stop()


async def rejected_without_room(start: Start, http_to: Open, ask: Ask) -> None:
    http = await http_to(await start(queues={"default": {"capacity": 1}}, limits={"long_polls_max": 0}))
    failed = (await ask(http, "POST", FLOWS, json=graph("fail")))["id"]
    await _until_ended(http, failed)
    held = (await ask(http, "POST", FLOWS, json=graph("hold")))["id"]
    await ask(http, "POST", FLOWS, json=graph("echo"))
    await ask(http, "POST", f"{FLOW}:retry", failed)
    await ask(http, "GET", EVENTS, held)


async def rejected_over_quota(start: Start, http_to: Open, ask: Ask) -> None:
    http = await http_to(await start(limits={"caller_rate": {"count": 1, "period_s": 3600.0}}))
    for _ in range(2):
        await ask(http, "POST", FLOWS, json=graph("echo"))
    http = await http_to(await start(limits={"caller_jobs_max": 1}))
    failed = await ended(http, ask, "fail")
    await ask(http, "POST", FLOWS, json=graph("hold"))
    await ask(http, "POST", f"{FLOW}:retry", failed)


async def rejected_in_quarantine(start: Start, http_to: Open, ask: Ask) -> None:
    http = await http_to(await start(queues={"default": {"capacity": 10, "retry_budget": 1}}))
    failed = await ended(http, ask, "fail")
    for _ in range(3):  # the first ones may wait
        await ask(http, "POST", FLOWS, json=graph("fail"))
    await ask(http, "POST", f"{FLOW}:retry", failed)


async def rejected_without_memory(start: Start, http_to: Open, ask: Ask) -> None:
    http = await http_to(await start(statuses={"jobs_max": 2}))
    for _ in range(3):
        await ask(http, "POST", FLOWS, json=graph("hold"))


async def rejected_by_the_journal(start: Start, http_to: Open, ask: Ask) -> None:
    keeper = HeldKeeper(waits=False)
    http = await http_to(await start(lambda settings: replace(system(settings), journal=keeper)))
    failed = await ended(http, ask, "fail")
    held = (await ask(http, "POST", FLOWS, json=graph("hold")))["id"]
    with pytest.MonkeyPatch.context() as patch:
        for kind in (JournalFull, JournalFailed):
            patch.setattr(keeper, "check", partial(_refuse, kind))
            await ask(http, "POST", FLOWS, json=graph("echo"))
            await ask(http, "POST", f"{FLOW}:retry", failed)
        await ask(http, "POST", f"{FLOW}:cancel", held)


async def rejected_in_a_drain(start: Start, http_to: Open, ask: Ask) -> None:
    serving = await start()
    http = await http_to(serving)
    failed = await ended(http, ask, "fail")
    serving.service.stop_admitting()
    await ask(http, "POST", FLOWS, json=graph("echo"))
    await ask(http, "POST", f"{FLOW}:retry", failed)


REJECTIONS = (
    rejected_in_a_store,
    rejected_without_room,
    rejected_over_quota,
    rejected_in_quarantine,
    rejected_without_memory,
    rejected_by_the_journal,
    rejected_in_a_drain,
)


async def _until_ended(http: aiohttp.ClientSession, flow_id: str) -> None:
    """Poll, where no request may wait."""
    while True:
        async with http.get(f"{FLOWS}/{flow_id}") as response:
            if response.status == 200:
                return


def _refuse(kind: type[Refused]) -> None:
    raise kind("the disk is broken", 10.0)
