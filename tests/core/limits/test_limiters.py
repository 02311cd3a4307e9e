from __future__ import annotations

import pytest

from jobqueue.core.job import Job
from jobqueue.core.limits.limiters import Limiters
from jobqueue.core.policy import Discipline, Limits
from jobqueue.core.rate import Rate
from jobqueue.core.tuning import TUNING
from tests.core.limits.limiters_world import World


def world_of(discipline: Discipline = Discipline.FIFO, **pools: int) -> World:
    return World(pools, {"default": discipline, "other": discipline})


def waiting_in(world: World, jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if world.limiters.waits(job)]


def run_all(world: World) -> None:
    """Run all jobs that are ready or become ready, one after the other."""
    while True:
        world.try_all(list(world.disciplines))
        if not world.running:
            return
        world.end(next(iter(world.running.values())))


# -- permits


def test_a_pool_admits_one_job_per_permit() -> None:
    world = world_of(thread=2)
    jobs = [world.add(pool="thread") for _ in range(3)]
    world.try_all(["default"])
    assert list(world.running.values()) == jobs[:2]
    assert waiting_in(world, jobs) == jobs[2:]


def test_a_job_without_limits_starts_and_leaves_no_state() -> None:
    world = world_of(thread=1)
    job = world.add()
    assert world.try_next() is job
    world.end(job)
    world.check_nothing_left()


def test_a_pool_without_a_bound_is_no_limiter() -> None:
    world = world_of(thread=1)
    jobs = [world.add(pool="elsewhere") for _ in range(3)]
    world.try_all(["default"])
    assert list(world.running.values()) == jobs


def test_jobs_that_wait_for_a_permit_do_not_block_other_jobs() -> None:
    world = world_of(process=1)
    for _ in range(5):
        world.add(pool="process")
    free = world.add("free")
    world.try_all(["default"])
    assert free.id in world.running


def test_a_freed_permit_is_offered_to_the_longest_waiting_job() -> None:
    world = world_of(thread=1)
    first, second, third = (world.add(pool="thread") for _ in range(3))
    world.try_all(["default"])
    world.end(first)
    assert not world.limiters.waits(second)
    assert world.limiters.waits(third)
    assert world.try_next() is second


def test_a_job_holds_all_of_its_permits_or_none() -> None:
    world = world_of(thread=1)
    limits = Limits(concurrency=1)
    holder = world.add("b", pool="thread")
    waits = world.add("a", pool="thread", limits=limits)
    world.try_all(["default"])
    assert world.limiters.waits(waits)
    without_pool = world.add("a", limits=limits)
    assert world.enter(without_pool), "the job that waits for the pool holds no permit of its type"
    world.end(holder)
    assert not world.enter(waits), "now the type is full"
    (pool, *_) = world.limiters.stats()
    assert (pool.name, pool.held) == ("thread", 0), "and it holds nothing of the pool either"


def test_a_waiting_job_does_not_start_before_a_permit_is_offered() -> None:
    world = world_of(thread=1)
    holder, waits = world.add(pool="thread"), world.add(pool="thread")
    world.try_all(["default"])
    assert not world.limiters.enter(waits, world.now)
    world.end(holder)
    assert world.enter(waits)


def test_releasing_a_permit_that_is_not_held_changes_nothing() -> None:
    world = world_of(thread=1)
    holder, other = world.add(pool="thread"), world.add(pool="thread")
    world.try_next()
    world.limiters.leave(other, world.now)
    assert not world.enter(other)
    world.end(holder)
    world.limiters.leave(holder, world.now)
    assert [limiter.held for limiter in world.limiters.stats()] == [0]


def test_concurrency_bounds_the_handler_and_group_concurrency_each_group() -> None:
    world = world_of()
    limits = Limits(concurrency=3, group_concurrency=2)
    a = [world.add(group="a", limits=limits) for _ in range(3)]
    b = [world.add(group="b", limits=limits) for _ in range(3)]
    world.try_all(["default"])
    assert list(world.running.values()) == [*a[:2], b[0]]
    world.end(a[0])
    assert world.try_next() is a[2], "it waited for its group"
    world.end(a[1])
    assert world.try_next() is b[1]


