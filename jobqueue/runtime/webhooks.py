"""Webhooks: makes a job of each delivery, from the ends of other jobs and the data of topics, and runs it.

Rules:

1. A delivery is submitted as soon as all listeners have heard of the end that it tells, before anything else happens: a
   journal keeps both or neither, as they are in one frame of its log. They are in two where a frame has reached its 8
   MiB between them: a crash between the writes of both keeps the end alone. Not sooner: its room may be that of a
   record which has ended in the same step.
2. The end of a delivery makes none: its type is passed over first.
3. The id of a message is that of its delivery's job, so it is the same in each attempt, and after a retry on request.
4. An answer from 200 to 299 is a success. 410 disables the endpoint until its settings change or the queue starts
   again; any other answer, and none, is a failed attempt. The next one waits for the backoff, or for as long as
   `Retry-After` says. A refused address is final.
5. An endpoint with topics is one of their subscribers: its delivery is one of the jobs of a publish, all of them or
   none.
6. What can't be submitted (the queue is full, the receiver has `pending_max` deliveries, it is disabled) is dropped,
   counted, and logged: a receiver must never hold up jobs.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec  # noqa: TC002  # the signature of a handler is read from its annotations

from jobqueue.config.webhooks import TIMEOUT_S_MAX, WEBHOOK, WEBHOOKS
from jobqueue.context import JobContext  # noqa: TC001  # as the last import
from jobqueue.core.backoff import Backoff
from jobqueue.core.events import Ended, Retried, Submitted
from jobqueue.core.job import FAILED
from jobqueue.core.job_filter import JobFilter
from jobqueue.core.policy import Limits
from jobqueue.core.record import changed
from jobqueue.errors import Refused, Reject, Retry
from jobqueue.handlers import HandlerOptions, Registry, plain_uniqueness, register
from jobqueue.log import event_logger
from jobqueue.runtime.webhook_target import CALLBACK, Target, TopicSubscription
from jobqueue.webhooks.addresses import Allowed
from jobqueue.webhooks.message import AddressRefused, Message, Undelivered
from jobqueue.webhooks.payload import end_of_job
from jobqueue.webhooks.signature import signature
from jobqueue.webhooks.url import places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.backend.local import LocalBackend
    from jobqueue.config.webhooks import WebhooksSettings
    from jobqueue.core.job import Job, JobId, Uniqueness
    from jobqueue.errors import JournalFailed
    from jobqueue.handlers import Handler
    from jobqueue.runtime.webhook_target import TargetFigures
    from jobqueue.webhooks.message import Answer

BACKOFF = Backoff(backoff_s_base=10.0, backoff_s_max=3600.0)
AT_ONCE = 8
"""Deliveries to one receiver that run at the same time."""

PAGE = 1000
"""Records that are read at once, where live deliveries are looked for."""

RETRY_AFTER_S_MIN = 1.0
USER_AGENT = "jobqueue"
GONE, REDIRECTS = 410, range(300, 400)

log = event_logger(__name__)


class Sends(Protocol):
    """Sends messages to receivers."""

    async def send(self, message: Message) -> Answer:
        """Send a message, and return the answer. Raises Undelivered, AddressRefused."""
        ...


class Topics(Protocol):
    """What is published (`jobqueue.publishing`)."""

    def set_others(self, subscribers: Sequence[TopicSubscription]) -> None:
        """Replace the subscribers that are no handlers."""


class Webhooks:
    """The deliveries of one run of a queue.

    Args:
        topics: Those that endpoints may subscribe to.
        now: The clock of the queue, in seconds.
        wall: Converts its instants to Unix seconds.

    Attributes:
        handler: That of the deliveries' type.
    """

    def __init__(
        self,
        settings: WebhooksSettings,
        sender: Sends,
        topics: Topics,
        *,
        now: Callable[[], float],
        wall: Callable[[float], float],
    ) -> None:
        self._sender, self._topics = sender, topics
        self._now, self._wall = now, wall
        self._backend: LocalBackend | None = None
        self._targets: dict[str, Target] = {}
        # All live deliveries, by the name of their receiver, which may be back in the settings later.
        self._live: dict[JobId, str] = {}
        self._ended: list[tuple[Job, list[Target]]] = []
        self.handler = _handler_of(self.deliver)
        self.apply(settings)

    def apply(self, settings: WebhooksSettings) -> None:
        """Put settings into effect, at the start and after a reload. A receiver that has the same ones goes on."""
        self._allowed = Allowed(settings.allow)
        before, self._targets = self._targets, {}
        for target in Target.of(settings, self.handler.default_spec):
            if (known := before.get(target.name)) is not None:
                target.go_on_from(known)
            self._targets[target.name] = target
        self._by_callback = {
            name.removeprefix(CALLBACK): target for name, target in self._targets.items() if target.endpoint is None
        }
        pending = Counter(self._live.values())
        for target in self._targets.values():
            target.pending = pending[target.name]
        self._topics.set_others(
            [
                TopicSubscription(self._targets[name], endpoint.topics, lambda: self._wall(self._now()))
                for name, endpoint in settings.endpoints.items()
                if endpoint.topics
            ]
        )

    async def count_kept(self, backend: LocalBackend) -> None:
        """Count the live deliveries that a journal has kept, before `follow`."""
        for job_id, name in await _live_deliveries(backend):
            self._count_live(job_id, name)

    def follow(self, backend: LocalBackend) -> None:
        """Deliver what happens in a backend from now on. The listeners before this one have heard of an end first."""
        self._backend = backend
        backend.subscribe(self._on_live, Submitted, Retried)
        backend.subscribe(self._on_ended, Ended)

    def close(self) -> None:
        """Subscribe to no topic any more."""
        self._topics.set_others(())

    def figures(self) -> list[TargetFigures]:
        """Return what is shown of each receiver: of endpoints first, then of hosts of callbacks."""
        return [target.figures() for target in self._targets.values()]

    # -- from events to jobs

    def _on_live(self, event: Submitted | Retried) -> None:
        """Count a delivery, whether it comes from the end of a job, from a topic or from a retry on request."""
        job = event.job
        if job.spec.type == WEBHOOK:
            self._count_live(job.id, job.spec.group or "")

    def _count_live(self, job_id: JobId, name: str) -> None:
        self._live[job_id] = name
        if (target := self._targets.get(name)) is not None:
            target.pending += 1

    def deliver_ends(self, ended: Sequence[Job]) -> None:
        """Submit the deliveries of ends that listeners don't hear of, at once."""
        for job in ended:
            self._note_end(job)
        self._tell_ends()

    def _on_ended(self, event: Ended) -> None:
        is_first = not self._ended
        self._note_end(event.job)
        if is_first and self._ended:
            assert self._backend is not None, "events come from it"
            self._backend.call_after_events(self._tell_ends)

    def _note_end(self, job: Job) -> None:
        """Note the end of a job that is to be told; count that of a delivery."""
        if job.spec.type == WEBHOOK:
            self._delivery_ended(job)
            return
        targets = [target for target in self._targets.values() if target.wants_end_of(job)]
        if targets or job.spec.callback is not None:
            self._ended.append((job, targets))

    def _tell_ends(self) -> None:
        """Submit the deliveries of the ends that were noted."""
        ended, self._ended = self._ended, []
        for job, targets in ended:
            told: bytes | None = None
            for target in targets:
                if target.takes_one():
                    told = end_of_job(job, self._wall) if told is None else told
                    self._submit(target, told)
            if job.spec.callback is not None:
                self._call_back(job, job.spec.callback)

    def _call_back(self, job: Job, url: str) -> None:
        target = next((self._by_callback[place] for place in places_of(url) if place in self._by_callback), None)
        if target is None:  # of a job that was accepted with other settings
            log.sampled("webhook.dropped", every_s=10.0, webhook=None, reason="its host is not listed any more")
        elif target.takes_one():
            # It counts as a job of the caller that asked for it, and belongs to the same owner.
            identity = None if job.caller is None else plain_uniqueness(job.caller, job.owner)
            self._submit(target, end_of_job(job, self._wall), url, identity)

    def _submit(self, target: Target, event: bytes, url: str | None = None, identity: Uniqueness | None = None) -> None:
        """Submit a delivery, or drop it."""
        backend = self._backend
        assert backend is not None, "ends come from it"
        try:
            job = backend.submit_now(target.spec, target.arguments(event, url), None, identity).job
        except Refused as refusal:
            target.dropped(str(refusal))
        else:
            if backend.defers:
                backend.when_kept(partial(_withdraw_unkept, backend, job.id))

    def _delivery_ended(self, job: Job) -> None:
        was_live = self._live.pop(job.id, None) is not None  # else a recovery has ended it
        target = self._targets.get(job.spec.group or "")
        if target is not None:
            target.pending -= was_live
            target.failed_total += job.state is FAILED

    # -- the handler

    async def deliver(
        self, ctx: JobContext, to: str, event: msgspec.Raw, url: str | None = None
    ) -> dict[str, int | float]:
        """Send an event to the receiver of a webhook."""
        target = self._targets.get(to)
        if target is None:
            raise Reject(f"the settings have no receiver {to!r} any more")
        if target.disabled is not None:
            raise Reject(target.disabled)
        try:
            answer = await self._sender.send(self._message(target, ctx.job_id, bytes(event), url))
        except Undelivered as error:
            self._present(target).attempted(self._now(), ctx.job_id, str(error))
            if isinstance(error, AddressRefused):
                raise Reject(str(error)) from None
            raise Retry(message=str(error)) from None
        failure = _failure_of(target.host, answer)
        asked, target = target, self._present(target)
        target.attempted(self._now(), ctx.job_id, failure)
        if failure is None:
            return {"status": answer.status}
        if answer.status == GONE:
            if target.endpoint == asked.endpoint:
                self._disable(target)
            raise Reject(failure)
        after_s = None if answer.retry_after_s is None else max(RETRY_AFTER_S_MIN, answer.retry_after_s)
        raise Retry(after_s, failure)

    def _present(self, target: Target) -> Target:
        """Return the receiver that has taken a receiver's place, by a reload while a message to it was on its way."""
        return self._targets.get(target.name, target)

    def _message(self, target: Target, job_id: str, body: bytes, url: str | None) -> Message:
        message_id, timestamp = f"msg_{job_id}", int(self._wall(self._now()))
        return Message(
            url=target.url if url is None else url,
            headers={
                "Content-Type": "application/json",
                "User-Agent": USER_AGENT,
                "webhook-id": message_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": signature(target.keys, message_id, timestamp, body),
            },
            body=body,
            allowed=self._allowed,
            timeout_s=target.timeout_s,
        )

    def _disable(self, target: Target) -> None:
        """Send an endpoint nothing more. Of callbacks one URL is gone, and the others of its host are not."""
        if target.endpoint is not None and target.disabled is None:
            target.disabled = f"{target.host} answered 410: it wants no more events"
            log.warning("webhook.disabled", webhook=target.name, reason=target.disabled)


