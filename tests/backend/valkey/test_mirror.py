"""The copy of a store's numbers in a process, and what it answers without a call."""

from __future__ import annotations

import asyncio
from random import Random

import msgspec
import pytest

from jobqueue.backend.valkey.caller_mirror import STALE_S
from jobqueue.backend.valkey.clock import StoreClock
from jobqueue.backend.valkey.mirror import POSITION_S, Mirror
from jobqueue.backend.valkey.queue_mirror import FULL_S
from jobqueue.core.caller_holdings import CallerHolding
from jobqueue.core.events import BackedOff, Ended, Started, Submitted
from jobqueue.core.job import IdempotencyKey, Job, JobId, JobSpec, JobState, Unique, Uniqueness
from jobqueue.core.policy import Limits, QueuePolicy
from jobqueue.core.scheduling.eta import POLL_AFTER_S_UNKNOWN, WaitReason
from jobqueue.errors import Draining, QueueFull, RateLimited, StoreUnavailable
from jobqueue.testing import virtual_time
from tests.backend.valkey.scripted import Numbers, ScriptedCalls

SPEC = JobSpec(type="t")
SMALL = JobSpec(type="t", queue="small")


def mirrored(*, at_once: bool = True) -> tuple[Mirror, ScriptedCalls, Numbers]:
    calls = ScriptedCalls(at_once=at_once)
    numbers = Numbers(calls)
    numbers.queues = {"default": {}, "small": {}}
    queues = {"default": QueuePolicy(capacity=10), "small": QueuePolicy(capacity=1)}
    numbers.config = {name: {"blob": msgspec.msgpack.encode(policy)} for name, policy in queues.items()}
    clock = StoreClock(asyncio.get_running_loop().time)
    clock.hear(calls.now_ms)
    return Mirror(calls, clock, queues, Random(1)), calls, numbers


def job(state: JobState = JobState.QUEUED, spec: JobSpec = SPEC, **more: float | None) -> Job:
    now = asyncio.get_running_loop().time()
    fields: dict[str, float | None] = {"created_at": now, "run_at": now, "started_at": None, "finished_at": None}
    return Job(id=JobId("j"), spec=spec, args=b"{}", upload=None, state=state, attempt=1, **(fields | more))  # type: ignore[arg-type]  # instants


@virtual_time
async def test_stats_are_those_of_the_store_where_replies_come_at_once() -> None:
    mirror, _, numbers = mirrored()
    numbers.totals |= {"live": 3, "terminal": 2, "bytes": 77}
    numbers.queues["default"] = {"delayed": 1, "queued": 2, "running": 3, "oldest": mirror_ms(5.0)}
    store, (default, small) = mirror.stats()
    assert (store.live, store.terminal, store.bytes_used) == (3, 2, 77)
    assert (default.delayed, default.queued, default.running) == (1, 2, 3)
    assert default.oldest_queued_at == pytest.approx(5.0)
    assert (small.live, small.oldest_queued_at, small.paused) == (0, None, False)


def mirror_ms(at: float) -> int:
    return ScriptedCalls().now_ms + round((at - asyncio.get_running_loop().time()) * 1000)


@virtual_time
async def test_a_copy_is_read_again_once_it_is_stale_or_this_process_has_changed_something() -> None:
    mirror, calls, _ = mirrored()
    mirror.stats()
    mirror.stats()
    assert calls.count("counts") == 1
    await asyncio.sleep(STALE_S)
    mirror.stats()
    assert calls.count("counts") == 2
    mirror.hear(Submitted(job()))
    mirror.stats()
    assert calls.count("counts") == 3


@virtual_time
async def test_the_copy_is_read_each_second_from_the_start_to_the_stop() -> None:
    mirror, calls, numbers = mirrored()
    mirror.start()
    numbers.totals |= {"processes": 4}
    await asyncio.sleep(10.5)
    assert (calls.count("counts"), mirror.processes) == (10, 4)
    mirror.stop()
    await asyncio.sleep(10)
    assert calls.count("counts") == 10


