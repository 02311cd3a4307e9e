"""Backends on a store that blocks: several of them are several processes."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

from jobqueue.backend.valkey.backend import ValkeyBackend
from jobqueue.core.job import JobSpec
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.quotas import Quotas
from jobqueue.core.store_bounds import StoreBounds
from tests.backend.journal.keeping import at_once
from tests.backend.valkey.process_calls import ProcessCalls, namespace

if TYPE_CHECKING:
    from bench.store import Store
    from jobqueue.core.job import JobId
    from jobqueue.core.job_view import JobView

QUEUES = {"default": QueuePolicy()}
SPEC = JobSpec(type="t", attempts_max=3)
TTL_S = 15.0


def backend_on(store: Store, namespace: str, **given: Any) -> tuple[ValkeyBackend, ProcessCalls]:
    """Make a backend, and open it."""
    calls = ProcessCalls(store, namespace)
    parts: dict[str, Any] = {
        **{"queues": QUEUES, "bounds": StoreBounds(), "types": (), "spec_of": lambda spec: spec, "pools": {}},
        **{"quotas": Quotas(), "rng": Random(1), "now": asyncio.get_running_loop().time, "namespace": namespace},
    }
    backend = ValkeyBackend(calls, **(parts | {"process_ttl_s": TTL_S, "cache_s": 1.0, "info": "host:1"} | given))
    at_once(backend.open())
    return backend, calls


class Places:
    """The workers of a process, which never begin by themselves; records what they are told.

    Attributes:
        count: Places that are free.
    """

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self.called: list[int] = []
        self.stopped: list[tuple[JobId, int]] = []
        self.abandoned: list[tuple[JobId, int]] = []

    def reinforce(self, jobs: int) -> None:
        self.called.append(jobs)

    def free(self) -> int:
        return self.count

    def stop(self, job_id: JobId, attempt: int) -> None:
        self.stopped.append((job_id, attempt))

    def abandon(self, job_id: JobId, attempt: int) -> None:
        self.abandoned.append((job_id, attempt))


class Server:
    """A process on a store."""

    def __init__(self, store: Store, namespace: str, places: int, **parts: Any) -> None:
        self.backend, self.calls = backend_on(store, namespace, **parts)
        self.places = Places(places)

    async def submit(self, spec: JobSpec = SPEC, **options: Any) -> JobView:
        return (await self.backend.submit(spec, **options)).job

    async def leased(self) -> JobId:
        """Lease a job, as a worker with a suspending handler does, and return its id."""
        lease = await self.backend.lease()
        self.backend.pass_on()
        return lease.job_id

    def freeze(self) -> None:
        """As if the process were suspended, or killed: it says nothing any more."""
        self.calls.out = self.calls.deaf = True

    def thaw(self) -> None:
        """Let it go on; its connection is a new one."""
        self.calls.out = self.calls.deaf = False
        self.calls.reconnect()


class Fleet:
    """Processes on one store."""

    def __init__(self, store: Store) -> None:
        self._store, self._namespace = store, namespace()
        self.servers: list[Server] = []
        self._raised: list[str] = []

    async def server(self, places: int = 0, **parts: Any) -> Server:
        """Start one more."""
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: self._raised.append(str(context)))
        server = Server(self._store, self._namespace, places, **parts)
        self.servers.append(server)
        await server.backend.start(server.places)
        return server

    def take_raised(self) -> list[str]:
        """Return what was raised in callbacks of the loop since the last call."""
        raised, self._raised[:] = self._raised[:], []
        return raised

    def close(self) -> list[str]:
        """End all; return what is wrong in the store, and what was raised in callbacks of the loop."""
        faults = self._raised + (self.servers[0].calls.audit() if self.servers else [])
        for server in self.servers:
            server.calls.disconnect()
        return faults


async def pass_time(seconds: float) -> None:
    """Let time pass, and every task run until it waits."""
    await asyncio.sleep(seconds)