def _handler_of(deliver: Callable[..., Any]) -> Handler:
    registry = Registry()
    options = HandlerOptions(
        name=WEBHOOK,
        queue=WEBHOOKS,
        timeout_s=TIMEOUT_S_MAX + 5.0,  # the sender's own timeout comes first, and says more
        backoff=BACKOFF,
        redact=("url",),  # it may hold a secret of the receiver
    )
    register(registry, deliver, options)
    handler = registry.get(WEBHOOK)
    # A delivery may belong to the owner that asked for it, and a receiver has one group.
    handler.default_spec = changed(handler.default_spec, limits=Limits(group_concurrency=AT_ONCE, across_owners=True))
    return handler


async def _live_deliveries(backend: LocalBackend) -> list[tuple[JobId, str]]:
    """Return the ids of live deliveries, each with the name of its receiver."""
    left = sum(
        queue.waiting + queue.delayed + queue.queued + queue.running
        for queue in backend.stats()[1]
        if queue.name == WEBHOOKS
    )
    found: list[tuple[JobId, str]] = []
    cursor = None
    while left > len(found):
        page = await backend.page(JobFilter(type=WEBHOOK), limit=PAGE, cursor=cursor)
        found += [(job.id, job.spec.group or "") for job in page.jobs if job.live]
        cursor = page.cursor
        if cursor is None:
            break
    return found


def _failure_of(host: str, answer: Answer) -> str | None:
    """Return why an answer is a failure, in words; None: it is a success."""
    if 200 <= answer.status < 300:
        return None
    if answer.status in REDIRECTS:
        return f"{host} answered {answer.status}, and redirects are not followed"
    return f"{host} answered {answer.status}"


def _withdraw_unkept(backend: LocalBackend, job_id: JobId, error: JournalFailed | None) -> None:
    """Withdraw a delivery that can't be kept; the journal itself says why."""
    if error is not None:
        backend.withdraw(job_id)
