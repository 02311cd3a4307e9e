"""The scenario of a seed: queues, types, clients, loop timing and faults of one run.

Each seed has some kinds of fault and not others, so that one fault can not mask another
(Groce et al., "Swarm testing", ISSTA 2012). Bounds are small, so that runs reach them, and durations lie on a grid,
so that events coincide.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from jobqueue.config import (
    LimitsSettings,
    QueueSettings,
    RuntimeSettings,
    Settings,
    StatusesSettings,
)
from jobqueue.core.backoff import Backoff
from jobqueue.core.policy import Discipline
from tests.simulation.receivers import NAMES, WEBHOOKS, draw_queue_of_deliveries, draw_webhooks
from tests.simulation.seeded import Timing
from tests.simulation.subscribers import SubscriberPlan, draw_subscribers

QUEUES = ("default", "bulk", "urgent")
GROUPS = ("a", "b", "c")
CALLERS = ("anna", "bert")

GOOD_ACTS = ("ok", "ok", "work:0.25", "work:0.5", "work:1", "work:2", "report:0.5")
BAD_ACTS = {
    "raises": ("raise", "raise:0.5", "value_error", "group_error"),
    "asks": ("retry", "retry:0.5", "retry:3", "reject"),
    "hangs": ("hang",),
    "resists": ("swallow:0.5", "swallow:2", "swallow_raise", "stubborn"),
    "bad results": ("nan", "object", "large"),
    "exits": ("exit", "cancel_own_task", "inner_cancel", "cancelled_error"),
    "meddles": ("cancel_me", "child", "delete_me"),
}
OFFLOADED_ACTS = ("ok", "work:0.5", "raise", "retry:0.5", "reject", "hang", "crash", "large", "file", "report:0.5")

CHAOS = ("kill", "pause", "change", "reload", "quota")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypePlan:
    """One registered handler."""

    name: str
    options: dict[str, Any]
    acts: tuple[str, ...]
    """The acts from which its jobs draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """How the run ends: `drain`, `stop`, `cancelled drain`, `cancelled stop` or `all at once`."""

    kind: str
    at_s: float | None
    drain_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All choices made before the run. Later choices are drawn from the generator of each part (`rng`).

    Attributes:
        chaos: Kinds of operator actions and accidents during the run.
        portion: Records that the engine and the backend handle per portion.
        cancelling: Probability that a client cancels a request.
        abandoned: Maximum number of stuck workers that are replaced; at least the number of workers.
    """

    seed: int
    timing: Timing
    settings: Settings
    types: tuple[TypePlan, ...]
    subscribers: tuple[SubscriberPlan, ...]
    clients: int
    requests: int
    uniqueness: bool
    uploads: bool
    cancelling: float
    chaos: tuple[str, ...]
    portion: int
    abandoned: int
    stop: Stop
    restart: bool
    cancelled_start: bool

    def rng(self, part: str) -> Random:
        """Return the generator of one part of the run, so that the draws of parts are independent."""
        return Random(f"{self.seed}/{part}")

    @property
    def deadly(self) -> bool:
        """Whether tasks of workers may die."""
        return "kill" in self.chaos or any("cancel_own_task" in plan.acts for plan in self.types)

    @property
    def jobs_of_publish_max(self) -> int:
        """The number of jobs that data may have: one of each subscriber and endpoint."""
        return len(self.subscribers) + (len(NAMES) if self.settings.webhooks.wanted else 0)

    @property
    def queues(self) -> list[str]:
        """The queues that submissions may name."""
        return [name for name in self.settings.queues if name not in self.settings.own_queues]


def draw(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    rng = Random(f"{seed}/scenario")
    queues = QUEUES[: rng.choice((1, 1, 2, 3))]
    settings = Settings(
        queues={name: draw_queue(rng) for name in queues},
        statuses=StatusesSettings(
            ttl_s=rng.choice((0.0, 1.0, 10.0, 60.0)),
            failed_ttl_s=rng.choice((0.5, 5.0, 60.0, 300.0)),
            failed_max=rng.choice((1, 3, 1000)),
            jobs_max=rng.choice((6, 30, 1000, 1000)),
            bytes_max=rng.choice((1500, 6000, 1_000_000, 1_000_000)),
        ),
        limits=LimitsSettings(
            caller_jobs_max=rng.choice((None, None, None, 4)),
            caller_records_max=Random(f"{seed}/records").choice((*[None] * 7, 5)),
            result_bytes=200,
        ),
        runtime=RuntimeSettings(
            workers=rng.choice((None, None, 1, 3, 6)),
            shares=rng.choice(("weighted", "strict")),
            threads=rng.choice((1, 2)),
            processes=rng.choice((1, 2)),
        ),
    )
    bad = tuple(act for kind in some(rng, BAD_ACTS, 0.4) for act in BAD_ACTS[kind])
    timing = draw_timing(rng)
    types = tuple(draw_type(rng, f"t{n}", queues, bad) for n in range(rng.randint(1, 4)))
    return Scenario(
        seed=seed,
        timing=timing,
        settings=with_webhooks(settings, seed, tuple(plan.name for plan in types)),
        types=types,
        subscribers=draw_subscribers(seed, queues),
        clients=rng.randint(2, 8),
        requests=rng.choice((8, 16, 40)),
        uniqueness=rng.random() < 0.5,
        uploads=rng.random() < 0.3,
        cancelling=rng.choice((0.0, 0.0, 0.2, 0.5)),
        chaos=tuple(some(rng, CHAOS, 0.3)),
        portion=rng.choice((1, 3, 1000)),
        abandoned=rng.choice((0, 100)),
        stop=draw_stop(rng),
        restart=rng.random() < 0.1,
        cancelled_start=rng.random() < 0.1,
    )


def with_webhooks(settings: Settings, seed: int, types: tuple[str, ...]) -> Settings:
    """Return settings with receivers, and the queue of their deliveries, in some seeds."""
    webhooks = draw_webhooks(seed, types, tuple(settings.queues))
    if not webhooks.wanted:
        return settings
    queues = {**settings.queues, WEBHOOKS: draw_queue_of_deliveries(seed)}
    return msgspec.structs.replace(settings, queues=queues, webhooks=webhooks)


def some(rng: Random, among: Any, probability: float) -> list[Any]:
    return [each for each in among if rng.random() < probability]


def draw_queue(rng: Random) -> QueueSettings:
    return QueueSettings(
        workers=rng.choice((1, 1, 2, 4)),
        capacity=rng.choice((3, 10, 100, 100)),
        discipline=rng.choice(tuple(Discipline)),
        weight=rng.choice((1, 1, 3)),
        patience_s=rng.choice((2.0, 10.0, 30.0)),
        aging_s=rng.choice((None, 0.5, 5.0)),
        codel_target_s=rng.choice((None, 0.25)),
        codel_interval_s=rng.choice((None, 1.0)),
        retry_budget=rng.choice((0, 0, 1, 5)),
    )


def draw_type(rng: Random, name: str, queues: tuple[str, ...], bad: tuple[str, ...]) -> TypePlan:
    run_in = rng.choice(("loop", "loop", "loop", "thread", "process"))
    options: dict[str, Any] = {
        "run_in": run_in,
        "queue": rng.choice(queues),
        "timeout_s": rng.choice((1.0, 1.0, 3.0, 20.0)),
        "attempts_max": rng.choice((1, 2, 2, 4)),
        "backoff": rng.choice((None, Backoff(backoff_s_base=0.0), Backoff(backoff_s_base=0.5, backoff_s_max=2.0))),
        "retry_on": rng.choice((None, None, ValueError)),
    }
    if rng.random() < 0.5:
        limits = {
            "concurrency": rng.choice((None, None, 1, 2)),
            "rate": rng.choice((None, None, "1/s", "4/s", "30/m")),
            "group_concurrency": rng.choice((None, 1, 1, 2)),
            "group_rate": rng.choice((None, None, "1/s", "3/s")),
        }
        options |= limits
    good = tuple(rng.choice(GOOD_ACTS) for _ in range(4))
    return TypePlan(name=name, options=options, acts=OFFLOADED_ACTS if run_in != "loop" else good + bad)


def draw_timing(rng: Random) -> Timing:
    return Timing(
        shuffled=rng.random() < 0.7,
        late_s=rng.choice((0.0, 0.0, 0.002, 0.1)),
        stall_s=rng.choice((0.0, 0.0, 3.0)),
        callback_s=rng.choice((0.0, 0.0, 0.0002)),
    )


def draw_stop(rng: Random) -> Stop:
    kind = rng.choice(("drain", "drain", "drain", "stop", "cancelled drain", "cancelled stop", "all at once"))
    at_s = rng.choice((None, None, None, 2.0, 8.0, 20.0))
    return Stop(kind=kind, at_s=at_s, drain_s=rng.choice((0.0, 0.5, 5.0, 60.0)) if at_s is not None else 100_000.0)