def test_a_job_without_a_group_has_no_group_limits() -> None:
    world = world_of()
    jobs = [world.add(limits=Limits(group_concurrency=1, group_rate=Rate(1, 60.0))) for _ in range(4)]
    world.try_all(["default"])
    assert list(world.running.values()) == jobs


def test_groups_of_the_same_name_are_separate_per_handler() -> None:
    world = world_of()
    limits = Limits(group_concurrency=1)
    jobs = [world.add(type_, group="a", limits=limits) for type_ in ("t", "u")]
    world.try_all(["default"])
    assert list(world.running.values()) == jobs


def test_groups_of_the_same_name_are_separate_per_owner() -> None:
    world = world_of()
    limits = Limits(group_concurrency=1)
    jobs = [world.add(owner=owner, group="a", limits=limits) for owner in (None, "key:ci", "key:web")]
    world.try_all(["default"])
    assert list(world.running.values()) == jobs


def test_a_group_across_owners_is_that_of_all_of_them() -> None:
    world = world_of()
    limits = Limits(group_concurrency=1, across_owners=True)
    jobs = [world.add(owner=owner, group="a", limits=limits) for owner in (None, "key:ci", "key:web")]
    world.try_all(["default"])
    assert list(world.running.values()) == jobs[:1]


def test_a_group_with_one_permit_runs_its_jobs_sequentially_in_order() -> None:
    world = world_of(thread=2)
    limits = Limits(concurrency=3, group_concurrency=1)
    jobs = [world.add(group=group, pool="thread", limits=limits) for _ in range(20) for group in ("a", "b", "c")]
    run_all(world)
    for group in ("a", "b", "c"):
        mine = [job for job in jobs if job.spec.group == group]
        assert [job for job in world.started if job.spec.group == group] == mine


@pytest.mark.parametrize("permits", [0, -1])
def test_a_pool_without_permits_raises_an_error(permits: int) -> None:
    with pytest.raises(ValueError, match="at least one permit"):
        Limiters(pools={"thread": permits}, order_of=world_of().order_of)


def test_a_pool_can_be_resized_to_zero_permits_but_not_below() -> None:
    world = world_of(thread=2)
    world.resize("thread", 0)
    jobs = [world.add(pool="thread") for _ in range(3)]
    run_all(world)
    assert world.started == []
    with pytest.raises(ValueError, match="0 permits or more, got -1"):
        world.limiters.resize("thread", -1, 0.0)
    world.resize("thread", 1)
    run_all(world)
    assert world.started == jobs


# -- offers


def test_an_offer_reserves_no_permit() -> None:
    world = world_of(thread=1)
    holder, offered, late = (world.add(pool="thread") for _ in range(3))
    assert world.enter(holder)
    assert not world.enter(offered)
    world.end(holder)
    assert world.enter(late)
    assert not world.enter(offered)
    assert world.limiters.waits(offered)


def test_each_queue_has_a_waiting_line_of_its_own() -> None:
    world = world_of(thread=1)
    holder = world.add(pool="thread")
    stuck = world.add(pool="thread")
    other = world.add(pool="thread", queue="other")
    world.try_all(["default", "other"])
    world.end(holder)
    assert not world.limiters.waits(stuck), "offered, but its queue has no worker"
    assert world.try_next("other") is other


def test_an_offered_job_that_finds_no_permit_returns_to_the_front() -> None:
    world = world_of(thread=1)
    holder = world.add(pool="thread")
    mine = [world.add(pool="thread") for _ in range(3)]
    other = world.add(pool="thread", queue="other")
    world.try_all(["default", "other"])
    world.end(holder)
    assert world.try_next("other") is other
    assert world.try_next("default") is None
    world.end(other)
    assert world.try_next("default") is mine[0]


def test_jobs_offered_together_that_find_no_permit_keep_their_order() -> None:
    world = world_of(thread=3)
    holders = [world.add(pool="thread") for _ in range(3)]
    mine = [world.add(pool="thread") for _ in range(5)]
    world.try_all(["default"])
    for holder in holders:
        world.end(holder)
    assert world.try_next() is mine[0]
    interlopers = [world.add(queue="other", pool="thread") for _ in range(2)]
    world.try_all(["other"])
    assert world.try_next() is None
    assert not world.ready["default"], "the limiter that blocked one offered job blocked all"
    for interloper in interlopers:
        world.end(interloper)
    world.try_all(["default"])
    assert list(world.running.values()) == mine[:3]


