"""Restoration: an engine goes on with the jobs of another one, as after a crash or a clean stop."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueue.core.engine import Engine
from jobqueue.core.events import Ended, Event, Evicted, FlowChanged, Requeued
from jobqueue.core.flow import summary_of_flow
from jobqueue.core.job import FAILED, QUEUED, Job, JobSpec, JobState, StopReason
from jobqueue.core.policy import Discipline, QueuePolicy
from jobqueue.core.record import changed
from jobqueue.core.report import ErrorCode, Progress, Success
from jobqueue.core.restore import PORTION, VERSION_STEP, Found, Restoration, UnknownJobs
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.errors import Duplicate, JobGone, JobNotFound, QueueFull, WrongState
from tests.core.making import CRASHED, FINAL, OK, Driver


def found_of(driver: Driver, *, crashes: int = 1) -> Found:
    """Return copies of all that a driver's engine holds, as a journal tells it."""
    engine = driver.engine
    jobs = {}
    for job in reversed(list(engine.newest_first(None))):
        extras = None if job.extras is None else changed(job.extras, progress=None, held_bytes=0)
        jobs[job.id] = changed(job, extras=extras)
    index = engine.uniqueness_index
    shared = {
        job_id: {(caller, key): print_ for caller, key, print_ in index.shared_keys(job_id)} for job_id in index._shared
    }
    pauses = {name: state.pause for name, state in engine.queue_states.items()}
    return Found(jobs, shared, dict(index._by_value), pauses, {}, {}, driver.now, crashes)


def restored(
    before: Driver, found: Found | None = None, *, clean: bool = False, at: float = 0.0, **options: Any
) -> tuple[Driver, list[Event]]:
    """Restore all jobs into a new engine `at` seconds later; return its driver, and what the restoration changed."""
    found = found_of(before, crashes=0 if clean else 1) if found is None else found
    known = options.pop("knows_type", lambda name: True)
    fail_unknown = options.pop("fail_unknown", False)
    after = Driver(**options)
    after.now = before.now + at
    restoration = Restoration(after.engine, found, knows_type=known, fail_unknown=fail_unknown)
    while restoration.go_on(after.now):
        pass
    assert restoration.done == 1.0
    if before.engine.store:
        after.engine._ids.go_on(before.engine._ids.position, has_owners=before.engine._ids.has_owners)
    check(after.engine)
    return after, restoration.take_events()


def check(engine: Engine) -> None:
    """Check the conservation of jobs, and that all structures hold the same ones."""
    store, totals = engine.store, engine.totals()
    held = list(engine.newest_first(None))
    assert totals.accepted == store.live + store.terminal + totals.evicted
    assert [job.id for job in held] == sorted((job.id for job in held), reverse=True)
    assert store.live == sum(job.live for job in held) == sum(state.live for state in engine.queue_states.values())
    assert store.bytes_used == sum(job.size_bytes for job in held)
    assert store.live_bytes == sum(job.size_bytes for job in held if job.live)
    assert set(store.failed) == {job.id for job in held if job.state is FAILED}
    for name, state in engine.queue_states.items():
        queued = {job.id for job in held if job.spec.queue == name and job.state is QUEUED}
        assert set(state.waiting) == queued
        assert engine.scheduler.waiting(name) == len(queued)
        submitted, retried, ended = state.totals()
        assert (submitted, retried, sum(ended.values())) == (0, 0, 0), "restored jobs are no submissions"
    for caller in {job.caller for job in held}:
        live = [job for job in held if job.caller == caller and job.live]
        assert store.holdings.live_of(caller) == (len(live), sum(job.size_bytes for job in live))


def order(driver: Driver) -> list[str]:
    started = []
    while (job := driver.start_next()) is not None:
        started.append(job.id)
    return started


# Waiting jobs


def test_queued_jobs_are_queued_in_the_order_of_their_ids() -> None:
    before = Driver()
    jobs = [before.submit() for _ in range(5)]
    after, events = restored(before, at=100.0)
    assert events == []
    assert order(after) == [job.id for job in jobs]


