"""Jobs that wait for others, and flows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobqueue.api_limits import PARENTS_MAX
from jobqueue.core.events import Ended, ParentsEnded, Ready
from jobqueue.core.flow import summary_of_flow
from jobqueue.core.flows import FLOW_JOBS_MAX
from jobqueue.core.job import IdempotencyKey, Job, JobId, JobSpec, JobState, Unique, Uniqueness
from jobqueue.core.lineage import Lineage, Link
from jobqueue.core.policy import Discipline, QueuePolicy
from jobqueue.core.report import ErrorCode, Progress
from jobqueue.core.scheduling.eta import FOR_PARENTS
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.errors import InvalidSubmission, JobGone, JobNotFound, QueueFull, WrongState
from tests.core.making import FAILED, FINAL, Driver

PLAIN = (JobSpec(type="t"), b"{}", None, None)


def end(driver: Driver, job: Job, state: str) -> None:
    """Bring a live job to a terminal state, and let ticks tell its children."""
    match state:
        case "succeeded":
            driver.lease(job)
            driver.ack(job)
        case "failed":
            driver.lease(job)
            driver.nack(job, failure=FINAL)
        case "cancelled":
            driver.cancel(job)
        case _:
            driver.advance(20.0)
    driver.tick()
    assert job.state == state


def parent_of(driver: Driver, state: str) -> Job:
    """Submit a job that `end` can bring to this state."""
    return driver.submit(start_by_s=10.0 if state == "expired" else None)


def told(job: Job) -> str:
    assert job.error is not None
    assert job.error.code is ErrorCode.PARENT_FAILED
    return job.error.message


# -- waiting


def test_a_child_waits_until_all_its_parents_have_succeeded() -> None:
    driver = Driver()
    first, second = driver.submit(), driver.submit()
    child = driver.submit_after(first, second, first)
    assert child.lineage == Lineage((first.id, second.id), "cancel", None, None)
    end(driver, first, "succeeded")
    assert (child.state, driver.engine.queue_states["default"].counts[JobState.WAITING]) == (JobState.WAITING, 1)
    end(driver, second, "succeeded")
    assert child.state is JobState.QUEUED
    assert driver.events[-2:] == [ParentsEnded(child), Ready(child)]
    assert driver.start_next() is child


def test_a_waiting_job_holds_a_slot_and_is_not_started() -> None:
    driver = Driver(capacity=2)
    parent = driver.submit()
    driver.submit_after(parent)
    assert driver.start_next() is parent
    assert driver.start_next() is None
    with pytest.raises(QueueFull):
        driver.submit(queue="default")


@pytest.mark.parametrize("state", ["failed", "cancelled", "expired"])
def test_a_parent_that_does_not_succeed_cancels_its_children_and_theirs(state: str) -> None:
    driver = Driver()
    parent = parent_of(driver, state)
    child = driver.submit_after(parent, args=b"kept")
    grandchild = driver.submit_after(child)
    end(driver, parent, state)
    assert [job.state for job in (child, grandchild)] == [JobState.CANCELLED] * 2
    assert told(child) == f"the parent {parent.id} {'' if state in ('failed', 'expired') else 'was '}{state}"
    assert told(grandchild) == f"the parent {child.id} was cancelled"
    assert child.args == b"kept", "for the retry of its flow"
    assert driver.engine.live() == 0


@pytest.mark.parametrize("state", ["failed", "cancelled", "expired", "succeeded"])
def test_a_child_that_runs_in_any_case_is_queued_once_all_parents_have_ended(state: str) -> None:
    driver = Driver()
    parent, other = parent_of(driver, state), driver.submit()
    child = driver.submit_after(parent, other, on_failure="run")
    end(driver, parent, state)
    assert child.state is JobState.WAITING
    end(driver, other, "failed")
    assert child.state is JobState.QUEUED


@pytest.mark.parametrize("state", ["failed", "cancelled", "expired"])
def test_a_parent_that_has_ended_already_is_judged_at_once(state: str) -> None:
    driver = Driver()
    parent = parent_of(driver, state)
    end(driver, parent, state)
    child = driver.submit_after(parent)
    assert child.state is JobState.CANCELLED
    assert parent.id in told(child)
    assert driver.submit_after(parent, on_failure="run").state is JobState.QUEUED


def test_a_child_of_succeeded_parents_is_queued_at_once() -> None:
    driver = Driver()
    assert driver.submit_after(driver.done()).state is JobState.QUEUED


def test_the_delay_of_a_child_begins_with_its_release_and_its_start_by_with_its_acceptance() -> None:
    driver = Driver()
    parent = driver.submit()
    later = driver.submit_after(parent, delay_s=5.0)
    hasty = driver.submit_after(parent, start_by_s=3.0)
    driver.advance(2.0)
    end(driver, parent, "succeeded")
    assert (later.state, later.run_at) == (JobState.DELAYED, driver.now + 5.0)
    assert hasty.state is JobState.QUEUED
    driver.advance(1.0)
    assert hasty.state is JobState.EXPIRED
    driver.advance(4.0)
    assert later.state is JobState.QUEUED


def test_a_waiting_job_expires_at_its_start_by() -> None:
    driver = Driver()
    child = driver.submit_after(driver.submit(), start_by_s=3.0)
    driver.advance(3.0)
    assert child.state is JobState.EXPIRED


def test_the_patience_of_an_adaptive_queue_begins_with_the_release() -> None:
    queues = {"default": QueuePolicy(capacity=10, discipline=Discipline.ADAPTIVE, patience_s=4.0)}
    driver = Driver(queues=queues)
    parent = driver.submit(start_by_s=100.0)
    child = driver.submit_after(parent)
    driver.advance(10.0)
    end(driver, parent, "succeeded")
    assert (child.state, child.start_by_at) == (JobState.QUEUED, driver.now + 4.0)


def test_a_waiting_job_can_be_cancelled_but_not_run_or_deleted() -> None:
    driver = Driver()
    parent = driver.submit()
    child = driver.submit_after(parent)
    with pytest.raises(WrongState):
        driver.run_now(child)
    with pytest.raises(WrongState):
        driver.engine.delete(child.id)
    driver.cancel(child)
    end(driver, parent, "succeeded")
    assert child.state is JobState.CANCELLED
    assert child.error is None


def test_a_parent_that_is_retried_does_not_count_twice() -> None:
    driver = Driver()
    first, second = driver.submit(), driver.submit()
    child = driver.submit_after(first, second, on_failure="run")
    for _ in range(3):
        end(driver, first, "failed")
        driver.retry(first)
    assert child.state is JobState.WAITING
    end(driver, second, "succeeded")
    assert child.state is JobState.QUEUED


def test_an_estimate_says_that_a_job_waits_for_its_parents() -> None:
    driver = Driver()
    child = driver.submit_after(driver.submit())
    estimate = driver.engine.estimate(child, now=driver.now)
    assert (estimate.position, estimate.eta_s, estimate.waiting_for) == (None, None, FOR_PARENTS)


def test_a_chain_of_a_thousand_jobs_fails_in_one_tick_without_recursion() -> None:
    driver = Driver(capacity=1001)
    chain = [driver.submit()]
    for _ in range(1000):
        chain.append(driver.submit_after(chain[-1]))
    end(driver, chain[0], "failed")
    while driver.engine.next_at() == 0.0:
        driver.tick()
    assert {job.state for job in chain[1:]} == {JobState.CANCELLED}


def test_many_children_are_released_in_portions() -> None:
    driver = Driver(capacity=3001)
    parent = driver.submit()
    children = [driver.submit_after(parent) for _ in range(3000)]
    driver.lease(parent)
    driver.ack(parent)
    waiting = []
    while driver.engine.next_at() == 0.0:
        driver.tick()
        waiting.append(driver.engine.queue_states["default"].counts[JobState.WAITING])
    assert waiting == [2000, 1000, 0]
    assert [driver.start_next() for _ in range(3)] == children[:3]


# -- records that are needed

BOUNDS = StoreBounds(ttl_s=10.0, failed_ttl_s=30.0)


def test_a_record_outlives_its_ttl_while_a_child_needs_it() -> None:
    driver = Driver(bounds=BOUNDS)
    parent, other = driver.done(), driver.submit()
    child = driver.submit_after(parent, other)
    driver.advance(50.0)
    assert driver.engine.find(parent.id) is parent
    end(driver, other, "succeeded")
    driver.lease(child)
    driver.advance(50.0)
    assert driver.engine.find(parent.id) is parent
    driver.ack(child)
    driver.advance(0.0)
    assert driver.engine.find(parent.id) is None
    assert driver.engine.find(other.id) is None, "its TTL was over, too"


def test_a_record_goes_with_its_ttl_if_no_child_needs_it_any_more() -> None:
    driver = Driver(bounds=BOUNDS)
    parent = driver.submit()
    child = driver.submit_after(parent)
    end(driver, parent, "succeeded")
    end(driver, child, "succeeded")
    driver.advance(9.0)
    assert driver.engine.find(parent.id) is parent
    driver.advance(1.5)
    assert driver.engine.find(parent.id) is None


def test_a_child_that_may_be_retried_keeps_the_records_of_its_parents() -> None:
    driver = Driver(bounds=BOUNDS)
    parent = driver.done()
    child = driver.submit_after(parent)
    end(driver, child, "failed")
    driver.advance(29.0)
    assert driver.engine.find(parent.id) is parent
    driver.advance(2.0)
    assert [driver.engine.find(job.id) for job in (parent, child)] == [None, None]


def test_a_bound_evicts_needed_records_last_and_cancels_waiting_children() -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=4))
    parent, other = driver.done(), driver.submit()
    child = driver.submit_after(parent, other)
    unneeded = driver.done()
    driver.submit()
    assert [driver.engine.find(job.id) for job in (parent, unneeded)] == [parent, None]
    driver.submit()
    driver.tick()
    assert driver.engine.find(parent.id) is None
    assert (child.state, told(child)) == (
        JobState.CANCELLED,
        f"the parent {parent.id} was evicted before this job started",
    )


def test_the_room_for_a_child_is_not_made_by_its_parent() -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=2))
    parent, other = driver.done(), driver.done()
    child = driver.submit_after(parent)
    assert child.state is JobState.QUEUED
    assert [driver.engine.find(job.id) for job in (parent, other)] == [parent, None]


def test_the_record_of_a_parent_of_a_live_job_can_not_be_deleted() -> None:
    driver = Driver()
    parent = driver.done()
    child = driver.submit_after(parent)
    with pytest.raises(WrongState, match=f"job {child.id} is live and needs this record"):
        driver.engine.delete(parent.id)
    end(driver, child, "failed")
    driver.engine.delete(parent.id)
    driver.note_events()
    driver.tick()
    driver.retry(child)
    assert child.state is JobState.QUEUED


def test_the_live_child_of_another_owner_has_no_name_in_a_refusal() -> None:
    driver = Driver()
    parent = driver.submit()
    child = (*PLAIN[:3], Uniqueness("bob", owner="bob"))
    (result,) = driver.engine.submit_together([child], [Link((parent.id,))], now=driver.now)
    driver.note_events()
    driver.lease(parent)
    driver.ack(parent)
    with pytest.raises(WrongState, match="a job of another owner is live and needs this record") as caught:
        driver.engine.delete(parent.id)
    assert result.job.id not in str(caught.value)


# -- submissions


def test_the_error_of_an_unknown_parent_has_the_index_of_its_child() -> None:
    driver = Driver()
    parent = driver.submit()
    with pytest.raises(JobNotFound) as caught:
        driver.engine.submit_together([PLAIN, PLAIN], [None, Link((parent.id, "nothing"))], now=driver.now)
    assert caught.value.item == 1
    assert driver.engine.live() == 1


def test_a_parent_of_another_owner_is_unknown() -> None:
    driver = Driver()
    secret = Uniqueness("ann", plain=True, owner="ann")
    parent = driver.engine.submit(*PLAIN[:3], secret, now=driver.now).job
    with pytest.raises(JobNotFound):
        driver.engine.submit_together([PLAIN], [Link((parent.id,))], owner="bob", now=driver.now)
    driver.engine.submit_together([PLAIN], [Link((parent.id,))], owner="ann", now=driver.now)


def test_a_parent_that_is_gone_rejects_the_job() -> None:
    driver = Driver()
    parent = driver.done()
    driver.engine.delete(parent.id)
    with pytest.raises(JobGone):
        driver.submit_after(parent)


def test_more_parents_than_the_bound_are_invalid() -> None:
    link = Link(tuple("x" for _ in range(PARENTS_MAX + 1)))
    with pytest.raises(InvalidSubmission, match="at most 10,000 parents"):
        Driver().engine.submit_together([PLAIN], [link], now=0.0)


def test_parents_count_towards_the_bytes_of_the_store() -> None:
    driver = Driver(capacity=200)
    parents = [driver.submit() for _ in range(100)]
    before = driver.engine.store.bytes_used
    child = driver.submit_after(*parents)
    assert driver.engine.store.bytes_used - before == len(child.args) + child.held_bytes > 100 * 100


# -- flows

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def view(driver: Driver, jobs: dict[str, Job]) -> Any:
    lineage = jobs["a"].lineage
    assert lineage is not None
    assert lineage.flow is not None
    return driver.engine.flows.view(lineage.flow)


def flow_of(jobs: dict[str, Job]) -> JobId:
    lineage = next(iter(jobs.values())).lineage
    assert lineage is not None
    assert lineage.flow is not None
    return lineage.flow


def run_all(driver: Driver) -> list[Job]:
    """Let all jobs that may start succeed; return them in their order."""
    ran = []
    while (job := driver.start_next()) is not None:
        driver.ack(job)
        driver.tick()
        ran.append(job)
    return ran


def test_a_flow_runs_its_jobs_after_their_parents_and_succeeds() -> None:
    driver = Driver()
    jobs = driver.submit_flow(DIAMOND)
    assert view(driver, jobs).counts == {JobState.WAITING: 3, JobState.QUEUED: 1}
    assert run_all(driver) == list(jobs.values())
    ended = view(driver, jobs)
    assert (ended.state, ended.counts, ended.finished_at) == ("succeeded", {JobState.SUCCEEDED: 4}, driver.now)
    assert [(job.name, job.parents) for job in ended.jobs][3] == ("d", (jobs["b"].id, jobs["c"].id))


def test_a_flow_that_does_not_fit_leaves_nothing() -> None:
    driver = Driver(capacity=3, queues={"default": QueuePolicy(capacity=4)})
    driver.submit()
    with pytest.raises(QueueFull):
        driver.submit_flow(DIAMOND)
    assert (driver.engine.live(), driver.engine.flows.all()) == (1, [])


def test_a_cancelled_flow_cancels_all_that_is_live() -> None:
    driver = Driver()
    jobs = driver.submit_flow(DIAMOND)
    end(driver, jobs["a"], "succeeded")
    driver.cancel_flow(flow_of(jobs))
    driver.note_events()
    assert view(driver, jobs).state == "cancelled"
    assert [jobs[name].error for name in "bcd"] == [None] * 3
    with pytest.raises(WrongState, match="the flow is cancelled already"):
        driver.cancel_flow(flow_of(jobs))


def test_a_cancel_in_portions_takes_children_before_their_parents_so_that_none_is_released() -> None:
    driver = Driver()
    parent = Link(name="parent")
    child = Link(beside=(0,), on_failure="run", name="child")
    flow = driver.engine.submit_flow([PLAIN] * 2, [parent, child], now=driver.now).flow
    cancel = driver.engine.flows.begin_cancel(flow.id)
    assert cancel.go_on(driver.now, 1)
    assert [job.state for job in driver.engine.flows.view(flow.id).jobs] == ["queued", "cancelled"]
    driver.tick()
    assert not cancel.go_on(driver.now, 1)
    assert driver.engine.flows.view(flow.id).state == "cancelled"


def test_no_job_of_a_flow_starts_once_its_cancel_has_begun() -> None:
    driver = Driver()
    jobs = driver.submit_flow({"a": [], "b": ["a"], "c": [], "d": [], "e": ["d"]})
    other = driver.submit()
    driver.lease(jobs["a"])
    cancel = driver.engine.flows.begin_cancel(flow_of(jobs))
    assert driver.start_next() is other
    assert driver.start_next() is None
    assert [jobs[name].state.value for name in "acd"] == ["running", "cancelled", "cancelled"]
    driver.ack(jobs["a"])
    driver.tick()
    assert [(jobs[name].state.value, jobs[name].error) for name in "be"] == [("cancelled", None)] * 2
    assert not any(isinstance(event, ParentsEnded) for event in driver.events)
    assert not cancel.go_on(driver.now, 5)
    assert view(driver, jobs).counts == {"succeeded": 1, "cancelled": 4}


def test_a_flow_that_was_cancelled_can_run_again_once_its_cancel_is_over() -> None:
    driver = Driver()
    jobs = driver.submit_flow({"a": [], "b": []})
    end(driver, jobs["a"], "failed")
    driver.cancel_flow(flow_of(jobs))
    driver.retry(jobs["a"])
    assert driver.start_next() is jobs["a"]


def test_no_job_of_a_flow_starts_until_the_last_of_its_cancels_is_over() -> None:
    driver = Driver()
    jobs = driver.submit_flow({"a": [], "b": [], "c": []})
    driver.lease(jobs["a"])
    first, second = (driver.engine.flows.begin_cancel(flow_of(jobs)) for _ in range(2))
    assert not first.go_on(driver.now, 3)
    (late,) = driver.engine.submit_together([PLAIN], flow=flow_of(jobs), now=driver.now)
    assert driver.start_next() is None
    assert late.job.state == "cancelled"
    assert not second.go_on(driver.now, 3)
    assert not first.go_on(driver.now, 3)
    assert driver.engine._transitions.flow_index.cancels == {}


def test_a_cancel_takes_jobs_that_join_the_flow_meanwhile() -> None:
    driver = Driver()
    jobs = driver.submit_flow({"a": [], "b": ["a"]})
    driver.lease(jobs["a"])
    cancel = driver.engine.flows.begin_cancel(flow_of(jobs))
    assert cancel.go_on(driver.now, 1)
    (late,) = driver.engine.submit_together([PLAIN], flow=flow_of(jobs), now=driver.now)
    assert cancel.go_on(driver.now, 1)
    assert (jobs["a"].stopping, late.job.state) == ("cancelled", "queued")
    assert not cancel.go_on(driver.now, 1)
    assert late.job.state == "cancelled"


def test_a_cancel_goes_on_although_records_are_gone_meanwhile() -> None:
    driver = Driver(bounds=BOUNDS)
    jobs = driver.submit_flow({"a": [], "b": []}, start_by_s=5.0)
    cancel = driver.engine.flows.begin_cancel(flow_of(jobs))
    driver.advance(16.0)
    with pytest.raises(JobGone):
        driver.engine.flows.view(cancel.flow.id)
    assert not cancel.go_on(driver.now, 10)
    assert driver.engine.flows.view_of(cancel.flow).state == "failed"


def test_a_retry_takes_the_failed_jobs_and_their_cancelled_descendants() -> None:
    driver = Driver()
    jobs = driver.submit_flow({**DIAMOND, "e": ["a"], "f": ["e"]})
    end(driver, jobs["a"], "succeeded")
    end(driver, jobs["b"], "failed")
    end(driver, jobs["c"], "succeeded")
    driver.cancel(jobs["e"])
    driver.tick()
    assert view(driver, jobs).state == "failed"
    retried = driver.engine.flows.retry(flow_of(jobs), now=driver.now)
    driver.note_events()
    assert retried.state == "running"
    assert [jobs[name].state.value for name in "abcdef"] == [
        *("succeeded", "queued", "succeeded", "waiting", "cancelled", "cancelled")
    ]
    assert run_all(driver) == [jobs["b"], jobs["d"]]
    with pytest.raises(WrongState, match="no job of it can be retried"):
        driver.engine.flows.retry(flow_of(jobs), now=driver.now)


def test_a_retry_takes_children_that_ticks_have_not_reached() -> None:
    driver = Driver()
    jobs = driver.submit_flow(DIAMOND)
    driver.lease(jobs["a"])
    driver.nack(jobs["a"], failure=FINAL)
    driver.engine.flows.retry(flow_of(jobs), now=driver.now)
    driver.note_events()
    assert run_all(driver) == list(jobs.values())


def test_a_retry_that_does_not_fit_changes_nothing() -> None:
    driver = Driver(queues={"default": QueuePolicy(capacity=4)})
    jobs = driver.submit_flow(DIAMOND)
    end(driver, jobs["a"], "failed")
    driver.submit()
    with pytest.raises(QueueFull):
        driver.engine.flows.retry(flow_of(jobs), now=driver.now)
    assert [jobs[name].state.value for name in "abcd"] == ["failed", *["cancelled"] * 3]


def test_a_retry_takes_none_of_two_jobs_with_the_same_unique_value() -> None:
    driver = Driver()
    flow_id = flow_of(driver.submit_flow({"a": []}))
    asked = (*PLAIN[:3], Uniqueness(None, unique=Unique("v")))
    twins = []
    for _ in range(2):
        (result,) = driver.engine.submit_together([asked], None, flow=flow_id, now=driver.now)
        driver.note_events()
        end(driver, result.job, "failed")
        twins.append(result.job)
    with pytest.raises(WrongState, match=f"jobs {twins[0].id} and {twins[1].id} have the same unique value"):
        driver.engine.flows.retry(flow_id, now=driver.now)
    assert [job.state for job in twins] == [JobState.FAILED] * 2
    driver.retry(twins[1])
    assert twins[1].live


def test_a_retried_job_that_runs_in_any_case_waits_for_a_parent_that_was_retried_alone() -> None:
    driver = Driver()
    links = [Link(name="a"), Link(beside=(0,), on_failure="run", name="b")]
    view = driver.engine.submit_flow([PLAIN] * 2, links, now=driver.now).flow
    driver.note_events()
    parent, child = [driver.engine.get(job.id) for job in view.jobs]
    end(driver, parent, "failed")
    end(driver, child, "failed")
    driver.retry(parent)
    driver.engine.flows.retry(view.id, now=driver.now)
    driver.note_events()
    assert child.state is JobState.WAITING
    assert run_all(driver) == [parent, child]


def test_a_job_joins_a_flow_while_it_runs() -> None:
    driver = Driver()
    jobs = driver.submit_flow({"a": []})
    driver.lease(jobs["a"])
    joined = driver.engine.submit_together(
        [PLAIN] * 2, [Link(name="b"), Link(beside=(0,), name="c")], flow=flow_of(jobs), now=driver.now
    )
    with pytest.raises(InvalidSubmission, match="has a job 'b' already") as caught:
        driver.engine.submit_together([PLAIN], [Link(name="b")], flow=flow_of(jobs), now=driver.now)
    assert caught.value.item == 0
    with pytest.raises(InvalidSubmission, match="has a job 'd' already") as caught:
        driver.engine.submit_together([PLAIN] * 2, [Link(name="d")] * 2, flow=flow_of(jobs), now=driver.now)
    assert caught.value.item == 1
    driver.ack(jobs["a"])
    assert run_all(driver) == [result.job for result in joined]
    assert view(driver, jobs).counts == {JobState.SUCCEEDED: 3}
    with pytest.raises(WrongState, match="the flow is succeeded already"):
        driver.engine.submit_together([PLAIN], None, flow=flow_of(jobs), now=driver.now)


def test_a_flow_has_a_bound() -> None:
    driver = Driver(capacity=FLOW_JOBS_MAX + 5)
    jobs = driver.submit_flow({"a": []})
    with pytest.raises(InvalidSubmission, match="a flow has at most 20,000 jobs"):
        driver.engine.submit_together(
            [PLAIN] * FLOW_JOBS_MAX, [Link()] * FLOW_JOBS_MAX, flow=flow_of(jobs), now=driver.now
        )


def test_the_key_of_the_first_job_is_that_of_the_flow() -> None:
    driver = Driver()
    keyed = (*PLAIN[:3], Uniqueness("ann", key=IdempotencyKey("k", b"f")))
    first = driver.engine.submit_flow([keyed, PLAIN], [Link(), Link(beside=(0,))], now=driver.now)
    again = driver.engine.submit_flow([keyed, PLAIN], [Link(), Link(beside=(0,))], now=driver.now)
    assert (first.duplicate, again.duplicate, again.flow.id) == (False, True, first.flow.id)
    assert driver.engine.live() == 2


def test_a_flow_counts_evicted_jobs_and_goes_with_its_last_record() -> None:
    driver = Driver(bounds=BOUNDS)
    jobs = driver.submit_flow({"a": [], "b": []})
    end(driver, jobs["a"], "succeeded")
    before = view(driver, jobs).version
    driver.advance(11.0)
    shrunk = driver.engine.flows.view(flow_of(jobs))
    assert (shrunk.counts, shrunk.evicted) == ({JobState.QUEUED: 1, JobState.SUCCEEDED: 1}, 1)
    assert [job.name for job in shrunk.jobs] == ["b"]
    assert shrunk.version >= before
    end(driver, jobs["b"], "succeeded")
    driver.advance(11.0)
    with pytest.raises(JobGone):
        driver.engine.flows.view(shrunk.id)
    with pytest.raises(JobNotFound):
        driver.engine.flows.view("nothing")
    assert not driver.engine._transitions.flow_index.any


def test_a_flow_knows_its_state_and_ends_without_looking_at_its_jobs() -> None:
    driver = Driver(bounds=BOUNDS)
    jobs = driver.submit_flow({"a": [], "b": ["a"], "c": []})
    assert summary(driver) == ("running", 3, {}, 0)
    end(driver, jobs["a"], "failed")
    assert (jobs["b"].state, summary(driver)) == ("cancelled", ("running", 1, {"failed": 1, "cancelled": 1}, 0))
    end(driver, jobs["c"], "succeeded")
    assert summary(driver) == ("failed", 0, {"failed": 1, "cancelled": 1, "succeeded": 1}, 0)
    driver.engine.flows.retry(flow_of(jobs), now=driver.now)
    assert summary(driver) == ("running", 2, {"failed": 0, "cancelled": 0, "succeeded": 1}, 0)
    end(driver, jobs["a"], "succeeded")
    driver.advance(11.0)
    assert jobs["b"].state == "queued"
    assert summary(driver) == ("running", 1, {"failed": 0, "cancelled": 0, "succeeded": 2}, 1)


def summary(driver: Driver) -> tuple[str, int, dict[str, int], int]:
    """Return the state and counts of the newest flow."""
    (flow,) = driver.engine.flows.newest(None, 1)
    told = summary_of_flow(flow)
    assert told.state == driver.engine.flows.view(flow.id).state
    return told.state, told.live, {str(state): count for state, count in told.ended.items()}, told.evicted


def test_the_newest_flows_come_first() -> None:
    driver = Driver(capacity=100)
    ids = [flow_of(driver.submit_flow({"a": []})) for _ in range(5)]
    newest = driver.engine.flows.newest
    assert [flow.id for flow in newest(None, 2)] == ids[:2:-1]
    assert [flow.id for flow in newest(ids[3], 10)] == ids[2::-1]
    assert newest(ids[0], 10) == []


def test_a_view_has_a_part_of_the_jobs_and_the_cursor_of_the_next() -> None:
    driver = Driver()
    jobs = driver.submit_flow({"a": [], "b": ["a"], "c": ["a"]})
    flow_id, view_of = flow_of(jobs), driver.engine.flows.view
    first = view_of(flow_id, limit=2)
    assert ([job.name for job in first.jobs], sum(first.counts.values())) == (["a", "b"], 3)
    rest = view_of(flow_id, after=first.cursor, limit=2)
    assert ([job.name for job in rest.jobs], rest.cursor) == (["c"], None)
    assert rest.version == first.version
    assert [view_of(flow_id, limit=limit).cursor for limit in (3, 4, None)] == [None] * 3


def test_each_change_of_a_job_gives_its_flow_another_version() -> None:
    driver = Driver()
    jobs = driver.submit_flow({"a": [], "b": ["a"]})
    job, seen = jobs["a"], [view(driver, jobs).version]
    for step in (
        lambda: driver.lease(job),
        lambda: driver.engine.report(job.id, attempt=job.attempt, progress=Progress(0.5)),
        lambda: driver.cancel(job),
        lambda: driver.engine.stopped(job.id, attempt=job.attempt, now=driver.now),
        lambda: driver.tick(),
    ):
        step()
        seen.append(view(driver, jobs).version)
    assert seen == sorted(set(seen))
    assert seen[-1] == sum(each.version + 1 for each in jobs.values())


def test_a_page_of_a_flow_reads_no_other_of_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(capacity=100)
    flow = driver.engine.submit_flow([PLAIN] * 90, [None] * 90, now=driver.now).flow
    held, read = driver.engine._transitions.held, list[JobId]()

    def noted(job_id: JobId) -> Job:
        read.append(job_id)
        return held(job_id)

    monkeypatch.setattr(driver.engine.flows, "_transitions", SimpleNamespace(held=noted))
    page = driver.engine.flows.view(flow.id, after=flow.jobs[40].id, limit=3)
    assert [job.id for job in page.jobs] == read == [job.id for job in flow.jobs[41:44]]
    assert page.counts == {"queued": 90}


def test_a_shutdown_ends_waiting_jobs_as_all_others() -> None:
    driver = Driver()
    jobs = driver.submit_flow(DIAMOND)
    driver.shut_down()
    assert {job.error.code for job in jobs.values() if job.error is not None} == {ErrorCode.SHUTDOWN}
    assert driver.engine.live() == 0
    assert len(driver.of(Ended)) == 4
    driver.advance(10_000.0)
    assert driver.engine.next_at() is None
    assert len(driver.engine.store) == 0


def test_a_failed_attempt_with_attempts_left_is_not_the_end_of_a_parent() -> None:
    driver = Driver()
    parent = driver.submit(attempts_max=2)
    child = driver.submit_after(parent)
    driver.lease(parent)
    driver.nack(parent, failure=FAILED)
    driver.tick()
    assert child.state is JobState.WAITING
