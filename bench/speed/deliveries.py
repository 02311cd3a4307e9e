"""Cost of an end of a job: where an endpoint of webhooks listens to it, where none does, and without webhooks."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import TYPE_CHECKING

from jobqueue.backend.memory import MemoryBackend
from jobqueue.config import EndpointSettings, WebhooksSettings
from jobqueue.config.webhooks import WEBHOOK, WEBHOOKS
from jobqueue.core.engine import Engine
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import JobSpec
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import Success
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.runtime.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.config.webhooks import JobEnd
    from jobqueue.runtime.webhook_target import TopicSubscription
    from jobqueue.webhooks.message import Answer, Message

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LISTENING: dict[str, tuple[JobEnd, ...]] = {
    "an end, without webhooks": (),
    "an end, to which no endpoint listens": ("job.failed",),
    "an end that makes a delivery": ("job.succeeded", "job.failed"),
}


class NoSender:
    """Sends nothing: no delivery runs."""

    async def send(self, message: Message) -> Answer:
        raise AssertionError("no delivery runs")


class NoTopics:
    def set_others(self, subscribers: Sequence[TopicSubscription]) -> None:
        """Nothing is published."""


class DeliveryBench:
    """A backend whose jobs succeed. Args: events: The ends to which its endpoint listens; none: it has no webhooks."""

    def __init__(self, jobs: int, events: tuple[JobEnd, ...]) -> None:
        self._jobs = jobs
        self._engine = Engine(
            queues={name: QueuePolicy(capacity=2 * jobs, workers=2 * jobs) for name in ("default", WEBHOOKS)},
            ids=IdIssuer(secret=bytes(32), run=RUNS[1]),
            rng=Random(1),
            bounds=StoreBounds(jobs_max=4 * jobs),
            follow_ups=frozenset({WEBHOOK}),
        )
        self._backend = MemoryBackend(self._engine, now=lambda: 0.0)
        if events:
            endpoint = EndpointSettings(
                url="https://example.com/hooks", events=events, secret=SECRET, pending_max=1_000_000
            )
            settings = WebhooksSettings(endpoints={"crm": endpoint})
            webhooks = Webhooks(settings, NoSender(), NoTopics(), now=lambda: 0.0, wall=lambda at: at)
            webhooks.follow(self._backend)

    async def round(self) -> float:
        """Let all jobs succeed; return the nanoseconds of one end."""
        engine, spec = self._engine, JobSpec(type="echo")
        for _ in range(self._jobs):
            engine.submit(spec, b'{"value":1}', None, now=0.0)
        leases = [await self._backend.lease() for _ in range(self._jobs)]
        engine.take_events()
        before = time.thread_time_ns()
        for lease in leases:
            await self._backend.ack(lease.job_id, lease.attempt, Success(b"1"))
        took_ns = time.thread_time_ns() - before
        for job in list(engine.newest_first(None)):
            if job.live:
                await self._backend.cancel(job.id)
            await self._backend.delete(job.id)
        return took_ns / self._jobs


def measure_deliveries(jobs: int, rounds: int, note: Callable[[str, float], None]) -> None:
    """Measure the ends of this number of jobs."""

    async def measure() -> None:
        benches = {name: DeliveryBench(jobs, events) for name, events in LISTENING.items()}
        for _ in range(rounds):
            for name, bench in benches.items():
                note(name, await bench.round())

    asyncio.run(measure())


if __name__ == "__main__":
    measure_deliveries(1000, 5, lambda name, ns: print(f"{name}: {ns / 1000:.2f} µs"))
