from __future__ import annotations

import sys
from random import Random
from types import FrameType
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.job import Job
from jobqueue.core.policy import Discipline, QueuePolicy
from jobqueue.core.scheduling.adaptive import Adaptive
from jobqueue.core.scheduling.fair import Fair
from jobqueue.core.scheduling.order import Fifo, Lifo, Order, Priority, make_order
from tests.core.scheduling.order_models import (
    AdaptiveModel,
    AgingModel,
    FairModel,
    FifoModel,
    LifoModel,
    Model,
    PriorityModel,
    Walk,
    fill,
    named,
    popped,
    ready_job,
)


class Pair(NamedTuple):
    """An order, its model, and whether its positions are exact without removals."""

    order: Order
    model: Model
    exact_positions: bool = True

    def walk(self) -> Walk:
        return Walk(self.order, self.model, exact_positions=self.exact_positions)


def pair_of(name: str) -> Pair:
    match name:
        case "fifo":
            return Pair(Fifo(), FifoModel())
        case "lifo":
            return Pair(Lifo(), LifoModel())
        case "priority":
            return Pair(Priority(), PriorityModel())
        case "aging":
            return Pair(Priority(aging_s=20.0), AgingModel(20.0), exact_positions=False)
        case "fair":
            return Pair(Fair(), FairModel({}), exact_positions=False)
        case _:
            return Pair(Adaptive(target_s=20.0, interval_s=100.0), AdaptiveModel(20.0, 100.0))


PAIRS = ("fifo", "lifo", "priority", "aging", "fair", "adaptive")
OPERATIONS = 100_000


def order_of(discipline: Discipline) -> Order:
    return make_order(QueuePolicy(discipline=discipline))


# Against models


@pytest.mark.parametrize("name", PAIRS)
def test_an_order_matches_its_naive_model(name: str) -> None:
    pair = pair_of(name)
    walk = pair.walk()
    walk.stroll(Random(f"{name} 1"), OPERATIONS)
    assert walk.serial > OPERATIONS / 4
    if isinstance(pair.model, AdaptiveModel):
        assert pair.model.switches > 50, "the walk rarely changed the mode"