def test_a_withdrawn_job_passes_its_offer_on() -> None:
    world = world_of(thread=1)
    holder, first, second = (world.add(pool="thread") for _ in range(3))
    world.try_all(["default"])
    world.end(holder)
    world.withdraw(first)
    assert world.try_next() is second


def test_a_job_withdrawn_from_a_waiting_line_gets_no_offer() -> None:
    world = world_of(thread=1)
    holder, first, second = (world.add(pool="thread") for _ in range(3))
    world.try_all(["default"])
    world.withdraw(first)
    world.end(holder)
    assert world.try_next() is second
    assert not world.ready["default"]


def test_a_job_withdrawn_before_its_offer_is_taken_gets_no_offer() -> None:
    world = world_of(thread=1)
    holder, first, second = (world.add(pool="thread") for _ in range(3))
    world.try_all(["default"])
    world.limiters.leave(holder, world.now)
    world.limiters.withdraw(first, world.now)
    assert world.limiters.take_offered() == [second]


def test_a_job_withdrawn_before_its_revocation_is_taken_is_not_revoked() -> None:
    world = world_of(thread=1)
    holder, first = (world.add(pool="thread") for _ in range(2))
    world.try_all(["default"])
    world.end(holder)
    assert world.enter(world.add(queue="other", pool="thread"))
    assert not world.limiters.enter(world.add(pool="thread"), world.now)
    assert world.limiters.waits(first), "revoked, because a job has joined its wait list"
    world.limiters.withdraw(first, world.now)
    assert world.limiters.take_revoked() == []


def test_a_job_that_must_wait_at_another_limiter_passes_its_offer_on() -> None:
    world = world_of(thread=1)
    limits = Limits(concurrency=1)
    world.enter(world.add("a", limits=limits))
    holder = world.add("b", pool="thread")
    world.enter(holder)
    stopped = world.add("a", pool="thread", limits=limits)
    next_one = world.add("b", pool="thread")
    world.try_all(["default"])
    world.end(holder)
    assert world.limiters.waits(stopped)
    assert world.try_next() is next_one


def test_a_job_that_waits_for_a_pool_on_behalf_of_its_group_keeps_its_position() -> None:
    world = world_of(thread=2)
    limits = Limits(group_concurrency=1)
    jobs = [world.add("a", group="g", pool="thread", limits=limits) for _ in range(4)]
    world.try_all(["default"])
    holder = world.add("b", pool="thread")
    world.enter(holder)
    late = world.add("b", pool="thread")
    world.try_all(["default"])
    world.end(jobs[0])
    interloper = world.add("b", queue="other", pool="thread")
    assert world.try_next("other") is interloper, "it takes the permit that was offered to the next job of the group"
    world.try_all(["default"])
    assert waiting_in(world, [*jobs[1:], late]) == [*jobs[1:], late]
    world.end(holder)
    assert world.try_next() is jobs[1], "before the later job, which waited for the pool alone"
    world.end(interloper)
    assert world.try_next() is late, "the group is full"
    run_all(world)
    assert [job for job in world.started if job.spec.type == "a"] == jobs


def test_permits_released_together_are_offered_in_order() -> None:
    world = world_of(thread=5)
    jobs = [world.add(pool="thread") for _ in range(12)]
    world.try_all(["default"])
    for job in jobs[:5]:
        world.end(job)
    world.try_all(["default"])
    assert list(world.running.values()) == jobs[5:10]


def test_open_offers_of_a_queue_without_workers_are_bounded() -> None:
    world = world_of(thread=500)
    for _ in range(500):
        world.enter(world.add(pool="thread"))
    waits = [world.add(pool="thread", queue="other") for _ in range(600)]
    world.try_all(["other"])
    for job in list(world.running.values()):
        world.end(job)
    assert len(world.ready["other"]) <= TUNING.offers_max
    world.try_all(["other"])
    assert list(world.running.values()) == waits[:500]


