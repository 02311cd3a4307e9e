"""A row of servers over one journal, each killed under load at a random instant, and audited by the next one."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import aiohttp

from tests.chaos.ledger import TERMINAL, Ledger
from tests.chaos.load import Load
from tests.chaos.served import Birth, Nursery, settings

LOAD_S = (0.02, 0.35)
"""How long a server is under load before it is killed: from, to."""

SETTLED_S = 0.3
"""A terminal state that was seen this long before the kill is kept by then: several commits have passed."""

WORK_OFF_S = 30.0
PAGE = 100


class Outcome(NamedTuple):
    """What a chain has shown."""

    kills: int
    accepted: int
    unanswered: int
    answers: Counter[int]
    faults: list[str]


async def run_chain(folder: Path, seeds: Sequence[int], sync: str) -> Outcome:
    """Kill a server for each seed; then let the last one work off what is left, and start once more after its stop.

    Args:
        folder: There, and empty; becomes the journal's parent, with the log and the runs.
        sync: `always` or `interval`.
    """
    ledger = Ledger()
    birth = Birth(settings(folder, sync))
    async with Nursery(folder) as nursery:
        for seed in seeds:
            url = await nursery.start(birth)
            async with aiohttp.ClientSession(url) as http:
                await _audit(http, ledger)
                await _load_and_kill(nursery, http, ledger, Random(seed))
        url = await nursery.start(birth)
        async with aiohttp.ClientSession(url) as http:
            await _audit(http, ledger)
            await work_off(http)
            ledger.check_end(await documents(http, ledger), nursery.runs.read_text().splitlines())
            ledger.faults += await listed_twice(http)
        code = await nursery.stop()
        if code:
            ledger.faults.append(f"the stop ended with {code}")
        url = await nursery.start(birth)
        async with aiohttp.ClientSession(url) as http:
            ledger.check_end(await documents(http, ledger), nursery.runs.read_text().splitlines())
        await nursery.stop()
    return Outcome(len(seeds), len(ledger.accepted), ledger.unanswered, ledger.answers, ledger.faults)


async def _load_and_kill(nursery: Nursery, http: aiohttp.ClientSession, ledger: Ledger, rng: Random) -> None:
    load = asyncio.create_task(Load([http], ledger, rng, clients=rng.choice((1, 4, 16))).run())
    try:
        await asyncio.sleep(rng.uniform(*LOAD_S))
        at = time.monotonic()
        await nursery.kill()
        await load
    finally:
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
    ledger.forget_latest(at - SETTLED_S)


async def _audit(http: aiohttp.ClientSession, ledger: Ledger) -> None:
    """Compare what a new server tells with what its forerunners have told."""
    ledger.check(await documents(http, ledger))
    await repeat_keys(http, ledger)
    # Three starts after kills within a minute, and the next one is paused.
    async with http.post("/v1/queues/default:resume") as response:
        response.raise_for_status()


async def repeat_keys(http: aiohttp.ClientSession, ledger: Ledger) -> None:
    """Submit once more whatever had an Idempotency-Key: the job is the one that was answered, if any was."""
    for key, (submission, body) in ledger.bodies.items():
        headers = {"Idempotency-Key": f'"{key}"'}
        async with http.post("/v1/jobs", json=body, headers=headers) as response:
            document = await response.json(content_type=None)
        gone = ledger.keys.get(key) in ledger.deleted | ledger.maybe_deleted
        if response.status in (200, 202) and not gone:
            ledger.was_accepted(document["id"], submission)
            ledger.was_kept(key, document["id"])
        elif not gone:
            ledger.faults.append(f"key {key} was answered {response.status}: {document}")
    ledger.bodies.clear()


async def documents(http: aiohttp.ClientSession, ledger: Ledger) -> dict[str, dict[str, Any]]:
    """Return the document of each accepted job, or what stands in its place, by id."""
    ids = list(ledger.accepted)
    found = {}
    for start in range(0, len(ids), PAGE):
        async with http.get("/v1/jobs", params={"ids": ",".join(ids[start : start + PAGE])}) as response:
            response.raise_for_status()
            found |= {document["id"]: document for document in (await response.json())["jobs"]}
    return found


async def work_off(http: aiohttp.ClientSession) -> None:
    """Wait until no job is live."""
    async with asyncio.timeout(WORK_OFF_S):
        while True:
            async with http.get("/v1/queues/default") as response:
                queue = await response.json()
            if not queue["delayed"] + queue["queued"] + queue["running"]:
                return
            await asyncio.sleep(0.02)


async def listed_twice(http: aiohttp.ClientSession) -> list[str]:
    """Return the faults of the lists by state: a job in two of them, or a live one."""
    seen: dict[str, str] = {}
    faults = []
    for state in ("delayed", "queued", "running", *sorted(TERMINAL)):
        cursor: str | None = ""
        while cursor is not None:
            params = {"state": state, "limit": str(PAGE), **({"cursor": cursor} if cursor else {})}
            async with http.get("/v1/jobs", params=params) as response:
                page = await response.json()
            for document in page["jobs"]:
                if (before := seen.setdefault(document["id"], state)) != state or state not in TERMINAL:
                    faults.append(f"{document['id']} is listed as {state}, and as {before}")
            cursor = page["next_cursor"]
    return faults
