"""Several servers over one store under load, while they and the store are killed and frozen; then all is audited."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import aiohttp

from bench.store import Store, free_ports
from tests.chaos.chain import documents, listed_twice, repeat_keys, work_off
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.served import Birth, Nursery
from tests.stores import Functions, client_of

SERVERS = 3
CLIENTS = 12
ANSWER_S = 5.0
TTL_S = 3.0
"""After this long without a sign of life a server's jobs run elsewhere: the least that the settings take."""

CACHE_S = 0.3
SHORT_FREEZE_S, LONG_FREEZE_S = 0.5, TTL_S + 1.5
NEAR_S = 0.02
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
PAUSE_S = (0.2, 0.8)
"""Between two faults: from, to."""

NAMESPACE = "chaos"


class Outcome(NamedTuple):
    """What a run has shown.

    Attributes:
        faults: What must not be: jobs lost, attempts that began twice, states that changed back, what the audit of the
            store found.
        injected: How often each kind of harm was done.
    """

    accepted: int
    unanswered: int
    attempts: int
    answers: Counter[int]
    injected: Counter[str]
    faults: list[str]


class Cluster:
    """The servers, each with a port of its own, so that clients find it again; they end with the block.

    Args:
        folder: There, and empty; gets the servers' logs.
        url: The address of the store.
        settings: Further ones of each server.
    """

    def __init__(self, folder: Path, url: str, **settings: str) -> None:
        self._ports = free_ports(SERVERS)
        self._url = url
        self._settings = settings
        self.runs = folder / "runs"
        self._nurseries = []
        for number in range(SERVERS):
            own = folder / str(number)
            own.mkdir()
            self._nurseries.append(Nursery(own, self.runs))
        self.https: list[aiohttp.ClientSession] = []

    async def __aenter__(self) -> Cluster:
        async with AsyncExitStack() as stack:
            for nursery in self._nurseries:
                await stack.enter_async_context(nursery)
            await asyncio.gather(*map(self.start, range(SERVERS)))
            timeout = aiohttp.ClientTimeout(total=ANSWER_S)
            for port in self._ports:
                session = aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout)
                self.https.append(await stack.enter_async_context(session))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for number in range(SERVERS):
            self.thaw(number)
        await self._stack.aclose()

    async def start(self, number: int) -> None:
        """Start a server that is not there."""
        settings = {
            "backend": "valkey",
            "valkey.url": self._url,
            "valkey.namespace": NAMESPACE,
            "valkey.ttl_s": f"{TTL_S}s",
            "valkey.cache_s": f"{CACHE_S}s",
            "valkey.call_timeout_s": f"{TTL_S / 3}s",
            "server.port": str(self._ports[number]),
            "server.drain_s": "5",
            "server.linger_s": "0",
            "statuses.ttl_s": "3600",
            "limits.loop_lag_max_s": "60s",
            **self._settings,
        }
        await self._nurseries[number].start(Birth(settings, small_files=False))

    async def kill(self, number: int) -> None:
        await self._nurseries[number].kill()

    def freeze(self, number: int) -> None:
        os.kill(self._nurseries[number].pid, signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        if pid := self._nurseries[number].pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    async def stop(self, number: int) -> int:
        """End a server in order; return its exit code."""
        return await self._nurseries[number].stop()

    def events(self) -> Counter[str]:
        """Count what the present servers have logged, by event."""
        return Counter(str(event["event"]) for nursery in self._nurseries for event in nursery.events())


async def run_under(
    cluster: Cluster, store: Store, harm: Callable[[Cluster, Store, Random, Counter[str]], Any], seed: int
) -> Outcome:
    """Have clients do everything while harm is done, then wait for the end of all jobs, and audit."""
    ledger, rng, injected = Ledger(), Random(seed), Counter[str]()
    load = Load(cluster.https, ledger, rng, clients=CLIENTS, lasting=True)
    running = asyncio.create_task(load.run())
    try:
        await harm(cluster, store, rng, injected)
    finally:
        load.stop()
        await running
    await audit(cluster, store, ledger)
    runs = cluster.runs.read_text().splitlines()
    return Outcome(len(ledger.accepted), ledger.unanswered, len(runs), ledger.answers, injected, ledger.faults)


async def audit(cluster: Cluster, store: Store, ledger: Ledger) -> None:
    """Compare, once nothing runs any more, what each server tells with what clients were told; audit the store."""
    first, *others = cluster.https
    await repeat_keys(first, ledger)
    await work_off(first)
    await asyncio.sleep(2 * CACHE_S)
    found = await documents(first, ledger)
    ledger.check(found)
    ledger.check_end(found, cluster.runs.read_text().splitlines())
    ledger.faults += await listed_twice(first)
    for http in others:
        if (told := await documents(http, ledger)) != found:
            ledger.faults += [f"two servers differ: {each}" for each in differences(found, told)]
    client = client_of(store)
    try:
        ledger.faults += [f"audit: {fault}" for fault in Functions(client, NAMESPACE).audit()]
    finally:
        client.close()


def differences(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> list[str]:
    """Return the members in which documents of the same jobs differ, of each job."""
    found = []
    for id_, document in one.items():
        theirs = other.get(id_, {})
        members = {name: (value, theirs.get(name)) for name, value in document.items()}
        if differing := {name: both for name, both in members.items() if not are_alike(*both)}:
            found.append(f"{id_}: {differing}")
    return found


def are_alike(one: Any, other: Any) -> bool:
    """Return whether two values are the same but for some milliseconds of the instants in them.

    Each server follows the store's clock, and what it takes for the difference may have changed meanwhile.
    """
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(are_alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(are_alike(value, other[name]) for name, value in one.items())
    if one == other:
        return True
    if not (isinstance(one, str) and isinstance(other, str) and INSTANT.fullmatch(one) and INSTANT.fullmatch(other)):
        return False
    return abs((datetime.fromisoformat(one) - datetime.fromisoformat(other)).total_seconds()) <= NEAR_S


async def kill_server(cluster: Cluster, rng: Random) -> None:
    number = rng.randrange(SERVERS)
    await cluster.kill(number)
    await asyncio.sleep(rng.uniform(0.0, 0.5))
    await cluster.start(number)


async def freeze_server(cluster: Cluster, rng: Random, seconds: float) -> None:
    number = rng.randrange(SERVERS)
    cluster.freeze(number)
    await asyncio.sleep(seconds)
    cluster.thaw(number)


async def kill_store(store: Store, rng: Random) -> None:
    store.kill()
    await asyncio.sleep(rng.uniform(0.0, 0.5))
    await asyncio.to_thread(store.start)


async def freeze_store(store: Store, rng: Random) -> None:
    store.freeze()
    await asyncio.sleep(rng.uniform(0.2, 1.5))
    store.thaw()


HARM: Sequence[tuple[str, int]] = (
    ("server killed", 5),
    ("server frozen", 3),
    ("server frozen for longer than its TTL", 1),
    ("store killed", 3),
    ("store frozen", 2),
)
"""Each kind of harm, and how often it is chosen."""


def harm_of(times: int, kinds: Sequence[tuple[str, int]] = HARM) -> Callable[..., Any]:
    """Return harm that is done this often, one kind after another at first, and then at random."""

    async def harm(cluster: Cluster, store: Store, rng: Random, injected: Counter[str]) -> None:
        names, weights = zip(*kinds, strict=True)
        for number in range(times):
            await asyncio.sleep(rng.uniform(*PAUSE_S))
            name = names[number] if number < len(names) else rng.choices(names, weights)[0]
            injected[name] += 1
            match name:
                case "server killed":
                    await kill_server(cluster, rng)
                case "server frozen":
                    await freeze_server(cluster, rng, SHORT_FREEZE_S)
                case "server frozen for longer than its TTL":
                    await freeze_server(cluster, rng, LONG_FREEZE_S)
                case "store killed":
                    await kill_store(store, rng)
                case _:
                    await freeze_store(store, rng)
        await asyncio.sleep(PAUSE_S[1])

    return harm
