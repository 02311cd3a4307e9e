from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from jobqueue.core.job import Job, JobId
from jobqueue.core.policy import Discipline, QueuePolicy
from jobqueue.core.scheduling.adaptive import Adaptive
from jobqueue.core.scheduling.order import make_order
from tests.core.scheduling.order_models import named, popped, ready_job

TARGET_S = 3.0
INTERVAL_S = 30.0
PATIENCE_S = 30.0


class ServedOrder:
    """An adaptive order that serves one job per second; a job expires when the patience of its client ends."""

    def __init__(self) -> None:
        self.order = Adaptive(target_s=TARGET_S, interval_s=INTERVAL_S)
        self.now = 0.0
        self.owed = 0.0
        self.numbers = count()
        self.came: dict[JobId, tuple[float, Job]] = {}
        self.expired = 0

    def serve(self, seconds: int, *, load: float) -> Iterator[tuple[float, int]]:
        """Let seconds pass, with `load` arrivals in each; yield waiting time and number of each job served."""
        for _ in range(seconds):
            self.now += 1.0
            self.owed += load
            while self.owed >= 1.0:
                self.owed -= 1.0
                self.arrive()
            self.expire()
            if self.order:
                job = self.order.pop(self.now)
                yield self.now - self.came.pop(job.id)[0], int(job.id)

    def arrive(self) -> None:
        job = ready_job(f"{next(self.numbers)}")
        self.came[job.id] = (self.now, job)
        self.order.push(job, now=self.now)

    def expire(self) -> None:
        for came_at, job in [*self.came.values()]:
            if came_at + PATIENCE_S > self.now:
                break
            self.order.remove(job)
            del self.came[job.id]
            self.expired += 1


def run(served_order: ServedOrder, seconds: int, *, load: float) -> list[tuple[float, int]]:
    return list(served_order.serve(seconds, load=load))


def in_order(served: list[tuple[float, int]]) -> bool:
    numbers = [number for _, number in served]
    return numbers == sorted(numbers)


def test_an_adaptive_order_is_fifo_below_capacity() -> None:
    served_order = ServedOrder()
    served = run(served_order, 300, load=0.9)
    assert in_order(served)
    assert not served_order.order.newest_first


def test_an_adaptive_order_serves_a_burst_shorter_than_the_interval_as_fifo() -> None:
    served_order = ServedOrder()
    for _ in range(20):
        served_order.arrive()
    assert in_order(run(served_order, 60, load=0.2))
    assert served_order.expired == 0


def test_an_adaptive_order_at_double_load_serves_the_newest_jobs_within_a_second() -> None:
    served_order = ServedOrder()
    run(served_order, 120, load=2.0)
    assert served_order.order.newest_first
    served = run(served_order, 300, load=2.0)
    assert max(waited_s for waited_s, _ in served) <= 1.0
    assert served_order.order.newest_first, "the wait of the oldest job counts, not that of the popped one"
    assert served_order.expired > 200


def test_fifo_at_double_load_serves_each_job_at_the_end_of_its_patience() -> None:
    served_order = ServedOrder()
    served_order.order = make_order(QueuePolicy())  # type: ignore[assignment]  # another order, for comparison
    run(served_order, 120, load=2.0)
    served = run(served_order, 300, load=2.0)
    assert min(waited_s for waited_s, _ in served) >= PATIENCE_S - 2.0


def test_an_adaptive_order_returns_to_fifo_once_the_standing_queue_is_gone() -> None:
    served_order = ServedOrder()
    run(served_order, 200, load=2.0)
    assert not in_order(run(served_order, 20, load=0.5)), "old jobs are served between new ones, newest first"
    run(served_order, 80, load=0.5)
    assert in_order(run(served_order, 100, load=0.9))
    assert len(served_order.came) <= 2


def test_positions_follow_the_current_mode() -> None:
    order = Adaptive(target_s=1.0, interval_s=10.0)
    jobs = named(order, "abcdef")
    assert [order.position(job) for job in jobs.values()] == [1, 2, 3, 4, 5, 6]
    assert order.pop(5.0) is jobs["a"]
    assert order.pop(14.9) is jobs["b"]
    assert order.pop(15.0) is jobs["f"]
    assert [order.position(jobs[name]) for name in "cde"] == [3, 2, 1]
    assert order.pop(15.0) is jobs["e"]
    assert order.pop(15.0) is jobs["c"], "two waiting jobs are no standing queue"


def test_returned_jobs_go_first_in_both_modes() -> None:
    order = Adaptive(target_s=1.0, interval_s=10.0)
    jobs = named(order, "abcdefgh")
    a = order.pop(5.0)
    order.push(a, now=5.0, front=True)
    assert order.position(jobs["b"]) == 2
    assert order.pop(5.0) is a
    newest = order.pop(15.0)
    assert newest is jobs["h"]
    order.push(newest, now=16.0, front=True)
    order.push(ready_job("newer"), now=17.0)
    assert order.pop(18.0) is newest
    assert order.pop(18.0).id == "newer"


def test_an_order_emptied_by_removals_is_no_longer_standing() -> None:
    order = Adaptive(target_s=1.0, interval_s=10.0)
    jobs = named(order, "abcdef")
    order.pop(5.0)
    order.pop(15.0)
    for job in jobs.values():
        order.remove(job)
    named(order, "klmnop", now=20.0)
    assert popped(order, now=30.0) == [*"klmnop"], "above the target, but not yet for an interval"


def test_the_policy_sets_target_and_interval_directly_or_by_the_patience() -> None:
    def newest_first_after(policy: QueuePolicy, waited_s: float, later_s: float) -> bool:
        order = make_order(policy)
        assert isinstance(order, Adaptive)
        named(order, "abcdef")
        order.pop(waited_s)
        order.pop(waited_s + later_s)
        return order.newest_first

    policy = QueuePolicy(discipline=Discipline.ADAPTIVE, patience_s=20.0)
    assert newest_first_after(policy, 2.0, 20.0)
    assert not newest_first_after(policy, 1.9, 20.0)
    assert not newest_first_after(policy, 2.0, 19.9)
    policy = QueuePolicy(discipline=Discipline.ADAPTIVE, codel_target_s=0.5, codel_interval_s=5.0)
    assert newest_first_after(policy, 0.5, 5.0)
    assert not newest_first_after(policy, 0.4, 5.0)
    assert not newest_first_after(policy, 0.5, 4.9)
