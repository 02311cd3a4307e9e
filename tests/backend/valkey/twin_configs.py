"""The settings of twins: which operations are drawn, and what is bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from jobqueue.core.policy import Discipline, Limits, QueuePolicy
from jobqueue.core.quotas import Quota
from jobqueue.core.rate import Rate
from jobqueue.core.store_bounds import StoreBounds


@dataclass
class Config:
    """The settings of a twin: `operations` by name with their weights."""

    operations: dict[str, int]
    queues: dict[str, QueuePolicy]
    limits: dict[str, Limits | None]
    bounds: StoreBounds = field(default_factory=lambda: StoreBounds(ttl_s=8, failed_ttl_s=8))
    quota: Quota = field(default_factory=Quota)
    callers: tuple[str | None, ...] = (None,)
    owners: tuple[str | None, ...] = ()
    groups: tuple[str | None, ...] = ()
    max_args: int = 200
    start_by: bool = True
    disciplines: tuple[Discipline, ...] = (Discipline.FIFO, Discipline.LIFO, Discipline.PRIORITY)
    moving: bool = False
    """Time passes before every operation."""
    wide: bool = False
    """No limit is ever reached: types have sublists of their own, and each job may start."""


WORK: Final = {
    "submit": 30,
    "resend": 2,
    "lease": 30,
    "ack": 12,
    "nack": 10,
    "report": 2,
    "cancel": 3,
    "time_out": 2,
    "delete": 2,
    "retry": 3,
    "run_now": 2,
    "time": 12,
    "pause": 1,
    "resume": 2,
}


def policy(discipline: Discipline = Discipline.FIFO, *, budget: int = 0, capacity: int = 20) -> QueuePolicy:
    return QueuePolicy(capacity=capacity, workers=4, discipline=discipline, retry_budget=budget)


def plain() -> Config:
    """Three disciplines: their order is compared; policies change, processes die, leases are lost."""
    operations = {**WORK, "policy": 1, "die": 1, "reconcile": 2, "late_lease": 8}
    queues = {"a": policy(), "b": policy(Discipline.PRIORITY), "c": policy(Discipline.LIFO)}
    return Config(operations, queues, {"echo": None, "other": None}, callers=(None, "u", "v"))


def limited() -> Config:
    """Types with concurrency and rates, beside plain ones."""
    limits = {
        "echo": None,
        "two": Limits(concurrency=2),
        "rated": Limits(rate=Rate(4, 1.0, 2)),
        "both": Limits(concurrency=1, rate=Rate(1, 1.0)),
    }
    return Config({**WORK, "die": 1, "reconcile": 2}, {"a": policy(capacity=60), "b": policy(capacity=60)}, limits)


def grouped() -> Config:
    """Groups with concurrency and rates, beside limits of their type, of owners that choose equal names."""
    limits = {
        "echo": None,
        "one": Limits(group_concurrency=1),
        "two": Limits(concurrency=3, group_concurrency=2),
        "rated": Limits(group_rate=Rate(2, 1.0)),
        "both": Limits(rate=Rate(8, 1.0), group_concurrency=1, group_rate=Rate(1, 1.0, 2)),
    }
    operations = {**WORK, "die": 1, "reconcile": 2, "policy": 1}
    queues = {"a": policy(capacity=60), "b": policy(Discipline.PRIORITY, capacity=60)}
    groups = (None, "g", "h", "i")
    return Config(operations, queues, limits, callers=(None, "u"), owners=(None, "key:u"), groups=groups)


def fair() -> Config:
    """Groups take turns, by a law that is compared, and orders change."""
    operations = {**WORK, "policy": 1, "die": 1, "reconcile": 2, "late_lease": 8}
    queues = {"a": policy(Discipline.FAIR, capacity=60), "b": policy(Discipline.FAIR)}
    return Config(
        operations,
        queues,
        {"echo": None, "other": None},
        callers=(None, "u"),
        owners=(None, "key:u"),
        groups=(None, "g", "h", "i"),
        disciplines=(Discipline.FAIR, Discipline.FAIR, Discipline.FIFO, Discipline.PRIORITY),
    )


def fair_grouped() -> Config:
    """Fair queues, with limits of types and of groups."""
    config = grouped()
    config.limits["narrow"] = Limits(concurrency=1)
    config.queues = {"a": policy(Discipline.FAIR, capacity=60), "b": policy(Discipline.FAIR, capacity=60)}
    config.disciplines = (Discipline.FAIR, Discipline.FAIR, Discipline.LIFO)
    return config


def fair_wide() -> Config:
    """Fair queues whose groups have jobs in many sublists, by limits that are never reached."""
    config = fair()
    config.limits = {
        "echo": None,
        "one": Limits(concurrency=1000),
        "two": Limits(concurrency=1000),
        "each": Limits(concurrency=1000, group_concurrency=1000),
    }
    config.wide = True
    return config


def quarantined() -> Config:
    """Types that fail often, with and without limits, and one caller."""
    operations = {**WORK, "nack": 25, "ack": 6, "release": 3, "reconcile": 1}
    queues = {"a": policy(budget=3, capacity=400)}
    return Config(operations, queues, {"echo": None, "two": Limits(concurrency=2)})


def bounded() -> Config:
    """A small store, and callers with quotas."""
    bounds = StoreBounds(jobs_max=12, failed_max=3, bytes_max=9000, ttl_s=8, failed_ttl_s=8)
    quota = Quota(jobs_max=5, records_max=8, bytes_max=2500)
    queues = {"a": policy(capacity=30)}
    return Config(
        WORK, queues, {"echo": None}, bounds, quota, callers=("u",), max_args=800, start_by=False, moving=True
    )


def crowded() -> Config:
    """A store that is full of live jobs, or of failed ones."""
    bounds = StoreBounds(jobs_max=10, failed_max=2, bytes_max=3000, ttl_s=8, failed_ttl_s=8)
    work = {**WORK, "nack": 20, "lease": 40, "ack": 20}
    return Config(work, {"a": policy(capacity=30)}, {"echo": None}, bounds, max_args=500, start_by=False, moving=True)


CONFIGS: Final = {
    "plain": plain,
    "limited": limited,
    "grouped": grouped,
    "fair": fair,
    "fair_grouped": fair_grouped,
    "fair_wide": fair_wide,
    "quarantined": quarantined,
    "bounded": bounded,
    "crowded": crowded,
}
