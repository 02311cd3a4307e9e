from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.job import Job, JobId, Uniqueness
from jobqueue.core.policy import Limits
from jobqueue.core.record import changed
from jobqueue.core.scheduling.fair import COST_MAX, COST_MIN, Fair
from tests.core.scheduling.order_models import FairModel, Walk, fill, popped, ready_job

ELEPHANT = "elephant"
MICE = [f"mouse-{n:02}" for n in range(50)]
GROUPS = len(MICE) + 1
FAIR_SHARE_MAX = 1.25


def jobs_of(group: str | None, count: int) -> list[Job]:
    return [ready_job(f"{group}-{n}", group=group) for n in range(count)]


# Rounds


def test_groups_alternate_and_each_group_is_fifo() -> None:
    order = Fair()
    fill(order, *jobs_of("a", 4), *jobs_of("b", 2), *jobs_of(None, 1))
    assert popped(order) == ["a-0", "b-0", "None-0", "a-1", "b-1", "a-2", "a-3"]


def test_groups_of_an_owner_are_its_own_but_for_limits_across_owners() -> None:
    for across, expected in ((False, ["ann-0", "bob-0", "ann-1"]), (True, ["ann-0", "ann-1", "bob-0"])):
        order, limits = Fair(), Limits(group_concurrency=8, across_owners=across)
        jobs = jobs_of("a", 3)
        for job, owner, name in zip(jobs, ("ann", "ann", "bob"), ("ann-0", "ann-1", "bob-0"), strict=True):
            job.id, job.spec = JobId(name), changed(job.spec, limits=limits)
            job.uniqueness = Uniqueness(owner, plain=True, owner=owner)
        fill(order, *jobs)
        assert popped(order) == expected


def test_a_new_group_waits_for_at_most_one_job_of_each_other_group() -> None:
    order = Fair()
    fill(order, *jobs_of("a", 5), *jobs_of("b", 5))
    order.pop(0.0)
    fill(order, *jobs_of("c", 1))
    assert [order.pop(0.0).id for _ in range(3)] == ["b-0", "c-0", "a-1"]


def test_a_round_serves_cheap_jobs_up_to_the_cost_of_an_expensive_one() -> None:
    order = Fair(lambda job: 3.0 if job.spec.group == "dear" else 1.0)
    fill(order, *jobs_of("dear", 3), *jobs_of("cheap", 7))
    assert popped(order) == [
        *("dear-0", "cheap-0", "cheap-1", "cheap-2"),
        *("dear-1", "cheap-3", "cheap-4", "cheap-5"),
        *("dear-2", "cheap-6"),
    ]


def test_an_unspent_deficit_carries_over_to_the_next_round() -> None:
    costs = {"a-0": 2.0, "b-0": 3.0}
    order = Fair(lambda job: costs.get(job.id, 2.0))
    fill(order, *jobs_of("b", 5), *jobs_of("a", 5))
    # The quantum is 3. Group b spends 3, then 2 of 3, then 2 and 2 of 3 + 1, and so on.
    assert popped(order) == ["b-0", "a-0", "b-1", "a-1", "a-2", "b-2", "b-3", "a-3", "b-4", "a-4"]


def test_an_empty_group_loses_its_deficit() -> None:
    costs = {"a-0": 1.0}
    order = Fair(lambda job: costs.get(job.id, 4.0))
    fill(order, *jobs_of("b", 3), ready_job("a-0", group="a"))
    assert [order.pop(0.0).id for _ in range(2)] == ["b-0", "a-0"]  # a leaves 3 of its 4
    costs["a-1"] = costs["a-2"] = 3.0
    fill(order, *(ready_job(f"a-{n}", group="a") for n in (1, 2)))
    assert popped(order) == ["b-1", "a-1", "b-2", "a-2"]


def test_the_quantum_is_reset_once_all_jobs_are_served() -> None:
    dear = ready_job("dear", group="a")
    order = Fair(lambda job: 9.0 if job is dear else 1.0)
    fill(order, dear)
    order.pop(0.0)
    fill(order, *jobs_of("a", 2), *jobs_of("b", 2))
    assert popped(order) == ["a-0", "b-0", "a-1", "b-1"]


