from __future__ import annotations

import pytest

from jobqueue.core.job import Job, JobId, JobSpec, JobState
from jobqueue.core.order import Fifo


def job(name: str) -> Job:
    return Job(
        id=JobId(name),
        spec=JobSpec(type="t"),
        args=b"{}",
        upload=None,
        state=JobState.QUEUED,
        created_at=0.0,
        run_at=0.0,
    )


def popped(order: Fifo) -> list[str]:
    return [order.pop() for _ in range(len(order))]


def test_fifo_takes_first_what_came_first() -> None:
    order = Fifo()
    for name in "abc":
        order.push(job(name))
    assert popped(order) == ["a", "b", "c"]


def test_fifo_gives_a_returned_job_its_turn_back() -> None:
    order = Fifo()
    order.push(job("a"))
    order.push(job("b"), front=True)
    assert popped(order) == ["b", "a"]


def test_fifo_forgets_a_job_that_is_ready_no_longer() -> None:
    order = Fifo()
    for name in "abc":
        order.push(job(name))
    order.remove(JobId("b"))
    order.remove(JobId("unknown"))
    assert popped(order) == ["a", "c"]


def test_fifo_has_nothing_to_pop_when_empty() -> None:
    with pytest.raises(IndexError):
        Fifo().pop()
