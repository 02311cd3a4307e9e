"""The backends that the conformance suite runs on: one factory each."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Protocol

from jobqueue.backend.memory import MemoryBackend
from jobqueue.core.engine import Engine
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.quotas import Quota, Quotas

if TYPE_CHECKING:
    from jobqueue.backend.base import Backend

CAPACITY = 6000


class Make(Protocol):
    """Makes an empty backend for one test, on the running loop and its clock, which may be virtual.

    Its queues are `default`, with `CAPACITY` slots, and `small`, with one slot, overridden by `queues`. Its pool
    `process` has one permit.
    """

    def __call__(self, *, caller_jobs_max: int | None = None, **queues: QueuePolicy) -> Backend: ...


def memory(*, caller_jobs_max: int | None = None, **queues: QueuePolicy) -> MemoryBackend:
    engine = Engine(
        queues={"default": QueuePolicy(capacity=CAPACITY), "small": QueuePolicy(capacity=1)} | queues,
        ids=IdIssuer(secret=b"0123456789abcdef", run=RUNS[1]),
        rng=Random(1),
        pools={"process": 1},
        quotas=Quotas(Quota(jobs_max=caller_jobs_max)),
    )
    return MemoryBackend(engine, now=asyncio.get_running_loop().time)


BACKENDS: dict[str, Make] = {"memory": memory}