def test_a_job_of_higher_priority_overtakes_an_offered_job() -> None:
    world = world_of(Discipline.PRIORITY)
    limits = Limits(concurrency=1)
    holder, low = (world.add("a", priority=0, limits=limits) for _ in range(2))
    world.try_all(["default"])
    world.end(holder)
    assert not world.limiters.waits(low), "offered; but jobs of higher priority precede it"
    high = [world.add("a", priority=9, limits=limits) for _ in range(2)]
    assert world.enter(world.ready["default"].pop(world.now)), "the first of them needs no offer"
    assert not world.enter(world.ready["default"].pop(world.now))
    world.end(high[0])
    assert world.limiters.waits(low)
    assert world.try_next() is high[1]


# -- rates


def test_a_rate_admits_a_burst_then_one_job_per_token() -> None:
    world = world_of()
    jobs = [world.add(limits=Limits(rate=Rate(5, 1.0))) for _ in range(20)]
    world.try_all(["default"])
    assert list(world.running.values()) == jobs[:5]
    world.advance(0.19)
    world.try_all(["default"])
    assert len(world.running) == 5
    for n in range(6, 21):
        at = world.limiters.next_at()
        assert at == pytest.approx(1000.0 + (n - 5) * 0.2, abs=1e-6)
        assert at is not None
        world.advance(at - world.now)
        world.try_all(["default"])
        assert list(world.running.values()) == jobs[:n]
    assert world.limiters.next_at() is None


def test_each_group_has_a_rate_of_its_own() -> None:
    world = world_of()
    limits = Limits(group_rate=Rate(2, 1.0))
    jobs = {group: [world.add(group=group, limits=limits) for _ in range(5)] for group in ("a", "b")}
    world.try_all(["default"])
    assert list(world.running.values()) == [*jobs["a"][:2], *jobs["b"][:2]]
    assert [limiter.kind for limiter in world.limiters.stats()] == ["groups"], "the handler as a whole has no bound"


def test_a_token_that_came_before_the_tick_goes_to_the_waiting_job() -> None:
    world = world_of()
    limits = Limits(rate=Rate(1, 1.0))
    first, second, third = (world.add(limits=limits) for _ in range(3))
    assert world.enter(first)
    assert not world.enter(second)
    world.now += 1.5
    assert not world.enter(third), "it came later"
    world.try_all(["default"])
    assert list(world.running.values()) == [first, second]


def test_an_offered_job_precedes_jobs_that_joined_a_broader_line_later() -> None:
    world = world_of()
    limits = Limits(rate=Rate(2, 1.0), group_concurrency=1)
    first, offered = (world.add(group="g", limits=limits) for _ in range(2))
    world.try_all(["default"])
    world.end(first)
    assert world.enter(world.add(queue="other", limits=limits)), "it takes the last token"
    late = world.add(group="h", limits=limits)
    assert not world.enter(late)
    world.now += 0.6
    assert world.enter(offered)
    assert world.limiters.waits(late)


def test_no_tick_is_due_while_offers_are_open() -> None:
    world = world_of()
    for _ in range(10):
        world.add(limits=Limits(rate=Rate(1000, 1.0)))
        world.add(queue="other", limits=Limits(rate=Rate(1000, 1.0)))
    for _ in range(1000):
        world.enter(world.add(limits=Limits(rate=Rate(1000, 1.0))))
    world.try_all(["default", "other"])
    world.advance(0.002)
    assert len(world.ready["default"]) > 0
    assert world.limiters.next_at() is None


def test_no_tick_is_due_for_an_empty_waiting_line() -> None:
    world = world_of()
    jobs = [world.add(limits=Limits(rate=Rate(1, 60.0))) for _ in range(2)]
    world.try_all(["default"])
    assert world.limiters.next_at() == 1060.0
    world.withdraw(jobs[1])
    assert world.limiters.next_at() is None


# -- quarantine


def test_a_quarantined_type_starts_no_job_and_other_types_do() -> None:
    world = world_of(thread=4)
    world.shut_type("bad", 1001.0)
    bad = [world.add("bad", pool="thread") for _ in range(3)]
    good = world.add("good", pool="thread")
    world.try_all(["default"])
    assert list(world.running.values()) == [good]
    assert waiting_in(world, bad) == bad