@virtual_time
async def test_a_slow_reply_is_asked_for_once_and_serves_a_later_answer() -> None:
    mirror, calls, numbers = mirrored(at_once=False)
    numbers.totals["live"] = 3
    for _ in range(3):
        assert mirror.stats()[0].live == 0
    assert calls.count("counts") == 1
    calls.answer()
    await asyncio.sleep(0)
    assert mirror.stats()[0].live == 3


@virtual_time
async def test_a_store_out_of_reach_leaves_the_last_copy() -> None:
    mirror, calls, numbers = mirrored()
    numbers.totals["live"] = 3
    mirror.stats()
    calls.out = StoreUnavailable("no answer", retry_after_s=1.0)
    await asyncio.sleep(1)
    assert mirror.stats()[0].live == 3
    with pytest.raises(StoreUnavailable):
        await mirror.refresh()


# -- rejections without a call


@virtual_time
async def test_a_queue_is_full_without_a_call_only_shortly_after_a_reply_said_so() -> None:
    mirror, _, _ = mirrored()
    assert mirror.refuse_unseen("small") is None
    mirror.admitted("small", None, 1, 1)
    assert isinstance(mirror.refuse_unseen("small"), QueueFull)
    assert mirror.refuse_unseen("default") is None
    await asyncio.sleep(FULL_S)
    assert mirror.refuse_unseen("small") is None
    assert isinstance(mirror.queue_full("small", None, 1, 1), QueueFull)
    assert isinstance(mirror.refuse_unseen("small"), QueueFull)
    mirror.admitted("small", None, 0, 1)
    assert mirror.refuse_unseen("small") is None
    assert mirror.counts("small").refused == {QueueFull: 3}


@virtual_time
async def test_a_submission_of_unknown_queue_is_rejected_only_while_every_queue_is_full() -> None:
    mirror, _, _ = mirrored()
    mirror.admitted("small", None, 1, 1)
    assert mirror.refuse_unseen() is None
    mirror.admitted("default", None, 10, 10)
    refusal = mirror.refuse_unseen()
    assert isinstance(refusal, QueueFull)
    assert str(refusal) == "every queue is at its capacity"
    assert sum(queue.refused_total for queue in mirror.stats()[1]) == 1


@virtual_time
async def test_a_submission_that_may_equal_a_held_job_is_never_rejected_without_a_call() -> None:
    mirror, _, numbers = mirrored()
    for queue in ("small", "default"):
        mirror.admitted(queue, None, 10, 10)
    keyed, unique = Uniqueness("ann", None, IdempotencyKey("k", b"1")), Uniqueness("ann", Unique("u"))
    assert mirror.refuse_unseen("small", keyed) is None
    assert mirror.refuse_unseen("small", unique, job_type="t") is None
    assert mirror.refuse_unseen("small", Uniqueness("ann", plain=True)) is not None
    numbers.totals["uniques"] = 1
    mirror.stats()
    assert mirror.refuse_unseen() is None
    assert mirror.refuse_unseen(may_be_unique=False) is not None


@virtual_time
async def test_a_store_out_of_reach_and_a_drain_reject_without_a_call() -> None:
    mirror, calls, _ = mirrored()
    calls.out = StoreUnavailable("no answer", retry_after_s=1.0)
    assert mirror.refuse_unseen(uniqueness=Uniqueness("ann", Unique("u"))) is calls.out
    calls.out = None
    mirror.stop_admitting()
    assert isinstance(mirror.refuse_unseen("small"), Draining)
    assert mirror.counts("default").refused[StoreUnavailable] == 1
    assert mirror.counts("small").refused[Draining] == 1


@virtual_time
async def test_each_of_three_processes_spaces_its_slots_three_times_as_wide() -> None:
    spans = []
    for processes in (1, 3):
        mirror, _, numbers = mirrored()
        numbers.totals["processes"] = processes
        numbers.queues["small"] = {"running": 1, "ended": 0}
        mirror.stats()
        await asyncio.sleep(20)
        numbers.queues["small"] = {"running": 1, "ended": 2000}
        mirror.stats()
        waits = [mirror.queue_full("small", Uniqueness(f"c{n}", plain=True), 1, 1).retry_after_s for n in range(30)]
        spans.append(max(waits) - min(waits))
    assert spans[1] == pytest.approx(3 * spans[0], rel=0.2)


