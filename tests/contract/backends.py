"""The backends that the conformance suite runs on: one factory each."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Protocol

from jobqueue.backend.journaled import JournaledBackend
from jobqueue.backend.memory import MemoryBackend
from jobqueue.core.engine import Engine
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.quotas import Quota, Quotas
from tests.backend.far import FarBackend
from tests.backend.journal.faulty_disk import FaultyDisk
from tests.backend.journal.keeping import at_once, kept_backend, spec_of
from tests.backend.keeping import LateKeeper
from tests.backend.valkey.backends import backend_on
from tests.backend.valkey.process_calls import namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.store import Store
    from jobqueue.backend.base import Backend

CAPACITY = 6000

SECRET = b"0123456789abcdef"


class Make(Protocol):
    """Makes an empty backend for one test, on the running loop and its clock, which may be virtual.

    Its queues are `default`, with `CAPACITY` slots, and `small`, with one slot, overridden by `queues`. Its pool
    `process` has one permit.
    """

    def __call__(self, *, caller_jobs_max: int | None = None, **queues: QueuePolicy) -> Backend: ...


def _engine(caller_jobs_max: int | None, queues: dict[str, QueuePolicy], ids: IdIssuer | None = None) -> Engine:
    return Engine(
        queues={"default": QueuePolicy(capacity=CAPACITY), "small": QueuePolicy(capacity=1)} | queues,
        ids=ids or IdIssuer(secret=SECRET, run=RUNS[1]),
        rng=Random(1),
        pools={"process": 1},
        quotas=Quotas(Quota(jobs_max=caller_jobs_max)),
    )


def memory(*, caller_jobs_max: int | None = None, **queues: QueuePolicy) -> MemoryBackend:
    engine = _engine(caller_jobs_max, queues)
    return MemoryBackend(engine, now=asyncio.get_running_loop().time)


def kept_later(*, caller_jobs_max: int | None = None, **queues: QueuePolicy) -> JournaledBackend:
    engine = _engine(caller_jobs_max, queues)
    return JournaledBackend(engine, LateKeeper(), now=asyncio.get_running_loop().time)


def far(*, caller_jobs_max: int | None = None, **queues: QueuePolicy) -> FarBackend:
    ids = IdIssuer(secret=SECRET, run=RUNS[1])
    engine = _engine(caller_jobs_max, queues, ids)
    return FarBackend(engine, ids, now=asyncio.get_running_loop().time)


@contextmanager
def on_disk() -> Iterator[Make]:
    """Return the factory of backends with a journal, each on an in-memory disk that is erased at the end."""
    disks: list[FaultyDisk] = []

    def journal(*, caller_jobs_max: int | None = None, **queues: QueuePolicy) -> JournaledBackend:
        disks.append(FaultyDisk())
        backend, journal = kept_backend(
            disks[-1],
            queues={"default": QueuePolicy(capacity=CAPACITY), "small": QueuePolicy(capacity=1)} | queues,
            segment_bytes=4 * 1024 * 1024,
            pools={"process": 1},
            quotas=Quotas(Quota(jobs_max=caller_jobs_max)),
        )
        at_once(journal.restore(spec_of, lambda job_type: True))
        return backend

    try:
        yield journal
    finally:
        for disk in disks:
            disk.erase()


@contextmanager
def on_store(store: Store, *, twice: bool) -> Iterator[Make]:
    """Return the factory of backends in a store, each with a namespace of its own."""
    connections = []

    def valkey(*, caller_jobs_max: int | None = None, **queues: QueuePolicy) -> Backend:
        backend, calls = backend_on(
            store,
            namespace(),
            queues={"default": QueuePolicy(capacity=CAPACITY), "small": QueuePolicy(capacity=1)} | queues,
            pools={"process": 1},
            quotas=Quotas(Quota(jobs_max=caller_jobs_max)),
        )
        calls.twice = twice
        connections.append(calls)
        return backend

    try:
        yield valkey
    finally:
        for calls in connections:
            calls.disconnect()


BACKENDS: dict[str, Make] = {"memory": memory, "kept_later": kept_later, "far": far}