def test_exactly_one_probe_starts_when_it_is_due() -> None:
    world = world_of()
    world.shut_type("bad", 1001.0)
    bad = [world.add("bad", queue=queue) for queue in ("default", "other") for _ in range(3)]
    world.try_all(["default", "other"])
    assert world.limiters.next_at() == 1001.0
    world.advance(0.999)
    world.try_all(["default", "other"])
    assert not world.running
    world.advance(0.001)
    world.try_all(["default", "other"])
    assert list(world.running.values()) == bad[:1]
    world.advance(100.0)
    world.try_all(["default", "other"])
    assert list(world.running.values()) == bad[:1]


def test_a_probe_can_be_moved_to_an_earlier_time() -> None:
    world = world_of()
    world.shut_type("bad", 1060.0)
    world.add("bad")
    world.try_all(["default"])
    world.shut_type("bad", 1001.0)
    assert world.limiters.next_at() == 1001.0


def test_a_failed_probe_keeps_the_type_quarantined_until_the_next_probe() -> None:
    world = world_of()
    world.shut_type("bad", 1001.0)
    bad = [world.add("bad") for _ in range(3)]
    world.try_all(["default"])
    world.advance(1.0)
    probe = world.try_next()
    assert probe is not None
    world.shut_type("bad", 1003.0)
    world.end(probe)
    world.advance(1.9)
    world.try_all(["default"])
    assert not world.running
    world.advance(0.1)
    assert world.try_next() is bad[1]


def test_a_probe_without_an_outcome_is_followed_by_another_probe() -> None:
    world = world_of()
    world.shut_type("bad", 1001.0)
    bad = [world.add("bad") for _ in range(2)]
    world.try_all(["default"])
    world.advance(1.0)
    assert world.try_next() is bad[0]
    world.end(bad[0])
    assert world.try_next() is bad[1]


def test_a_withdrawn_probe_passes_its_offer_on() -> None:
    world = world_of()
    world.shut_type("bad", 1001.0)
    bad = [world.add("bad") for _ in range(2)]
    world.try_all(["default"])
    world.advance(1.0)
    world.withdraw(bad[0])
    assert world.try_next() is bad[1]


def test_an_attempt_from_before_the_quarantine_is_no_probe() -> None:
    world = world_of()
    limits = Limits(concurrency=2)
    old = world.add("bad", limits=limits)
    world.enter(old)
    world.shut_type("bad", 1001.0)
    bad = [world.add("bad", limits=limits) for _ in range(2)]
    world.try_all(["default"])
    world.advance(1.0)
    assert world.try_next() is bad[0]
    world.end(old)
    world.try_all(["default"])
    assert list(world.running.values()) == [bad[0]]


def test_a_released_type_starts_its_jobs_in_order_and_has_no_limiter_left() -> None:
    world = world_of()
    world.shut_type("bad", 1001.0)
    bad = [world.add("bad") for _ in range(100)]
    world.try_all(["default"])
    world.open_type("bad")
    world.try_all(["default"])
    assert list(world.running.values()) == bad
    assert world.limiters.stats() == []
    assert world.enter(world.add("bad"))


def test_releasing_a_type_that_is_not_quarantined_changes_nothing() -> None:
    world = world_of()
    world.open_type("good")
    assert world.limiters.stats() == []


def test_a_type_quarantined_before_its_first_job_keeps_its_limits() -> None:
    world = world_of()
    world.shut_type("bad", 1001.0)
    jobs = [world.add("bad", limits=Limits(concurrency=2, rate=Rate(10, 1.0))) for _ in range(4)]
    world.try_all(["default"])
    world.open_type("bad")
    world.try_all(["default"])
    assert list(world.running.values()) == jobs[:2]


# -- changes by an operator


def test_added_permits_start_jobs_and_removed_permits_stop_none() -> None:
    world = world_of(thread=1)
    jobs = [world.add(pool="thread") for _ in range(6)]
    world.try_all(["default"])
    world.resize("thread", 4)
    world.try_all(["default"])
    assert list(world.running.values()) == jobs[:4]
    world.resize("thread", 2)
    assert len(world.running) == 4
    world.end(jobs[0])
    world.end(jobs[1])
    world.try_all(["default"])
    assert list(world.running.values()) == jobs[2:4]
    world.end(jobs[2])
    assert world.try_next() is jobs[4]


def test_resizing_an_unknown_pool_raises_key_error() -> None:
    with pytest.raises(KeyError):
        world_of(thread=1).limiters.resize("process", 2, 0.0)