def test_the_quantum_is_reset_once_all_jobs_are_removed() -> None:
    dear, other = ready_job("dear", group="a"), ready_job("other", group="a")
    order = Fair(lambda job: 9.0 if job is dear else 1.0)
    fill(order, dear, other)
    order.pop(0.0)
    order.remove(other)
    fill(order, *jobs_of("a", 2), *jobs_of("b", 2))
    assert popped(order) == ["a-0", "b-0", "a-1", "b-1"]


def test_a_returned_job_is_first_in_its_group_and_charged_again() -> None:
    order = Fair()
    fill(order, *jobs_of("a", 2), *jobs_of("b", 2))
    first = order.pop(0.0)
    order.push(first, now=1.0, front=True)
    assert popped(order) == ["b-0", "a-0", "b-1", "a-1"]


@pytest.mark.parametrize(
    ("cost", "counts_as"), [(0.0, COST_MIN), (-1.0, COST_MIN), (1e9, COST_MAX), (float("nan"), COST_MIN)]
)
def test_a_cost_is_clamped_to_its_bounds(cost: float, counts_as: float) -> None:
    order = Fair(lambda job: cost if job.spec.group == "odd" else 1.0)
    fill(order, *jobs_of("sane", 100), *jobs_of("odd", 100))
    share = Counter(job.split("-")[0] for job in [order.pop(0.0).id for _ in range(66)])
    assert share["odd"] / share["sane"] == pytest.approx(1 / counts_as, rel=0.1)


def test_a_position_assumes_groups_of_equal_length() -> None:
    order = Fair()
    a, b = jobs_of("a", 3), jobs_of("b", 1)
    fill(order, *a, *b)
    assert [order.position(job) for job in (*a, *b)] == [2, 4, 4, 2]
    order.remove(b[0])
    assert [order.position(job) for job in (*a, *b)] == [1, 2, 3, None]


# Against the paper


def random_costs(rng: Random) -> dict[JobId, Fraction]:
    """Costs in sixteenths, which floats hold exactly, by the job names of `Walk`."""
    return {JobId(f"job-{n:06}"): Fraction(rng.randint(2, 160), 16) for n in range(100_000)}


@pytest.mark.parametrize("seed", range(3))
def test_fair_order_matches_deficit_round_robin_for_random_costs(seed: int) -> None:
    rng = Random(seed)
    costs = random_costs(rng)
    order = Fair(lambda job: float(costs[job.id]))
    Walk(order, FairModel(costs), exact_positions=False).stroll(rng, 100_000 if seed == 0 else 20_000)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([None, "a", "b", "c"]), st.integers(2, 160), st.integers(0, 9)),
        max_size=50,
    )
)
def test_fair_order_matches_the_paper_for_small_batches(steps: list[tuple[int, str | None, int, int]]) -> None:
    costs: dict[JobId, Fraction] = {}
    walk = Walk(Fair(lambda job: float(costs[job.id])), FairModel(costs), exact_positions=False)
    for pops, group, sixteenths, pick in steps:
        for _ in range(pops):
            walk.pop()
        if pick == 0:
            walk.give_back()
        if pick == 1:
            walk.remove(sixteenths)
        costs[JobId(f"job-{walk.serial:06}")] = Fraction(sixteenths, 16)
        walk.push_new(priority=0, group=group)
    walk.drain()


# Fairness, measured


def served(cost: Callable[[Job], float], pops: int) -> list[tuple[str, float]]:
    """Serve one group of 5,000 jobs beside 50 groups of two jobs; return (group, cost) of each pop, in order."""
    order = Fair(cost)
    numbers = count()
    fill(order, *(ready_job(f"{next(numbers)}", group=ELEPHANT) for _ in range(5000)))
    for mouse in MICE:
        fill(order, *(ready_job(f"{next(numbers)}", group=mouse) for _ in range(2)))
    out = []
    for _ in range(pops):
        job = order.pop(0.0)
        group = job.spec.group
        assert group is not None
        out.append((group, min(COST_MAX, max(COST_MIN, cost(job)))))
        fill(order, ready_job(f"{next(numbers)}", group=group))
    return out