@pytest.mark.parametrize("name", PAIRS)
def test_positions_are_exact_without_removals(name: str) -> None:
    pair_of(name).walk().stroll(Random(f"{name} 2"), OPERATIONS // 10, removals=False)


OPERATION = st.one_of(
    st.tuples(st.just("push"), st.integers(0, 9), st.sampled_from([None, "a", "b"])),
    st.tuples(st.just("give back")),
    st.tuples(st.just("pop")),
    st.tuples(st.just("remove"), st.integers(0, 20)),
    st.tuples(st.just("look"), st.integers(0, 20)),
    st.tuples(st.just("wait"), st.floats(0.0, 150.0)),
)


@pytest.mark.parametrize("name", PAIRS)
@given(operations=st.lists(OPERATION, max_size=60))
def test_an_order_matches_its_model_for_short_histories(name: str, operations: list[tuple[Any, ...]]) -> None:
    walk = pair_of(name).walk()
    for verb, *details in operations:
        match verb:
            case "push":
                walk.push_new(priority=details[0], group=details[1])
            case "give back":
                walk.give_back()
            case "pop":
                walk.pop()
            case "remove":
                walk.remove(details[0])
            case "look":
                walk.look(details[0])
            case "wait":
                walk.now += details[0]
    walk.drain()


# All orders


@pytest.mark.parametrize("discipline", Discipline)
def test_popping_an_empty_order_raises_index_error(discipline: Discipline) -> None:
    order = order_of(discipline)
    for _ in range(2):
        with pytest.raises(IndexError, match="no job is ready"):
            order.pop(0.0)
        fill(order, ready_job("a"))
        order.pop(0.0)


@pytest.mark.parametrize("discipline", Discipline)
def test_a_returned_job_is_next(discipline: Discipline) -> None:
    order = order_of(discipline)
    named(order, "abcd")
    first = order.pop(1.0)
    second = order.pop(1.0)
    assert not order.remove(second)
    order.push(second, now=2.0, front=True)
    assert order.remove(second)
    order.push(second, now=2.0, front=True)
    order.push(first, now=2.0, front=True)
    assert order.position(first) == 1
    assert order.position(second) == 2
    assert next(iter(order)) is first
    assert order.pop(3.0) is first
    assert order.pop(3.0) is second


@pytest.mark.parametrize("discipline", Discipline)
def test_a_removed_job_has_no_position_and_is_not_popped(discipline: Discipline) -> None:
    order = order_of(discipline)
    jobs = named(order, "abc")
    assert order.remove(jobs["b"])
    assert not order.remove(jobs["b"])
    assert not order.remove(ready_job("unknown", group="unknown"))
    assert len(order) == 2
    assert order.position(jobs["b"]) is None
    assert sorted(popped(order)) == ["a", "c"]


@pytest.mark.parametrize("discipline", Discipline)
def test_an_order_lists_its_jobs_oldest_first(discipline: Discipline) -> None:
    order = order_of(discipline)
    fill(order, *(ready_job(f"{n:02}", priority=n % 10, group="abc"[n % 3]) for n in range(20)))
    assert [job.id for job in order] == [f"{n:02}" for n in range(20)]
    assert len(order) == 20
    returned = order.pop(0.0)
    order.push(returned, now=0.0, front=True)
    rest = [f"{n:02}" for n in range(20) if f"{n:02}" != returned.id]
    assert [job.id for job in order] == [returned.id, *rest]


@pytest.mark.parametrize("discipline", Discipline)
def test_pushing_a_job_twice_raises_an_error(discipline: Discipline) -> None:
    order = order_of(discipline)
    job = named(order, "a")["a"]
    with pytest.raises(AssertionError, match="job a is already in this list"):
        order.push(job, now=1.0)
    assert list(order) == [job]


# Cost in lines of Python


def lines_run(order: Order, operation: str, job: Job, now: float) -> int:
    """Count the lines of Python that an operation runs."""
    lines = 0

    def count(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    traced = sys.gettrace()
    sys.settrace(count)
    try:
        match operation:
            case "push":
                order.push(job, now=now)
            case "give back":
                order.push(job, now=now, front=True)
            case "pop":
                order.pop(now)
            case "remove":
                order.remove(job)
            case "position":
                order.position(job)
            case "length":
                len(order)
    finally:
        sys.settrace(traced)
    return lines


def most_lines(name: str, size: int) -> dict[str, int]:
    """Return the most lines that each operation runs, in an order of `size` jobs in many groups."""
    order = pair_of(name).order
    jobs = [ready_job(f"{n}", priority=n % 10, group=f"{n % (size // 2)}") for n in range(size)]
    for n, job in enumerate(jobs):
        order.push(job, now=n / 10)
    now = size / 10
    most: dict[str, int] = {}

    def note(operation: str, job: Job) -> None:
        most[operation] = max(most.get(operation, 0), lines_run(order, operation, job, now))

    for job in Random(5).sample(jobs, 40):
        note("position", job)
        note("length", job)
        note("remove", job)
        note("push", job)
        note("remove", job)
        note("give back", job)
    for job in jobs[:40]:
        note("pop", job)
    return most


@pytest.mark.parametrize("name", PAIRS)
def test_the_cost_of_an_operation_does_not_grow_with_the_number_of_jobs(name: str) -> None:
    among_hundred, among_many = most_lines(name, 100), most_lines(name, 10_000)
    assert set(among_many) == {"position", "length", "remove", "push", "give back", "pop"}
    for operation, lines in among_many.items():
        # A group may become empty in one and not in the other: that is a few lines.
        assert lines <= among_hundred[operation] + 15


# Each order


def test_fifo_pops_the_oldest_job_first() -> None:
    order = Fifo()
    named(order, "abc")
    assert popped(order) == ["a", "b", "c"]


def test_fifo_positions_are_too_high_by_at_most_the_jobs_removed_ahead() -> None:
    order = Fifo()
    jobs = named(order, "abcdef")
    for name in "bc":
        order.remove(jobs[name])
    assert [order.position(jobs[name]) for name in "adef"] == [1, 4, 4, 4]
    order.pop(0.0)
    assert [order.position(jobs[name]) for name in "def"] == [1, 2, 3]


def test_fifo_positions_are_exact_after_the_first_job_is_removed() -> None:
    order = Fifo()
    jobs = named(order, "abcd")
    assert order.position(jobs["a"]) == 1
    order.remove(jobs["a"])
    assert [order.position(jobs[name]) for name in "bcd"] == [1, 2, 3]
    order.push(order.pop(0.0), now=0.0, front=True)
    assert [order.position(jobs[name]) for name in "bcd"] == [1, 2, 3]


def test_lifo_pops_the_newest_job_first() -> None:
    order = Lifo()
    jobs = named(order, "abc")
    assert [order.position(jobs[name]) for name in "abc"] == [3, 2, 1]
    order.pop(0.0)
    fill(order, ready_job("d"))
    assert [order.position(jobs[name]) for name in "ab"] == [3, 2]
    assert popped(order) == ["d", "b", "a"]


def test_lifo_pops_a_returned_job_before_newer_jobs() -> None:
    order = Lifo()
    named(order, "ab")
    order.push(order.pop(0.0), now=1.0, front=True)
    newer = ready_job("newer")
    fill(order, newer)
    assert order.position(newer) == 2
    assert popped(order) == ["b", "newer", "a"]


def test_priority_pops_the_highest_first_and_equal_priorities_in_order() -> None:
    order = Priority()
    jobs = {
        name: ready_job(name, priority=priority)
        for name, priority in {"low": 0, "a": 5, "high": 9, "b": 5, "low2": 0}.items()
    }
    fill(order, *jobs.values())
    assert {name: order.position(job) for name, job in jobs.items()} == {"high": 1, "a": 2, "b": 3, "low": 4, "low2": 5}
    assert popped(order) == ["high", "a", "b", "low", "low2"]


def test_a_returned_job_is_first_within_its_priority_alone() -> None:
    order = Priority()
    fill(order, ready_job("a", priority=5), ready_job("b", priority=5))
    order.push(order.pop(0.0), now=1.0, front=True)
    fill(order, ready_job("urgent", priority=6), now=2.0)
    assert popped(order) == ["urgent", "a", "b"]


def test_aging_raises_a_job_by_one_priority_per_period_of_waiting() -> None:
    order = Priority(aging_s=10.0)
    order.push(ready_job("old", priority=3), now=0.0)
    order.push(ready_job("one higher, 9 s later", priority=4), now=9.0)
    order.push(ready_job("one higher, 11 s later", priority=4), now=11.0)
    order.push(ready_job("two higher, 19 s later", priority=5), now=19.0)
    assert popped(order, now=19.0) == [
        "two higher, 19 s later",
        "one higher, 9 s later",
        "old",
        "one higher, 11 s later",
    ]


def test_aging_prefers_the_higher_initial_priority_among_equal_jobs() -> None:
    order = Priority(aging_s=10.0)
    order.push(ready_job("low", priority=0), now=0.0)
    order.push(ready_job("high", priority=2), now=20.0)
    assert popped(order, now=30.0) == ["high", "low"]


def test_aging_keeps_a_returned_job_ahead_of_older_jobs_of_its_priority() -> None:
    order = Priority(aging_s=10.0)
    order.push(ready_job("a", priority=1), now=0.0)
    order.push(ready_job("b", priority=1), now=1.0)
    a = order.pop(2.0)
    order.push(ready_job("c", priority=2), now=12.0)
    order.push(a, now=50.0, front=True)
    assert popped(order, now=50.0) == ["a", "b", "c"]


SERVED_PER_S = 10


def pops_before_the_lowest(order: Priority, *, nines_per_s: int, seconds: int) -> int | None:
    """Serve ten jobs a second beside arrivals of priority 9; return the pops before the job of priority 0."""
    order.push(ready_job("lowest"), now=0.0)
    pops = nines = 0
    for tenth in range(10 * seconds):
        now = tenth / 10
        while nines < nines_per_s * now:
            order.push(ready_job(f"nine-{nines}", priority=9), now=now)
            nines += 1
        for _ in range(SERVED_PER_S // 10):
            if order.pop(now).id == "lowest":
                return pops
            pops += 1
    return None


@pytest.mark.parametrize("nines_per_s", [11, 20, 100])
def test_without_aging_the_lowest_priority_starves_beside_higher_ones(nines_per_s: int) -> None:
    assert pops_before_the_lowest(fed(Priority()), nines_per_s=nines_per_s, seconds=1000) is None


@pytest.mark.parametrize("nines_per_s", [11, 20, 100])
def test_aging_bounds_the_jobs_that_overtake_the_lowest_priority(nines_per_s: int) -> None:
    aging_s = 2.0
    pops = pops_before_the_lowest(fed(Priority(aging_s)), nines_per_s=nines_per_s, seconds=1000)
    assert pops is not None
    assert 9 * aging_s * SERVED_PER_S <= pops <= 9 * aging_s * nines_per_s + 10


def fed(order: Priority) -> Priority:
    """Push some jobs of the highest priority, so that there is always one."""
    fill(order, *(ready_job(f"first-{n}", priority=9) for n in range(5)))
    return order


def test_only_the_fair_order_calls_the_cost_function() -> None:
    asked = []

    def cost(job: Job) -> float:
        asked.append(discipline)
        return 1.0

    for discipline in Discipline:
        order = make_order(QueuePolicy(discipline=discipline), cost=cost)
        named(order, "ab")
        popped(order)
    assert set(asked) == {Discipline.FAIR}


@pytest.mark.parametrize(
    ("discipline", "kind"),
    [
        (Discipline.FIFO, Fifo),
        (Discipline.LIFO, Lifo),
        (Discipline.PRIORITY, Priority),
        (Discipline.FAIR, Fair),
        (Discipline.ADAPTIVE, Adaptive),
    ],
)
def test_the_discipline_of_a_policy_selects_the_order(discipline: Discipline, kind: type) -> None:
    assert type(order_of(discipline)) is kind


def test_the_policy_sets_the_aging_of_a_priority_order() -> None:
    order = make_order(QueuePolicy(discipline=Discipline.PRIORITY, aging_s=1.0))
    order.push(ready_job("old"), now=0.0)
    order.push(ready_job("new", priority=9), now=10.0)
    assert popped(order, now=10.0) == ["old", "new"]