def test_jobs_at_the_front_of_their_queue_are_before_all_others_in_order() -> None:
    before = Driver()
    jobs = [before.submit(attempts_max=2) for _ in range(5)]
    for job in (jobs[3], jobs[1]):
        before.lease(job)
        before.nack(job, failure=CRASHED)
    after, _ = restored(before)
    assert order(after) == [jobs[index].id for index in (1, 3, 0, 2, 4)]


@pytest.mark.parametrize("discipline", Discipline)
def test_every_discipline_gets_all_jobs(discipline: Discipline) -> None:
    queues = {"default": QueuePolicy(capacity=20, discipline=discipline)}
    before = Driver(queues=queues)
    jobs = [before.submit(priority=n % 3, group="gh"[n % 2], attempts_max=2) for n in range(9)]
    before.lease(jobs[4])
    after, _ = restored(before, queues=queues)
    started = order(after)
    assert sorted(started) == [job.id for job in jobs]
    assert started[0] == (jobs[4].id if discipline is not Discipline.PRIORITY else started[0])


def test_delayed_jobs_are_due_by_the_wall_clock() -> None:
    before = Driver()
    near, far = before.submit(delay_s=5.0), before.submit(delay_s=50.0)
    after, _ = restored(before, at=20.0)
    assert [after.engine.get(job.id).state for job in (near, far)] == ["delayed", "delayed"]
    after.tick()
    assert [after.engine.get(job.id).state for job in (near, far)] == ["queued", "delayed"]
    after.advance(29.0)
    assert after.engine.get(far.id).state == "delayed"
    after.advance(1.0)
    assert after.engine.get(far.id).state == "queued"


def test_many_overdue_jobs_become_ready_in_bounded_ticks() -> None:
    before = Driver(capacity=3000)
    for _ in range(2500):
        before.submit(delay_s=5.0)
    after, _ = restored(before, at=10.0, capacity=3000)
    ready = []
    for _ in range(3):
        after.tick()
        ready.append(after.engine.scheduler.waiting("default"))
    assert ready == [1000, 2000, 2500]


def test_a_job_with_its_start_by_over_expires_at_the_next_tick_and_is_not_started_before() -> None:
    before = Driver()
    waiting, delayed = before.submit(start_by_s=5.0), before.submit(delay_s=4.0, start_by_s=5.0)
    after, _ = restored(before, at=6.0)
    assert after.start_next() is None
    after.tick()
    assert [after.engine.get(job.id).state for job in (waiting, delayed)] == ["expired", "expired"]


def test_a_full_queue_keeps_its_jobs_and_accepts_none() -> None:
    before = Driver(capacity=10)
    jobs = [before.submit() for _ in range(10)]
    after, _ = restored(before, capacity=3)
    assert after.engine.store.live == 10
    with pytest.raises(QueueFull):
        after.submit()
    assert order(after) == [job.id for job in jobs]


# Running jobs


def test_a_crash_requeues_a_running_job_at_the_front_and_its_attempt_counts() -> None:
    before = Driver()
    first, running = before.submit(), before.submit(attempts_max=2)
    before.lease(running)
    after, events = restored(before, at=3.0)
    job = after.engine.get(running.id)
    assert events == [Requeued(job)]
    assert (job.state, job.attempt, job.attempts_before, job.started_at) == (QUEUED, 1, 0, running.started_at)
    assert job.version == running.version + VERSION_STEP + 1
    assert [(failed.attempt, failed.code, failed.ended_at) for failed in job.history or ()] == [
        (1, ErrorCode.WORKER_CRASHED, after.now)
    ]
    assert after.start_next() is job
    assert job.attempt == 3, "the lost log may have had the start of attempt 2"
    after.nack(job)
    assert job.state is FAILED, "two of two attempts were made"
    assert after.start_next() is after.engine.get(first.id)


def test_a_crash_during_the_last_attempt_fails_the_job() -> None:
    before = Driver()
    running = before.submit(b'{"n":1}')
    before.lease(running)
    after, events = restored(before)
    job = after.engine.get(running.id)
    assert events == [Ended(job)]
    assert (job.state, job.finished_at, job.args) == (FAILED, after.now, b'{"n":1}')
    assert job.error is not None
    assert job.error.code is ErrorCode.WORKER_CRASHED
    after.retry(job)
    assert after.start_next() is job
    assert job.attempt > 1