def test_a_changed_discipline_reorders_waiting_jobs_and_loses_none() -> None:
    world = world_of(thread=1)
    jobs = [world.add(pool="thread", priority=n % 10) for n in range(20)]
    others = [world.add(pool="thread", queue="other") for _ in range(3)]
    world.try_all(["default", "other"])
    world.end(jobs[0])
    world.reorder("default", Discipline.PRIORITY)
    world.check_positions()
    assert len(world.ready["default"]) == 1, "an open offer is made again"
    run_all(world)
    mine = [job for job in world.started[1:] if job.spec.queue == "default"]
    assert mine == sorted(jobs[1:], key=lambda job: -job.spec.priority)
    assert [job for job in world.started if job.spec.queue == "other"] == others


# -- memory and time


def test_a_finished_group_holds_no_memory() -> None:
    world = world_of()
    for n in range(100):
        job = world.add(group=f"g{n}", limits=Limits(group_concurrency=1))
        world.enter(job)
        world.end(job)
    world.check_nothing_left()


def test_the_limiter_of_an_idle_handler_is_kept_and_listed() -> None:
    world = world_of(thread=1)
    for limits in (Limits(concurrency=1), Limits(rate=Rate(10, 1.0))):
        job = world.add(str(limits), limits=limits)
        world.enter(job)
        world.end(job)
    world.advance(10.0)
    assert [(limiter.kind, limiter.held, limiter.waiting) for limiter in world.limiters.stats()] == [
        ("pool", 0, 0),
        ("type", 0, 0),
        ("type", 0, 0),
    ]


def test_a_group_with_a_rate_is_kept_until_its_token_bucket_is_full() -> None:
    world = world_of()
    limits = Limits(group_rate=Rate(6, 60.0))
    for n in range(1000):
        job = world.add(group=f"g{n}", limits=limits)
        world.enter(job)
        world.end(job)
    assert len(world.limiters._groups) == 1000, "each would lose the token that it spent"
    world.advance(9.0)
    assert len(world.limiters._groups) == 1000
    world.advance(3.0)
    world.check_nothing_left()


def test_a_long_waiting_line_moves_to_another_limiter_in_bounded_portions() -> None:
    world = world_of(thread=2)
    holders = [world.add("b", pool="thread") for _ in range(2)]
    world.try_all(["default"])
    limits = Limits(concurrency=1)
    jobs = [world.add("a", pool="thread", limits=limits) for _ in range(4 * TUNING.moves_max)]
    last = world.add("b", pool="thread")
    world.try_all(["default"])
    world.end(holders[0])
    assert world.try_next() is jobs[0]
    world.end(holders[1])
    ticks = 0
    while not world.ready["default"]:
        assert world.limiters.next_at() == world.now, "more is to be done at once"
        before = next(limiter.waiting for limiter in world.limiters.stats() if limiter.kind == "type")
        world.tick()
        after = next(limiter.waiting for limiter in world.limiters.stats() if limiter.kind == "type")
        assert after - before <= TUNING.moves_max
        ticks += 1
    assert ticks >= 3
    assert world.try_next() is last, "behind all jobs that were moved"
    assert world.limiters.next_at() is None


def test_limiter_statistics_list_held_and_waiting_jobs() -> None:
    world = world_of(thread=2)
    limits = Limits(concurrency=2, rate=Rate(10, 1.0), group_concurrency=1, group_rate=Rate(5, 1.0))
    for group in ("a", "a", "b", "b"):
        world.add("t", group=group, pool="thread", limits=limits)
    world.add("u", pool="thread")
    world.shut_type("v", 1001.0)
    world.try_all(["default"])
    pool, shut, type_, groups = world.limiters.stats()
    assert (pool.kind, pool.name, pool.held, pool.permits, pool.rate) == ("pool", "thread", 2, 2, None)
    assert (type_.kind, type_.name, type_.held, type_.permits, type_.rate) == ("type", "t", 2, 2, limits.rate)
    assert (shut.kind, shut.name, shut.shut_until, shut.permits) == ("type", "v", 1001.0, None)
    assert (groups.kind, groups.name, groups.held, groups.permits, groups.rate) == ("groups", "t", 2, 1, Rate(5, 1.0))
    assert pool.waiting + type_.waiting + groups.waiting == 3
