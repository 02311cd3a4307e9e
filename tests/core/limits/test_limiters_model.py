"""The limiters against a naive model, through random operations at random times."""

from __future__ import annotations

from random import Random

import pytest

from jobqueue.core.policy import Discipline, Limits
from jobqueue.core.rate import Rate
from tests.core.limits.limiters_world import World, orders_of_start

SPECS: dict[str, dict[str, object]] = {
    "free": {},
    "pool": {"pool": "thread"},
    "narrow": {"pool": "thread", "limits": Limits(concurrency=2, group_concurrency=1)},
    "rated": {"limits": Limits(rate=Rate(5, 1.0), group_rate=Rate(2, 1.0))},
    "both": {
        "pool": "process",
        "limits": Limits(concurrency=3, rate=Rate(20, 1.0), group_concurrency=2, group_rate=Rate(3, 0.7)),
    },
    "grouped": {"pool": "process", "limits": Limits(group_concurrency=1)},
    "single": {"limits": Limits(concurrency=1)},
    "across": {"limits": Limits(group_concurrency=2, across_owners=True)},
}


class Run:
    """One random history of limiters. `shut`: the types that may be quarantined."""

    shut = tuple(SPECS)

    def __init__(self, seed: int, disciplines: dict[str, Discipline], *, jobs_max: int = 60) -> None:
        self.rng = Random(seed)
        self.world = World({"thread": 3, "process": 2}, dict(disciplines))
        self.jobs_max = jobs_max
        # Workers of one queue may be busy elsewhere for long.
        self.stuck: str | None = None

    def step(self) -> None:
        rng, world = self.rng, self.world
        match rng.choices(
            ["add", "try", "end", "withdraw", "advance", "shut", "open", "resize", "reorder", "stick", "quiesce"],
            [30, 40, 18, 6, 14, 0.6, 0.8, 0.5, 0.3, 0.5, 3],
        )[0]:
            case "add" if len(world.waiting) < self.jobs_max:
                type_ = rng.choice(list(SPECS))
                group = rng.choice([None, "a", "a", "b", "c"])
                queue = rng.choice(list(world.disciplines))
                owner = rng.choice([None, None, "x"])
                world.add(type_, queue, owner, priority=rng.randint(0, 9), group=group, **SPECS[type_])
            case "try":
                queues = [queue for queue in self.served if world.ready[queue]]
                if queues:
                    world.try_next(rng.choice(queues))
            case "end" if world.running:
                world.end(rng.choice(list(world.running.values())))
            case "withdraw" if world.waiting:
                world.withdraw(rng.choice(list(world.waiting.values())))
            case "advance":
                if rng.random() < 0.3:
                    world.now += rng.random() * 0.3  # the timer is late
                else:
                    world.advance(rng.choice([0.01, 0.05, 0.2, 1.0, 3.0]))
            case "shut":
                world.shut_type(rng.choice(self.shut), world.now + rng.choice([0.5, 1.0, 4.0]))
            case "open":
                world.open_type(rng.choice(list(SPECS)))
            case "resize":
                world.resize(rng.choice(["thread", "process"]), rng.randint(1, 4))
            case "reorder":
                self.reorder()
            case "stick":
                self.stuck = rng.choice([None, *world.disciplines])
            case "quiesce":
                world.try_all(self.served)
                world.check_no_job_forgotten(self.served)

    @property
    def served(self) -> list[str]:
        return [queue for queue in self.world.disciplines if queue != self.stuck]

    def reorder(self) -> None:
        self.world.reorder(self.rng.choice(list(self.world.disciplines)), self.rng.choice(list(Discipline)))

    def run_down(self) -> None:
        """Run all jobs that are left."""
        world, self.stuck = self.world, None
        for type_ in SPECS:
            world.open_type(type_)
        for _ in range(10_000):
            if not world.waiting and not world.running:
                break
            world.try_all(self.served)
            world.check_no_job_forgotten(self.served)
            if world.running:
                world.end(self.rng.choice(list(world.running.values())))
            else:
                world.advance(0.1)
        assert not world.waiting
        world.advance(10.0)
        world.check_nothing_left()


@pytest.mark.parametrize("seed", range(10))
def test_limiters_keep_all_invariants_through_random_histories(seed: int) -> None:
    disciplines = {"default": Discipline.FIFO, "other": Discipline.PRIORITY, "third": Discipline.FAIR}
    run = Run(seed, disciplines)
    for n in range(10_000):
        run.step()
        if n % 10 == 0:
            run.world.check_positions()
            run.world.check_stats()
    assert len(run.world.started) > 1000
    run.run_down()


class InOrder(Run):
    """All queues first in, first out, and every discipline stays.

    Groups take turns at the probe of a quarantined type, so jobs of all groups are in order only without that.
    """

    shut = tuple(type_ for type_ in SPECS if type_ != "single")

    def reorder(self) -> None:
        pass


@pytest.mark.parametrize("seed", range(4))
def test_a_limiter_with_one_permit_starts_the_jobs_of_a_queue_in_order(seed: int) -> None:
    run = InOrder(seed, {"default": Discipline.FIFO, "other": Discipline.FIFO})
    for _ in range(5000):
        run.step()
    run.run_down()
    orders = orders_of_start(run.world.started)
    compared = 0
    for (_, type_, group), numbers in orders.items():
        if type_ in ("narrow", "grouped") and group[1] is not None:
            assert numbers == sorted(numbers), f"jobs of {type_}, group {group}"
            compared += len(numbers)
    for queue in run.world.disciplines:
        single = [int(job.id[1:]) for job in run.world.started if job.spec.type == "single" and job.spec.queue == queue]
        assert single == sorted(single)
        compared += len(single)
    assert compared > 200