def test_a_clean_stop_charges_no_attempt() -> None:
    before = Driver()
    running = before.submit()
    before.lease(running)
    after, events = restored(before, clean=True)
    job = after.engine.get(running.id)
    assert events == [Requeued(job)]
    assert (job.state, job.attempt, job.attempts_before, job.history) == (QUEUED, 1, 1, None)
    assert job.version == running.version + 1
    assert after.lease(job) == 2
    after.ack(job)
    assert job.state == "succeeded"


@pytest.mark.parametrize("clean", [True, False])
def test_a_job_that_was_to_be_cancelled_is_cancelled(clean: bool) -> None:
    before = Driver()
    running = before.submit(b'{"n":1}', attempts_max=5)
    before.lease(running)
    before.cancel(running)
    after, events = restored(before, clean=clean)
    job = after.engine.get(running.id)
    assert events == [Ended(job)]
    assert (job.state, job.args, job.finished_at, job.error) == ("cancelled", b"", after.now, None)


def test_a_job_that_was_to_stop_for_its_timeout_counts_as_cut_off() -> None:
    before = Driver()
    running = before.submit(attempts_max=2, timeout_s=1.0)
    before.lease(running)
    before.advance(1.5)
    assert running.stopping is StopReason.TIMED_OUT
    after, _ = restored(before)
    assert after.engine.get(running.id).state is QUEUED


@pytest.mark.parametrize("started", [0, 1, 2])
def test_no_number_of_an_attempt_is_used_twice_though_the_log_has_lost_starts(started: int) -> None:
    before = Driver()
    job = before.submit(attempts_max=3)
    found = found_of(before)
    numbers = set()
    for _ in range(started):
        numbers.add(before.lease(job))
        before.nack(job, failure=CRASHED)
    before.lease(job)
    numbers.add(job.attempt)
    after, _ = restored(before, found)
    later = after.engine.get(job.id)
    for _ in range(3):
        number = after.lease(later)
        assert number not in numbers
        numbers.add(number)
        after.nack(later, failure=CRASHED)
    assert later.state is FAILED, "it has its three attempts, as far as the log tells"


def test_the_first_attempt_after_a_crash_is_marked_and_later_ones_are_not() -> None:
    before = Driver()
    job = before.submit(attempts_max=3)
    fresh_of: dict[bool, list[bool]] = {}
    for clean in (True, False):
        after, _ = restored(before, clean=clean)
        held, marks = after.engine.get(job.id), []
        for _ in range(2):
            after.engine.scheduler.remove(held)
            lease = after.engine.lease(held, now=after.now)
            assert lease is not None
            marks.append(lease.recovered)
            after.nack(held, failure=CRASHED)
        fresh_of[clean] = marks
    assert fresh_of == {True: [False, False], False: [True, False]}


def test_lost_starts_of_several_crashed_processes_have_numbers_of_their_own() -> None:
    before = Driver()
    job = before.submit(attempts_max=2)
    numbers = [before.lease(job)]
    before.nack(job, failure=CRASHED)
    numbers.append(before.lease(job))
    fresh = Driver()
    fresh.submit(attempts_max=2)
    versions = {job.version}
    for crashes in (1, 2, 3):  # the log has lost all starts
        after, _ = restored(fresh, found_of(fresh, crashes=crashes))
        held = after.engine.get(job.id)
        for _ in range(2):
            numbers.append(after.lease(held))
            assert held.version not in versions
            versions.add(held.version)
            after.nack(held, failure=CRASHED)
    assert numbers == sorted(set(numbers))


def test_a_lost_start_between_two_crashes_has_a_number_of_its_own_though_a_snapshot_lies_between() -> None:
    before = Driver()
    job = before.submit(attempts_max=2)
    between, _ = restored(before)
    snapshot = found_of(between)
    lost = between.lease(between.engine.get(job.id))
    after, _ = restored(between, snapshot)
    assert after.lease(after.engine.get(job.id)) > lost


def test_a_mark_outlives_a_clean_stop() -> None:
    before = Driver()
    job = before.submit()
    between, _ = restored(before)
    after, _ = restored(between, clean=True)
    held = after.engine.get(job.id)
    after.engine.scheduler.remove(held)
    lease = after.engine.lease(held, now=after.now)
    assert lease is not None
    assert (lease.recovered, lease.attempt) == (True, 2)