def shares(log: Sequence[tuple[str, float]], window: int) -> Iterator[float]:
    """Yield, for each window of pops, the ratio of the best served group's cost to its fair share."""
    got = dict.fromkeys([ELEPHANT, *MICE], 0.0)
    total = 0.0
    held: deque[tuple[str, float]] = deque()
    for group, cost in log:
        held.append((group, cost))
        got[group] += cost
        total += cost
        if len(held) > window:
            gone, was = held.popleft()
            got[gone] -= was
            total -= was
        if len(held) == window:
            yield max(got.values()) / (total / GROUPS)


def test_each_group_gets_exactly_its_fair_share_in_whole_rounds() -> None:
    log = served(lambda job: 1.0, 5000)
    for rounds in range(1, 11):
        assert max(shares(log, rounds * GROUPS)) == 1.0


def test_no_group_exceeds_its_fair_share_by_more_than_a_quarter_or_one_job() -> None:
    log = served(lambda job: 1.0, 5000)
    for window in range(GROUPS, 10 * GROUPS, 7):
        fair_share = window / GROUPS
        worst = max(shares(log, window))
        assert worst * fair_share <= max(FAIR_SHARE_MAX * fair_share, -(-window // GROUPS))
        if window >= 4 * GROUPS:
            assert worst <= FAIR_SHARE_MAX


def test_fair_order_shares_run_time_for_random_costs() -> None:
    rng = Random(11)
    costs = [rng.uniform(0.25, 4.0) for _ in range(20_000)]
    log = served(lambda job: costs[int(job.id)], 12_000)
    pops_per_round = GROUPS * 4.0 / (sum(costs) / len(costs))
    for rounds in (10, 12, 15, 20):
        worst = max(shares(log, round(rounds * pops_per_round)))
        assert worst <= FAIR_SHARE_MAX, f"in {rounds} rounds a group got {worst:.3f} times its share"


def test_groups_of_expensive_and_of_cheap_jobs_get_equal_run_time() -> None:
    order = Fair(lambda job: 4.0 if job.spec.group == "dear" else 0.25)
    fill(order, *jobs_of("dear", 200), *jobs_of("cheap", 3200))
    log = Counter(order.pop(0.0).spec.group for _ in range(1700))
    assert log["dear"] * 4.0 == pytest.approx(log["cheap"] * 0.25, rel=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_a_small_group_waits_for_at_most_one_job_of_each_other_group_beside_a_large_one(seed: int) -> None:
    rng = Random(seed)
    order = Fair()
    fill(order, *jobs_of(ELEPHANT, 5000))
    waiting: dict[str, int] = {}  # mouse -> the last pop that may precede its own
    longest = 0
    for pop in range(4000):
        for mouse in rng.sample(MICE, rng.randrange(4)):
            if mouse not in waiting:
                fill(order, ready_job(f"{mouse}-{pop}", group=mouse))
                waiting[mouse] = pop + len(waiting) + 2
        group = order.pop(0.0).spec.group
        if group in waiting:
            assert pop < waiting.pop(group)
        assert all(pop < latest for latest in waiting.values())
        longest = max(longest, len(waiting))
    assert longest > 25, "few small groups waited at once"


# Calls of the cost function


def test_a_pop_asks_for_at_most_two_costs_and_other_operations_for_none() -> None:
    rng = Random(3)
    looked = 0

    def cost(job: Job) -> float:
        nonlocal looked
        looked += 1
        return rng.uniform(0.05, 20.0)  # a new cost at each call: the worst case

    order = Fair(cost)
    jobs = [ready_job(f"{n}", group=f"{n % 10_000}") for n in range(20_000)]
    fill(order, *jobs)
    for job in jobs[:5000]:
        order.position(job)
        order.remove(job)
    assert looked == 0
    while order:
        before = looked
        order.pop(0.0)
        assert 1 <= looked - before <= 2


def test_idle_groups_hold_no_memory_and_do_not_slow_a_pop() -> None:
    looked = 0

    def cost(job: Job) -> float:
        nonlocal looked
        looked += 1
        return 1.0

    order = Fair(cost)
    jobs = [ready_job(f"{n}", group=f"{n}") for n in range(10_000)]
    fill(order, *jobs)
    for job in jobs[5000:]:
        order.remove(job)
    popped(order)
    assert len(order._ring) == 0
    looked = 0
    fill(order, *jobs_of("the only one", 100))
    popped(order)
    assert looked < 2 * 100
