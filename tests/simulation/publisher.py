"""The publisher: a client that publishes data, and repeats it under its key; and the auditor's account of the jobs.

Rules:

1. Data that was accepted has one job of each subscriber whose patterns match, and listeners hear of it once.
2. Data that was rejected has no job and no listener, and the reason is valid.
3. A repeated publish under the key of an earlier one has the ids of that one's jobs, as far as they are held, and no
   further job. Under the key of other data it is rejected.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.core.events import Submitted
from jobqueue.errors import InvalidSubmission, JobQueueError, KeyReused, QueueFull, StaleLease
from tests.simulation.scenario import CALLERS
from tests.simulation.subscribers import ACTS, TOPICS, hears

if TYPE_CHECKING:
    from jobqueue.context import JobContext
    from jobqueue.publishing import Publication, Published
    from tests.simulation.deliveries import Deliveries
    from tests.simulation.fleet import Fleet

PAUSES_S = (0.0, 0.0, 0.25, 1.0, 3.0)
KEYS = 2


@dataclass(slots=True)
class Sent:
    """What was published under a key, and the ids of its jobs."""

    n: int
    topic: str
    data: bytes
    ids: list[str]


class Publisher:
    """One client for all topics of a run, with a generator of its own.

    Args:
        deliveries: The account of endpoints, which may be subscribers, too.
    """

    def __init__(self, fleet: Fleet, deliveries: Deliveries) -> None:
        self._fleet, self._deliveries = fleet, deliveries
        self._scenario, self._auditor, self._queue = fleet.scenario, fleet.auditor, fleet.queue
        self._rng = fleet.scenario.rng("publisher")
        self._topics = fleet.queue.service.topics
        # Other tasks run after the check of each subscriber, or of none. An endpoint may come and go meanwhile.
        self._races = self._rng.random() < 0.5 and not self._scenario.settings.webhooks.wanted
        self._topics.turn_s = 0.0 if self._races else math.inf
        self._wanted = bool(self._scenario.subscribers) or any(
            endpoint.topics for endpoint in self._scenario.settings.webhooks.endpoints.values()
        )
        self._names = {plan.name for plan in self._scenario.subscribers}
        self._children: dict[str, Sent] = {}
        if self._wanted:
            self._topics.listen(self._on_published)

    def begin(self) -> None:
        """Reset the account for a queue that has just started."""
        self._heard: Counter[int] = Counter()
        self._jobs: dict[int, Counter[str]] = {}
        self._touched: dict[int, str] = {}
        self._sent: dict[tuple[str | None, str], Sent] = {}
        self._children.clear()
        if self._wanted:
            self._auditor.backend.subscribe(self._on_submitted, Submitted)

    async def run(self) -> None:
        if not self._wanted:
            return
        rng = self._rng
        for _ in range(self._scenario.requests):
            await asyncio.sleep(rng.choice(PAUSES_S))
            if not self._queue.running:
                return
            await self._carry_out()

    async def _carry_out(self) -> None:
        """Publish in a task of its own, and cancel it with probability `cancelling`."""
        rng = self._rng
        task = asyncio.create_task(self._checked(), name="publish")
        try:
            if rng.random() < self._scenario.cancelling:
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait([task])
        finally:
            task.cancel()

    async def _checked(self) -> None:
        try:
            await self._publish()
        except RuntimeError:
            if self._queue.running:
                raise

    # -- publishing

    async def _publish(self) -> None:
        rng = self._rng
        key = f"publish {rng.randrange(KEYS)}" if rng.random() < 0.5 else None
        caller = rng.choice((None, CALLERS[0]))
        earlier = None if key is None else self._sent.get((caller, key))
        repeats = earlier is not None and rng.random() < 0.7
        sent = earlier if repeats and earlier is not None else self._new(rng.choice(TOPICS))
        await self._offer(sent, caller, key, earlier)

    def _new(self, topic: str) -> Sent:
        rng, n = self._rng, self._fleet.next_number()
        data: dict[str, Any] = {"n": n, "acts": [rng.choice(ACTS) for _ in range(rng.randint(1, 4))]}
        if rng.random() < 0.1:
            data["acts"] = "of a wrong type"
        return Sent(n, topic, msgspec.json.encode(data), [])

    async def _offer(self, sent: Sent, caller: str | None, key: str | None, earlier: Sent | None) -> None:
        auditor, heard = self._auditor, self._heard[sent.n]
        try:
            done = await self._topics.publish(sent.topic, sent.data, caller=caller, key=key)
        except JobQueueError as error:
            auditor.note("publisher", f"{sent.n} on {sent.topic}: {type(error).__name__}")
            auditor.counts[f"publish {type(error).__name__}"] += 1
            auditor.check(self._heard[sent.n] == heard, f"the publish of n{sent.n} was rejected, and accepted")
            self._check_reason(error, sent, earlier)
            return
        ids = [job.id for job in done.jobs]
        auditor.note("publisher", f"{sent.n} on {sent.topic}: {len(ids)} jobs{', repeated' if done.duplicate else ''}")
        auditor.counts["published again" if done.duplicate else "published"] += 1
        auditor.check(
            self._heard[sent.n] - heard == (not done.duplicate), f"listeners of n{sent.n} hear {self._heard[sent.n]}"
        )
        self._check_key(sent, done, earlier)
        auditor.check(all(each in auditor.known for each in ids), f"a job of n{sent.n} is not held")
        if not done.duplicate:
            sent.ids = ids
            self._fleet.ids += ids
            if key is not None:
                self._sent[caller, key] = sent

    def _held(self, sent: Sent | None) -> set[str]:
        return set() if sent is None else {each for each in sent.ids if each in self._auditor.known}

    def _lasting(self, sent: Sent | None) -> set[str]:
        """Return the held jobs but for those of endpoints that have left the settings.

        These are found no more, unless they have the key itself.
        """
        return {each for each in self._held(sent) if not self._deliveries.has_left(self._auditor.known[each])}

    def _check_key(self, sent: Sent, done: Publication, earlier: Sent | None) -> None:
        held, ids = self._held(earlier), {job.id for job in done.jobs}
        lasting = self._lasting(earlier)
        what = f"n{sent.n} has {ids}, and {held} are held under its key"
        self._auditor.check(not lasting or earlier is sent, f"n{sent.n} came under the key of other data")
        self._auditor.check(done.duplicate or not lasting, what)
        self._auditor.check(not done.duplicate or lasting <= ids <= held, what)

    def _check_reason(self, error: JobQueueError, sent: Sent, earlier: Sent | None) -> None:
        check, held = self._auditor.check, self._held(earlier)
        if isinstance(error, KeyReused):
            check(held and earlier is not sent, f"n{sent.n} was rejected for the key of other data, which isn't held")
            return
        check(earlier is not sent or not self._lasting(sent), f"n{sent.n} was repeated, and rejected: {error!r}")
        queues = self._auditor.engine.queue_states
        asked = Counter(
            plan.options["queue"] for plan in self._scenario.subscribers if hears(plan.patterns, sent.topic)
        )
        asked["webhooks"] = sum(
            hears(each.topics, sent.topic) for each in self._queue.settings.webhooks.endpoints.values()
        )
        if isinstance(error, QueueFull):
            full = any(count and queues[q].live + count > queues[q].policy.capacity for q, count in asked.items())
            check(full, f"n{sent.n} was rejected, and each queue has room for its jobs")
        if isinstance(error, InvalidSubmission):
            wide = any(count and count > queues[queue].policy.capacity for queue, count in asked.items())
            strict = any(plan.strict and hears(plan.patterns, sent.topic) for plan in self._scenario.subscribers)
            check(wide or (strict and b"wrong" in sent.data), f"n{sent.n} was rejected as {error}")

    async def publish_from(self, ctx: JobContext) -> None:
        """Publish from within a handler, under the same key in each attempt."""
        sent = self._children.get(ctx.job_id)
        if sent is None:
            n = self._fleet.next_number()
            sent = self._children[ctx.job_id] = Sent(n, "user.new", msgspec.json.encode({"n": n, "acts": ["ok"]}), [])
        held, lasting = self._held(sent), self._lasting(sent)
        try:
            ids = set(await ctx.publish(sent.topic, msgspec.json.decode(sent.data), key="once"))
        except StaleLease:
            return
        if self._races:  # records may have been evicted, and made anew, meanwhile
            held, lasting = self._held(sent), self._lasting(sent)
        repeated = not lasting or lasting <= ids <= held
        self._auditor.check(repeated, f"a handler has published n{sent.n}: {ids}, and {held} are held")
        self._auditor.counts["published by a handler"] += 1
        if not ids & held:
            sent.ids = [*ids]

    # -- jobs

    def _on_submitted(self, event: Submitted) -> None:
        job = event.job
        if job.spec.type in self._names:
            n = msgspec.json.decode(job.args)["data"]["n"]
            self._jobs.setdefault(n, Counter())[job.spec.type] += 1
            self._touched.setdefault(n, "")

    def _on_published(self, published: Published) -> None:
        n = msgspec.json.decode(published.data)["n"]
        self._heard[n] += 1
        self._touched[n] = published.topic
        self._deliveries.published(n, published.topic)

    def check(self) -> None:
        """Check that each publish has one job of each subscriber, or none; cheap enough for every loop iteration."""
        for n, topic in self._touched.items():
            made, heard = self._jobs.get(n, Counter()), self._heard[n]
            due = {plan.name: heard for plan in self._scenario.subscribers if topic and hears(plan.patterns, topic)}
            self._auditor.check(
                made == due, f"n{n} was published to {topic or 'none'}: {dict(made)} have jobs, of {due}"
            )
        self._touched.clear()