def test_versions_after_a_crash_are_beyond_all_earlier_ones() -> None:
    before = Driver()
    job = before.submit(attempts_max=2)
    found = found_of(before)
    before.lease(job)
    for _ in range(100):
        before.engine.report(job.id, attempt=1, progress=Progress(0.5))
    after, _ = restored(before, found)
    assert after.engine.get(job.id).version > job.version


# Terminal records


def test_terminal_records_are_held_for_the_rest_of_their_ttl() -> None:
    bounds = StoreBounds(ttl_s=100.0, failed_ttl_s=200.0)
    before = Driver(bounds=bounds)
    succeeded, failed, short = before.done(), before.failed(), before.done(ttl_s=5.0)
    after, _ = restored(before, at=30.0, bounds=bounds)
    assert after.engine.get(succeeded.id).result == OK.result
    with pytest.raises(JobGone, match="evicted"):
        after.engine.get(short.id)
    after.advance(71.0)
    with pytest.raises(JobGone, match="evicted"):
        after.engine.get(succeeded.id)
    assert after.engine.get(failed.id).state is FAILED
    after.advance(100.0)
    assert after.engine.store.terminal == 0
    assert after.engine.totals().accepted == after.engine.totals().evicted == 2


def test_a_record_with_its_ttl_over_counts_in_its_flow() -> None:
    before = Driver()
    jobs = before.submit_flow({"a": [], "b": []}, ttl_s=5.0)
    flow_id = before.engine.flows.all()[0].id
    before.lease(jobs["a"])
    before.nack(jobs["a"], failure=FINAL)
    before.engine.submit_together([(JobSpec(type="t"), b"{}", None, None)], None, flow=flow_id, now=before.now)
    before.note_events()
    while (job := before.start_next()) is not None:
        before.ack(job)
    was = before.engine.flows.view(flow_id)
    after, changes = restored(before, at=10.0)
    flow = after.engine.flows.view(flow_id)
    assert (flow.state, flow.counts, flow.version) == ("failed", was.counts, was.version)
    assert (flow.evicted, len(flow.jobs), flow.finished_at) == (2, 1, was.finished_at)
    assert [type(each) for each in changes] == [Evicted, FlowChanged]
    (held,) = after.engine.flows.all()
    known = found_of(after)
    known.flows[held.id] = held.created_at, held.caller, held.owner, held.evicted, held.versions
    again, _ = restored(after, known)
    summary = summary_of_flow(again.engine.flows.get(flow_id))
    assert (summary.state, summary.evicted, sum(summary.ended.values())) == ("failed", 2, 3)


def test_records_that_ended_in_another_order_than_they_began_are_evicted_and_retried() -> None:
    before = Driver(capacity=100)
    jobs = [before.submit(ttl_s=(None, 30.0)[n % 2]) for n in range(60)]
    for job in reversed(jobs):
        before.lease(job)
        before.advance(0.1)
        before.nack(job) if job.id[-1] < "a" else before.ack(job)
    after, _ = restored(before, capacity=100)
    failed = list(after.engine.store.failed.values())
    assert len(failed) > 10
    for job in failed[::2]:
        after.retry(job)
    for job in failed[1::2]:
        after.engine.delete(job.id)
    after.advance(5000.0)
    assert after.engine.store.terminal == 0


def test_a_result_and_a_history_are_restored() -> None:
    before = Driver()
    job = before.submit(attempts_max=2)
    before.lease(job)
    before.nack(job)
    before.run_now(job)
    before.lease(job)
    before.ack(job, success=Success(b"42"))
    after, _ = restored(before)
    held = after.engine.get(job.id)
    assert (held.state, held.result, held.attempt) == ("succeeded", b"42", 2)
    assert held.history == job.history
    assert held.size_bytes == job.size_bytes


def test_smaller_bounds_evict_the_oldest_terminal_records() -> None:
    before = Driver(capacity=100)
    done, failed = [before.done() for _ in range(20)], [before.failed() for _ in range(10)]
    live = before.submit()
    after, _ = restored(before, bounds=StoreBounds(jobs_max=12, failed_max=4))
    assert {job.id for job in after.engine.newest_first(None)} == {
        *(job.id for job in done[-7:]),
        *(job.id for job in failed[-4:]),
        live.id,
    }
    assert after.engine.totals().evicted_early == 19