@virtual_time
async def test_other_rejections_are_counted_by_their_kind() -> None:
    mirror, _, _ = mirrored()
    mirror.refused("small", RateLimited("too many", retry_after_s=1.0), "ann")
    assert mirror.counts("small").refused == {QueueFull: 0, RateLimited: 1}
    assert mirror.retry_slot_s("small", None) >= 1.0
    assert mirror.slot_s("small") >= 1.0


@virtual_time
async def test_an_accepted_submission_frees_the_slot_of_its_key_in_whichever_queue_gave_it() -> None:
    mirror, _, _ = mirrored()
    keyed, plain = Uniqueness("ann", None, IdempotencyKey("k", b"1")), Uniqueness("bob", plain=True)
    for uniqueness in (keyed, plain):
        mirror.queue_full("small", uniqueness, 1, 1)
    assert mirror.queues["small"].retry_after.waiting == 2
    mirror.admitted("default", keyed, 1, 10)
    assert mirror.queues["small"].retry_after.waiting == 1
    mirror.admitted("default", plain, 1, 10)
    assert mirror.queues["small"].retry_after.waiting == 1, "without a key it is not known to be the same client"
    mirror.admitted("small", plain, 0, 1)
    assert mirror.queues["small"].retry_after.waiting == 0


@virtual_time
async def test_all_submissions_count_as_arrivals() -> None:
    mirror, _, _ = mirrored()
    mirror.admitted("default", None, 1, 10)
    mirror.queue_full("default", None, 10, 10)
    mirror.retry_slot_s("default", Uniqueness("other", plain=True))
    arrivals = mirror.queues["default"].retry_after.arrivals
    assert arrivals.per_s(mirror.now()) == pytest.approx(3 / 1.0, rel=0.05), "in the first tenth of its half-life"


@virtual_time
async def test_submissions_answered_with_an_existing_job_are_counted() -> None:
    mirror, _, _ = mirrored()
    mirror.shared("default", "t", by_key=True)
    mirror.shared("default", "t", by_key=False)
    counts = mirror.counts("default").types["t"]
    assert (counts.same_key_total, counts.same_value_total) == (1, 1)


# -- rates and estimates


async def run_some(mirror: Mirror, numbers: Numbers, runs: int, run_s: float) -> None:
    """Run jobs of this process, one after the other."""
    for n in range(runs):
        mirror.hear(Submitted(job()))
        mirror.hear(Started(job(JobState.RUNNING, started_at=mirror.now())))
        await asyncio.sleep(run_s)
        mirror.hear(Ended(job(JobState.SUCCEEDED, started_at=mirror.now() - run_s, finished_at=mirror.now())))
        numbers.queues["default"] = {"ended": n + 1}


@virtual_time
async def test_the_drain_rate_has_the_ends_of_this_process_at_once_and_those_of_others_with_the_next_copy() -> None:
    mirror, _, numbers = mirrored()
    mirror.stats()
    await run_some(mirror, numbers, 100, 0.5)
    assert mirror.stats()[1][0].drain_rate_per_s == pytest.approx(2.0, rel=0.05)
    for n in range(60):
        await asyncio.sleep(1)
        numbers.queues["default"] = {"ended": 100 + 4 * (n + 1)}
        mirror.stats()
    assert mirror.stats()[1][0].drain_rate_per_s == pytest.approx(4.0, rel=0.1)


@virtual_time
async def test_a_store_that_was_emptied_gives_no_rate() -> None:
    mirror, _, numbers = mirrored()
    numbers.queues["default"] = {"ended": 1000}
    mirror.stats()
    await asyncio.sleep(1)
    numbers.queues["default"] = {"ended": 0}
    mirror.stats()
    assert mirror.stats()[1][0].drain_rate_per_s == 0.0


