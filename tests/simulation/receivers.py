"""The receivers of a run: endpoints of webhooks and a host of callbacks, which answer as the seed draws it.

They accept, fail, ask for a pause, are slow, can't be reached, have an address that is refused, or want no more events.
Meanwhile the settings of endpoints change.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

import msgspec

from jobqueue.config import EndpointSettings, QueueSettings, WebhooksSettings
from jobqueue.config.webhooks import WEBHOOK, WEBHOOKS
from jobqueue.core.policy import Discipline
from jobqueue.webhooks.message import AddressRefused, Answer, Undelivered
from tests.simulation.subscribers import PATTERNS

if TYPE_CHECKING:
    from jobqueue.app import JobQueue
    from jobqueue.webhooks.message import Message
    from tests.simulation.deliveries import Deliveries
    from tests.simulation.scenario import Scenario

SHARE = 0.3
"""Runs with webhooks."""

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NAMES = ("crm", "mail", "stock")
CALLBACK_HOST = "app.example.com"
CALLBACKS = (f"https://{CALLBACK_HOST}/a", f"https://{CALLBACK_HOST}/b")
ENDS = ("job.succeeded", "job.failed", "job.cancelled", "job.expired")

TEMPERS = (
    ("accepts",),
    ("accepts", "accepts", "fails", "pauses", "slow", "redirects", "unreachable"),
    ("fails", "unreachable", "slow"),
    ("accepts", "accepts", "accepts", "fails", "gone"),
    ("accepts", "pauses", "refused"),
)
"""What a receiver draws each of its answers from."""

STEERING_PAUSES_S = (0.5, 1.0, 5.0)
STEERS_MAX = 20


def draw_webhooks(seed: int, types: tuple[str, ...], queues: tuple[str, ...]) -> WebhooksSettings:
    """Return the settings of a seed, most often without a receiver."""
    rng = Random(f"{seed}/webhooks")
    if rng.random() >= SHARE:
        return WebhooksSettings()
    callbacks = rng.random() < 0.5
    return WebhooksSettings(
        secret=SECRET,
        callbacks=callbacks,
        callback_hosts=(CALLBACK_HOST,) if callbacks else (),
        endpoints={name: draw_endpoint(rng, name, types, queues) for name in NAMES[: rng.randint(1, 3)]},
    )


def draw_endpoint(rng: Random, name: str, types: tuple[str, ...], queues: tuple[str, ...]) -> EndpointSettings:
    ends = tuple(end for end in ENDS if rng.random() < 0.6)
    return EndpointSettings(
        url=f"https://{name}.example.com/{rng.choice('xy')}",
        events=ends,  # type: ignore[arg-type]  # each is one of the literals
        topics=(rng.choice(PATTERNS),) if not ends or rng.random() < 0.4 else (),
        types=rng.choice(((), (), (types[0], WEBHOOK))),
        queues=rng.choice(((), (), (queues[0], WEBHOOKS))),
        timeout_s=rng.choice((1.0, 15.0)),
        attempts_max=rng.choice((1, 2, 4)),
        pending_max=rng.choice((1, 4, 1000)),
    )


def draw_queue_of_deliveries(seed: int) -> QueueSettings:
    rng = Random(f"{seed}/deliveries")
    return QueueSettings(
        workers=rng.choice((1, 4, 64)),
        capacity=rng.choice((3, 20, 10_000)),
        discipline=rng.choice((Discipline.FAIR, Discipline.FAIR, Discipline.FIFO, Discipline.LIFO)),
        retry_budget=0,
    )


class Receivers:
    """Answers each message, and changes the settings of endpoints while the queue runs.

    Args:
        deliveries: The account of what is sent.
    """

    def __init__(self, scenario: Scenario, queue: JobQueue, deliveries: Deliveries) -> None:
        self._scenario, self._queue, self._deliveries = scenario, queue, deliveries
        self._rng = scenario.rng("receivers")
        self._tempers: dict[str, tuple[str, ...]] = {}
        self._steering: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to change settings."""
        if self._queue.settings.webhooks.endpoints:
            self._steering = asyncio.create_task(self._steer(), name="receivers")

    async def stop(self) -> None:
        if self._steering is not None:
            self._steering.cancel()
            with suppress(asyncio.CancelledError):
                await self._steering
            self._steering = None

    async def send(self, message: Message) -> Answer:
        """Answer as the receiver's temper has it; told to the account first."""
        rng, receiver = self._rng, self._deliveries.sent(message)
        act = rng.choice(self._tempers.setdefault(receiver, rng.choice(TEMPERS)))
        await asyncio.sleep(message.timeout_s if act == "slow" else rng.choice((0.0, 0.1, 0.5)))
        outcome = self._outcome(act)
        self._deliveries.answered(message, outcome)
        if isinstance(outcome, Undelivered):
            raise outcome
        return outcome

    def _outcome(self, act: str) -> Answer | Undelivered:
        rng = self._rng
        match act:
            case "accepts":
                return Answer(rng.choice((200, 202, 204)))
            case "pauses":
                return Answer(rng.choice((429, 503)), rng.choice((0.0, 2.0, 30.0)))
            case "gone":
                return Answer(410)
            case "redirects":
                return Answer(302)
            case "refused":
                return AddressRefused("10.0.0.1 is a private address")
            case "slow" | "unreachable":
                return Undelivered("no answer came")
        return Answer(rng.choice((500, 404)))

    async def _steer(self) -> None:
        """Change, remove and add endpoints; some reloads change nothing."""
        rng = self._rng
        for _ in range(STEERS_MAX):
            await asyncio.sleep(rng.choice(STEERING_PAUSES_S))
            if not self._queue.running:
                return
            settings = self._queue.settings
            endpoints = dict(settings.webhooks.endpoints)
            name = rng.choice(NAMES)
            act = rng.choice(("keep", "replace", "remove"))
            if act == "replace":
                endpoints[name] = draw_endpoint(rng, name, self._types, tuple(self._scenario.queues))
            elif act == "remove" and len(endpoints) > 1:
                endpoints.pop(name, None)
            webhooks = msgspec.structs.replace(settings.webhooks, endpoints=endpoints)
            await self._queue.reload(msgspec.structs.replace(settings, webhooks=webhooks))
            self._deliveries.reloaded(settings.webhooks.endpoints, endpoints)

    @property
    def _types(self) -> tuple[str, ...]:
        return tuple(plan.name for plan in self._scenario.types)