# Uniqueness


def test_keys_lead_to_their_jobs_also_shared_ones_and_those_of_terminal_jobs() -> None:
    before = Driver()
    live, done = before.submit(b"a", caller="ann", key="k", unique="u"), before.done(args=b"b", caller="bob", key="k")
    assert before.submit(b"c", caller="ann", key="l", unique="u") is live
    after, _ = restored(before)
    for args, caller, key, job in ((b"a", "ann", "k", live), (b"b", "bob", "k", done), (b"c", "ann", "l", live)):
        result = after.admit(args, caller=caller, key=key)
        assert (result.job.id, result.duplicate) == (job.id, True)
    assert after.engine.get(live.id).size_bytes == live.size_bytes


def test_a_unique_value_is_that_of_its_live_job() -> None:
    before = Driver()
    running = before.submit(unique="u", attempts_max=2)
    before.lease(running)
    newer = before.submit(unique="u", mode="debounce", delay_s=1.0, queue="other")
    ended = before.done(unique="v")
    after, _ = restored(before)
    with pytest.raises(Duplicate) as duplicate:
        after.submit(unique="u", mode="reject")
    assert duplicate.value.job_id == newer.id
    assert after.submit(unique="v", mode="reject").id != ended.id


# Queues, ids, unknown jobs


def test_pauses_go_on_and_end_by_themselves() -> None:
    before = Driver()
    before.engine.pauses.begin("default", reason="a reason", for_s=10.0, by="ann", now=before.now)
    before.engine.pauses.begin("other", for_s=1.0, now=before.now)
    before.submit()
    after, _ = restored(before, at=5.0)
    assert after.engine.queue_states["default"].pause == before.engine.queue_states["default"].pause
    assert after.engine.queue_states["other"].pause is None
    assert after.start_next() is None
    after.advance(5.0)
    assert after.start_next() is not None


def test_settings_changed_in_use_hold_as_long_as_the_configuration_is_the_same() -> None:
    before = Driver()
    configured, in_use = before.engine.queue_states["default"].policy, QueuePolicy(capacity=3)
    for now_configured, holds in ((configured, True), (QueuePolicy(capacity=7), False)):
        found = found_of(before)
        found.policies = {"default": (in_use, configured), "gone": (in_use, configured)}
        after, _ = restored(before, found, queues={"default": now_configured})
        assert (after.engine.queue_states["default"].policy is in_use) == holds


def test_ids_go_on_after_a_restart_and_evicted_ones_differ_from_unknown_ones() -> None:
    before = Driver()
    held, evicted = before.submit(), before.done(ttl_s=1.0)
    after, _ = restored(before, at=2.0)
    new = after.submit()
    assert new.id > evicted.id > held.id
    with pytest.raises(JobGone, match="evicted"):
        after.engine.get(evicted.id)
    with pytest.raises(JobNotFound):
        after.engine.get(held.id[:-1] + "~")


def test_unknown_queues_and_types_are_refused_with_their_counts_and_nothing_is_changed() -> None:
    before = Driver()
    for job_type, queue in (("t", "other"), ("lost", "default"), ("lost", "other")):
        before.submit(type=job_type, queue=queue)
    before.done(type="lost")
    found = found_of(before)
    queues = {"default": QueuePolicy()}
    with pytest.raises(UnknownJobs, match="2 of the queue 'other', 2 of the type 'lost'") as refused:
        restored(before, found, queues=queues, knows_type=lambda name: name == "t")
    assert (refused.value.queues, refused.value.types) == ({"other": 2}, {"lost": 2})
    assert found.jobs == found_of(before).jobs