@virtual_time
async def test_the_position_of_an_estimate_is_that_of_the_last_look_until_it_is_old_or_the_job_has_started() -> None:
    mirror, _, numbers = mirrored()
    await run_some(mirror, numbers, 10, 0.5)
    numbers.queues["default"] = {"queued": 3, "running": 2}
    mirror.stats()
    waiting = job()
    mirror.note_position(waiting.id, 3)
    estimate = mirror.estimate(waiting)
    assert estimate.position == 3
    assert estimate.eta_s == pytest.approx(2 / (2 / 0.5) + 0.5)
    await asyncio.sleep(POSITION_S + 0.1)
    assert mirror.estimate(waiting).position is None
    mirror.note_position(waiting.id, 1)
    mirror.hear(Ended(job(JobState.CANCELLED, finished_at=mirror.now())))
    assert mirror.estimate(waiting).position is None
    mirror.note_position(waiting.id, 1)
    mirror.note_position(waiting.id, None)
    assert mirror.estimate(waiting).position is None
    mirror.note_position(waiting.id, 1)
    mirror.hear(Started(job(JobState.RUNNING, started_at=mirror.now())))
    assert mirror.estimate(waiting).position is None


@virtual_time
async def test_a_running_job_is_expected_to_take_as_long_as_its_type_usually_does() -> None:
    mirror, _, numbers = mirrored()
    running = job(JobState.RUNNING, started_at=mirror.now())
    assert mirror.estimate(running).eta_s is None
    await run_some(mirror, numbers, 10, 0.5)
    running = job(JobState.RUNNING, started_at=mirror.now())
    assert mirror.estimate(running).eta_s == pytest.approx(0.5)
    await asyncio.sleep(0.6)
    late = mirror.estimate(running)
    assert late.eta_s is None
    assert late.poll_after_s == pytest.approx(0.3)
    assert mirror.estimate(job(JobState.SUCCEEDED)).poll_after_s == POLL_AFTER_S_UNKNOWN


@virtual_time
async def test_an_estimate_has_the_reason_for_which_a_job_waits() -> None:
    mirror, _, numbers = mirrored()
    until = mirror.now() + 2.5
    numbers.types = {"t": {"until": mirror_ms(until), "since": mirror_ms(0), "fails": 3, "reason": "boom"}}
    mirror.stats()
    waiting_for = mirror.estimate(job()).waiting_for
    assert waiting_for is not None
    assert waiting_for.reason is WaitReason.TYPE_QUARANTINED
    assert waiting_for.retry_at == pytest.approx(until)
    assert mirror.estimate(job()).poll_after_s == pytest.approx(2.5)
    numbers.types = {"t": {"concurrency": 1, "running": 1}}
    await asyncio.sleep(1)
    mirror.stats()
    limited = job(spec=JobSpec(type="t", limits=Limits(concurrency=1)))
    waiting_for = mirror.estimate(limited).waiting_for
    assert waiting_for is not None
    assert waiting_for.reason is WaitReason.LIMIT


# -- pauses, settings, types, callers


@virtual_time
async def test_a_change_by_another_server_is_read_once() -> None:
    mirror, calls, numbers = mirrored()
    told: list[tuple[str, QueuePolicy]] = []
    mirror.on_policy = lambda queue, policy: told.append((queue, policy))
    mirror.stats()
    assert (calls.count("config"), told) == (1, [])
    numbers.totals["cfg"] = 2
    changed = QueuePolicy(capacity=7, workers=3)
    since, until = mirror_ms(-5.0), mirror_ms(60.0)
    numbers.config["small"] |= {"blob": msgspec.msgpack.encode(changed)}
    numbers.config["default"] |= {"paused_at": since, "pause_until": until, "pause_reason": "deploy", "pause_by": "ops"}
    await asyncio.sleep(1)
    default, small = mirror.stats()[1]
    assert told == [("small", changed)]
    assert small.policy == changed
    assert default.pause is not None
    assert (default.pause.reason, default.pause.by) == ("deploy", "ops")
    assert default.pause.since == pytest.approx(-5.0)
    assert default.pause.until == pytest.approx(60.0)
    mirror.stats()
    assert calls.count("config") == 2