def test_unknown_queues_and_types_fail_on_request_and_can_not_be_retried() -> None:
    before = Driver()
    jobs = [before.submit(type=job_type, queue=queue) for job_type, queue in (("t", "other"), ("lost", "default"))]
    terminal = before.failed(type="lost")
    queues = {"default": QueuePolicy()}
    after, events = restored(before, queues=queues, knows_type=lambda name: name == "t", fail_unknown=True)
    held = [after.engine.get(job.id) for job in jobs]
    assert events == [Ended(job) for job in held]
    assert [job.error.message for job in held if job.error is not None] == [
        "the queue 'other' was not configured when the server started again",
        "no handler had the type 'lost' when the server started again",
    ]
    for job in (*jobs, terminal):
        with pytest.raises(WrongState, match="not configured any more"):
            after.engine.retry(job.id, now=after.now)
    after.advance(5000.0)
    assert after.engine.store.terminal == 0


# The clock


def test_a_clock_that_was_set_back_moves_all_instants_that_have_passed() -> None:
    before = Driver()
    before.advance(5000.0)
    done, delayed = before.done(), before.submit(delay_s=60.0)
    named = before.submit(delay_s=60.0, run_at=before.now + 60.0)
    after, _ = restored(before, at=-3600.0)
    held = after.engine.get(done.id)
    assert held.created_at == held.finished_at == after.now
    assert after.engine.get(delayed.id).run_at == after.now + 60.0
    assert after.engine.get(named.id).run_at == named.run_at
    after.advance(61.0)
    assert after.engine.get(delayed.id).state is QUEUED
    after.advance(600.0)
    with pytest.raises(JobGone):
        after.engine.get(done.id)


def test_a_clock_that_was_set_forward_is_a_pause_of_that_length() -> None:
    before = Driver()
    done, delayed = before.done(), before.submit(delay_s=60.0)
    after, _ = restored(before, at=3600.0)
    after.tick()
    assert after.engine.get(delayed.id).state is QUEUED
    with pytest.raises(JobGone):
        after.engine.get(done.id)


def test_instants_out_of_order_are_put_in_order() -> None:
    before = Driver()
    done = before.done()
    found = found_of(before)
    job = found.jobs[done.id]
    job.started_at, job.finished_at = job.created_at - 100.0, job.created_at - 50.0
    after, _ = restored(before, found)
    held = after.engine.get(done.id)
    assert held.created_at == held.started_at == held.finished_at


# Portions, and the life after


def test_the_work_is_done_in_portions() -> None:
    before = Driver(capacity=5000)
    for _ in range(3 * PORTION):
        before.submit()
    for _ in range(PORTION + 1):
        before.ack(before.start_next())  # type: ignore[arg-type]  # there are more
    after = Driver(capacity=5000)
    restoration = Restoration(after.engine, found_of(before), knows_type=lambda name: True)
    done = []
    while restoration.go_on(before.now):
        done.append(restoration.done)
    assert len(done) >= 1 + 3 + 2
    assert done == sorted(done)
    assert +restoration.counts == {"queued": 2 * PORTION - 1, "succeeded": PORTION + 1}


def test_a_restored_engine_runs_all_its_jobs_and_forgets_them() -> None:
    before = Driver(capacity=30)
    spec: dict[str, Any] = {"attempts_max": 2, "caller": "ann"}
    jobs: list[Job] = [before.submit(delay_s=n % 3, unique=f"u{n}", key=f"k{n}", **spec) for n in range(20)]
    for _ in range(3):
        before.start_next()
    after, _ = restored(before, at=1.0, capacity=30)
    for _ in range(60):
        while (job := after.start_next()) is not None:
            after.ack(job)
        after.advance(0.5)
    assert {after.engine.get(job.id).state for job in jobs} == {JobState.SUCCEEDED}
    after.advance(1000.0)
    engine = after.engine
    index = engine.uniqueness_index
    assert (len(engine.store), engine.store.bytes_used, len(engine.store.holdings)) == (0, 0, 0)
    assert (index._by_key, index._by_value, index._shared) == ({}, {}, {})
    assert len(engine._transitions.deadlines) == 0
    assert engine.totals().accepted == engine.totals().evicted == 20


def test_specs_are_those_of_the_found_jobs() -> None:
    before = Driver()
    job = before.submit(priority=3)
    found = found_of(before)
    found.jobs[job.id].spec = changed(job.spec, pool="thread")
    after, _ = restored(before, found, pools={"thread": 1})
    assert after.engine.get(job.id).spec == JobSpec(type="t", priority=3, pool="thread")
    assert len(order(after)) == 1