@virtual_time
async def test_types_in_quarantine_and_limiters_are_those_of_the_store() -> None:
    mirror, _, numbers = mirrored()
    numbers.types = {
        "one": {"concurrency": 1, "rate_count": 5, "rate_period_ms": 60_000, "running": 1, "waiting": 4},
        "bad": {"until": mirror_ms(9.0), "since": mirror_ms(-1.0), "fails": 3, "reason": "handler_error: boom"},
        "in_groups": {"group_concurrency": 2, "groups_running": 5, "groups_waiting": 7, "running": 5}
        | {"group_rate_count": 1, "group_rate_period_ms": 1000, "group_burst": 3},
    }
    mirror.permits = {"process": 2}
    mirror.hear(Started(job(JobState.RUNNING, JobSpec(type="p", pool="process"), started_at=mirror.now())))
    pool, one, bad, of_groups = mirror.limiters()
    spec = JobSpec(type="p", pool="process")
    mirror.hear(BackedOff(job(JobState.DELAYED, spec)))
    assert mirror.limiters()[0].held == 0
    mirror.hear(Started(job(JobState.RUNNING, spec, started_at=mirror.now())))
    mirror.hear(Ended(job(JobState.SUCCEEDED, spec, started_at=mirror.now(), finished_at=mirror.now())))
    assert mirror.limiters()[0].held == 0
    assert (pool.kind, pool.name, pool.held, pool.permits) == ("pool", "process", 1, 2)
    assert (one.kind, one.held, one.waiting, one.permits, str(one.rate)) == ("type", 1, 4, 1, "5/m")
    assert bad.shut_until == pytest.approx(9.0)
    assert (of_groups.kind, of_groups.name, of_groups.held, of_groups.waiting) == ("groups", "in_groups", 5, 7)
    assert (of_groups.permits, str(of_groups.rate)) == (2, "1/s burst 3")
    (quarantined,) = mirror.quarantined()
    assert (quarantined.type, quarantined.failures, quarantined.reason) == ("bad", 3, "handler_error: boom")
    assert quarantined.since == pytest.approx(-1.0)


@virtual_time
async def test_the_store_counts_the_records_of_callers() -> None:
    mirror, calls, _ = mirrored()
    calls.scripts["holders"] = lambda args: [1, b"ann", 2, 20, 3, 30, b"", 1, 10, 1, 10]
    calls.scripts["holdings"] = lambda args: [5, 50, 6, 60] * len(args)
    assert mirror.holders(100) == (["ann", None], True)
    assert mirror.holders(1) == (["ann"], False)
    assert mirror.holding("bob") == CallerHolding(live=5, records=6, size_bytes=60)
    await mirror.refresh(["ann", None, "ann"])
    assert ("holdings", ("ann", "")) in calls.asked
    asked = len(calls.asked)
    assert mirror.holding("ann") == mirror.holding(None) == CallerHolding(live=5, records=6, size_bytes=60)
    assert mirror.holders(100) == (["ann", None], True)
    assert len(calls.asked) == asked, "both were read a moment ago"


@virtual_time
async def test_many_callers_are_asked_for_in_portions_and_the_first_ones_forgotten() -> None:
    mirror, calls, _ = mirrored()
    calls.scripts["holders"] = lambda args: [1]
    calls.scripts["holdings"] = lambda args: [1, 10, 1, 10] * len(args)
    await mirror.refresh([f"c{n}" for n in range(1100)])
    assert [len(args) for name, args in calls.asked if name == "holdings"] == [100] * 11
    asked = len(calls.asked)
    assert mirror.holding("c1099").live == 1
    assert len(calls.asked) == asked
    assert mirror.holding("c0").live == 1
    assert len(calls.asked) == asked + 1
