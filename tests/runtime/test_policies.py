"""Order, limits, retries and live changes, through the in-process API and real workers, on a virtual clock."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import Backoff, JobContext, JobQueue, JobState, Reject
from jobqueue.config import LimitsSettings, QueueSettings, RuntimeSettings, ServerSettings, Settings
from jobqueue.core.events import Paused, Quarantined, Released, Resumed, Started
from jobqueue.core.policy import Discipline
from jobqueue.core.report import ErrorCode
from jobqueue.errors import Duplicate, InvalidSubmission, TypeQuarantined, WrongState
from jobqueue.testing import EventRecorder, virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


def queue_of(**default: object) -> JobQueue:
    return JobQueue(Settings(queues={"default": QueueSettings(**default)}))  # type: ignore[arg-type]  # any setting


def undrained(settings: Settings) -> JobQueue:
    """Return a queue that stops without draining its live jobs."""
    return JobQueue(settings, drain_s=0.0)


# -- retries


@virtual_time
async def test_an_exception_outside_retry_on_fails_the_job_at_once() -> None:
    queue = queue_of()
    runs: Counter[str] = Counter()

    @queue.handler(attempts_max=3, retry_on=ConnectionError, backoff=Backoff(backoff_s_base=0.1))
    async def call(kind: str) -> None:
        runs[kind] += 1
        raise {"connection": ConnectionResetError, "value": ValueError}[kind](kind)

    async with queue:
        jobs = [await queue.submit("call", {"kind": kind}) for kind in ("connection", "value")]
        for job in jobs:
            assert (await job.wait()).state is JobState.FAILED
    assert runs == {"connection": 3, "value": 1}


@virtual_time
async def test_exceptions_in_reject_on_reject_the_job_and_do_not_quarantine_its_type() -> None:
    queue = queue_of(retry_budget=2)

    @queue.handler(attempts_max=3, retry_on=Exception, reject_on=(ValueError, KeyError))
    async def parse(text: str) -> int:
        return int(text)

    async with queue:
        for n in range(5):
            job = await (await queue.submit("parse", {"text": f"x{n}"})).wait()
            assert (job.state, job.attempt) == (JobState.FAILED, 1)
            assert job.error is not None
            assert job.error.code is ErrorCode.REJECTED
            assert job.error.message == f"ValueError: invalid literal for int() with base 10: 'x{n}'"
            assert "return int(text)" in (job.history or ())[0].traceback  # type: ignore[operator]  # a failed attempt has one
        assert await (await queue.submit("parse", {"text": "7"})).result() == 7


@virtual_time
async def test_a_timeout_set_by_the_submission_does_not_quarantine_the_type() -> None:
    queue = queue_of(retry_budget=2)

    @queue.handler(timeout_s=60.0)
    async def work(seconds: float) -> None:
        await asyncio.sleep(seconds)

    async with queue:
        for _ in range(5):
            hasty = await (await queue.submit("work", {"seconds": 30.0}, timeout_s=0.001)).wait()
            assert hasty.error is not None
            assert hasty.error.code is ErrorCode.TIMED_OUT
        done = await (await queue.submit("work", {"seconds": 1.0}, timeout_s=60.0)).wait()
        assert done.state is JobState.SUCCEEDED
        for _ in range(2):
            await (await queue.submit("work", {"seconds": 70.0})).wait()
        assert queue.service.backend.stats()[1][0].quarantined, "the handler's own timeout counts"


@virtual_time
async def test_the_backoff_of_a_handler_bounds_the_delay_before_each_attempt() -> None:
    queue = queue_of()
    starts: list[float] = []

    @queue.handler(attempts_max=6, backoff=Backoff(backoff_s_base=0.5, backoff_s_max=2.0))
    async def fail() -> None:
        starts.append(now())
        raise ValueError

    async with queue:
        job = await (await queue.submit("fail")).wait()
    waits = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(waits) == 5
    for wait_s, ceiling_s in zip(waits, [0.5, 1.0, 2.0, 2.0, 2.0], strict=True):
        assert 0 <= wait_s <= ceiling_s + 0.002
    assert [failed.attempt for failed in job.history or ()] == [1, 2, 3, 4, 5, 6]
    assert "raise ValueError" in (job.history or ())[0].traceback  # type: ignore[operator]  # a failed attempt has one


@virtual_time
async def test_a_retried_job_runs_again_with_its_arguments() -> None:
    queue = queue_of()
    broken = True
    seen: list[int] = []

    @queue.handler(attempts_max=2, backoff=Backoff(backoff_s_base=0.0))
    async def work(ctx: JobContext, n: int) -> int:
        seen.append(ctx.attempt)
        if broken:
            raise ValueError
        return n

    async with queue:
        handle = await queue.submit("work", {"n": 7})
        assert (await handle.wait()).state is JobState.FAILED
        broken = False
        await handle.retry()
        assert await handle.result() == 7
    assert seen == [1, 2, 3]


@virtual_time
async def test_a_delayed_job_can_be_run_now() -> None:
    queue = queue_of()

    @queue.handler
    async def work() -> float:
        return now()

    async with queue:
        handle = await queue.submit("work", delay_s=3600)
        await handle.run_now()
        assert await handle.result() == pytest.approx(now(), abs=0.01)
        with pytest.raises(WrongState, match="only a delayed one"):
            await handle.run_now()


# -- quarantine


async def good_per_s(*, poison: bool) -> float:
    """Return good jobs per second at full load; with `poison`, beside a type that always fails."""
    queue = undrained(Settings(queues={"default": QueueSettings(workers=8, retry_budget=10, capacity=20_000)}))
    done = 0

    @queue.handler
    async def good() -> None:
        nonlocal done
        await asyncio.sleep(0.1)
        done += 1

    @queue.handler(attempts_max=100, backoff=Backoff(backoff_s_base=0.01, backoff_s_max=0.01))
    async def bad() -> None:
        await asyncio.sleep(0.5)
        raise ValueError("the service behind it is down")

    async with queue:
        for n in range(9000):
            await queue.submit("good")
            if poison and n % 3 == 0:
                await queue.submit("bad")
        await asyncio.sleep(100.0)
        rate = done / 100.0
        await queue.drain(0.0)
    return rate


@virtual_time
async def test_a_poisoned_type_leaves_nine_tenths_of_the_throughput_to_other_types() -> None:
    alone, beside = await good_per_s(poison=False), await good_per_s(poison=True)
    assert alone == pytest.approx(80.0, rel=0.01)
    assert beside >= 0.9 * alone, f"{beside:.1f}/s beside it, {alone:.1f}/s alone"


@virtual_time
async def test_a_quarantined_type_is_probed_and_released_once_it_succeeds() -> None:
    queue = queue_of(workers=4, retry_budget=3)
    broken = True
    runs: list[float] = []

    @queue.handler
    async def call() -> None:
        runs.append(now())
        if broken:
            raise ValueError("down")

    async with queue:
        events = EventRecorder(queue)
        for _ in range(3):
            await (await queue.submit("call")).wait()
        (quarantined,) = await events.wait_for(Quarantined)
        assert "down" in quarantined.reason
        waiting = [await queue.submit("call") for _ in range(5)]
        await asyncio.sleep(0.5)
        assert len(runs) == 3, "no job of a quarantined type runs"
        failed_probe = await waiting[0].wait()
        assert failed_probe.state is JobState.FAILED
        assert len(runs) == 4, "one probe runs, not all jobs"
        assert queue.service.backend.stats()[1][0].quarantined[0].type == "call"
        broken = False
        for handle in waiting[1:]:
            assert (await handle.wait()).state is JobState.SUCCEEDED
        assert [event.type for event in events.of(Released)] == ["call"]
        assert queue.service.backend.stats()[1][0].quarantined == []


@virtual_time
async def test_a_quarantined_type_does_not_fill_its_queue() -> None:
    queue = queue_of(workers=4, capacity=100, retry_budget=3)

    @queue.handler
    async def bad() -> None:
        raise ValueError("down")

    @queue.handler
    async def good() -> str:
        return "done"

    async with queue:
        for _ in range(3):
            await (await queue.submit("bad")).wait()
        refusals: list[TypeQuarantined] = []
        for _ in range(300):
            try:
                await queue.submit("bad")
            except TypeQuarantined as refusal:
                refusals.append(refusal)
            await asyncio.sleep(0.001)
            assert await (await queue.submit("good")).result() == "done"
        assert len(refusals) == 290, "the type holds one slot in ten"
        assert "down" in str(refusals[0])
        assert 0 < refusals[-1].retry_after_s <= 1.0
        await queue.drain(0.0)


@virtual_time
async def test_rejected_jobs_do_not_quarantine_their_type() -> None:
    queue = queue_of(retry_budget=2)

    @queue.handler
    async def choosy() -> None:
        raise Reject("not this one")

    async with queue:
        events = EventRecorder(queue)
        for _ in range(10):
            await (await queue.submit("choosy")).wait(timeout_s=1)
        assert not events.of(Quarantined)


# -- rates and concurrency


@virtual_time
async def test_a_rate_spaces_the_starts_of_its_handler_alone() -> None:
    queue = queue_of(workers=2)
    starts: list[float] = []

    @queue.handler(rate="10/s")
    async def limited() -> None:
        starts.append(now())

    @queue.handler
    async def free() -> float:
        return now()

    async with queue:
        began = now()
        limited_jobs = [await queue.submit("limited") for _ in range(50)]
        assert await (await queue.submit("free")).result() == pytest.approx(began, abs=0.01)
        for job in limited_jobs:
            await job.wait()
    assert starts[9] == pytest.approx(began, abs=0.01), "a burst of the rate's count is allowed"
    assert starts[-1] - began == pytest.approx(4.0, abs=0.05)
    assert all(
        len([at for at in starts if begin <= at < begin + 1.0]) <= 20 for begin in (began + n * 0.1 for n in range(50))
    )


@virtual_time
async def test_a_group_concurrency_of_one_runs_each_group_in_order() -> None:
    queue = queue_of(workers=8)
    order: list[tuple[str, int]] = []
    running: Counter[str] = Counter()

    @queue.handler(group_concurrency=1)
    async def step(ctx: JobContext, n: int) -> None:
        group = ctx.group or ""
        running[group] += 1
        assert running[group] == 1, "two of a group at once"
        await asyncio.sleep(0.3 if n % 2 else 0.1)
        running[group] -= 1
        order.append((group, n))

    async with queue:
        jobs = [await queue.submit("step", {"n": n}, group=group) for n in range(10) for group in ("a", "b", "c")]
        began = now()
        for job in jobs:
            await job.wait()
        assert now() - began == pytest.approx(2.0, abs=0.05), "groups don't wait for each other"
    for group in ("a", "b", "c"):
        assert [n for which, n in order if which == group] == list(range(10))


@virtual_time
async def test_concurrency_bounds_the_jobs_of_a_handler_and_leaves_other_workers_free() -> None:
    queue = queue_of(workers=10)
    running = peak = 0

    @queue.handler(concurrency=3)
    async def narrow() -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(1.0)
        running -= 1

    @queue.handler
    async def wide() -> None:
        await asyncio.sleep(1.0)

    async with queue:
        began = now()
        narrow_jobs = [await queue.submit("narrow") for _ in range(9)]
        for job in [await queue.submit("wide") for _ in range(7)]:
            await job.wait()
        assert now() - began == pytest.approx(1.0, abs=0.01)
        for job in narrow_jobs:
            await job.wait()
        assert now() - began == pytest.approx(3.0, abs=0.02)
    assert peak == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": "10/x"}, "rate must be a rate such as 10/s"),
        ({"rate": "0/s"}, "rate must be a rate such as 10/s"),
        ({"group_rate": 10}, "group_rate must be a rate such as 10/s"),
        ({"concurrency": 0}, "concurrency is a whole number from 1, got 0"),
        ({"group_concurrency": 1.5}, "group_concurrency is a whole number from 1, got 1.5"),
        ({"backoff": 3}, "backoff is a Backoff"),
        ({"backoff": Backoff(backoff_s_base=5.0, backoff_s_max=1.0)}, "backoff_s_base <= backoff_s_max"),
        ({"retry_on": "ValueError"}, "retry_on is an exception class"),
        ({"reject_on": (ValueError, 3)}, "reject_on is an exception class, or a tuple of them"),
    ],
)
def test_an_invalid_option_raises_an_error_at_registration(options: dict[str, object], message: str) -> None:
    queue = JobQueue()

    async def work() -> None: ...

    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        queue.handler(**options)(work)  # type: ignore[call-overload]  # invalid on purpose


# -- unique


@virtual_time
async def test_a_unique_value_returns_the_live_job_until_it_ends() -> None:
    queue = queue_of()

    @queue.handler
    async def nap() -> None:
        await asyncio.sleep(1.0)

    async with queue:
        first = await queue.submit("nap", unique="u")
        again = await queue.submit("nap", unique="u")
        assert again.id == first.id
        with pytest.raises(Duplicate) as refusal:
            await queue.submit("nap", unique="u", unique_mode="reject")
        assert refusal.value.job_id == first.id
        await first.wait()
        assert (await queue.submit("nap", unique="u")).id != first.id


@virtual_time
async def test_debounced_submissions_run_once_with_the_last_arguments() -> None:
    queue = queue_of()
    saved: list[tuple[float, int]] = []

    @queue.handler
    async def save(version: int) -> None:
        saved.append((now(), version))

    async with queue:
        began = now()
        for version in range(5):
            job = await queue.submit("save", {"version": version}, delay_s=2.0, unique="doc", unique_mode="debounce")
            await asyncio.sleep(1.0)
        await job.wait()
        with pytest.raises(InvalidSubmission, match="needs delay_s or run_at"):
            await queue.submit("save", {"version": 9}, unique="doc", unique_mode="debounce")
    assert saved == [(pytest.approx(began + 6.0, abs=0.01), 4)]


# -- live changes


@virtual_time
async def test_the_number_of_workers_can_change_while_jobs_run() -> None:
    queue = queue_of(workers=2)
    running = peak = 0

    @queue.handler
    async def nap() -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(1.0)
        running -= 1

    async with queue:
        jobs = [await queue.submit("nap") for _ in range(30)]
        await asyncio.sleep(1.5)
        assert peak == 2
        await queue.change("default", workers=6)
        await asyncio.sleep(2.0)
        assert running == peak == 6
        await queue.change("default", workers=1)
        await asyncio.sleep(2.0)
        assert running == 1
        await queue.change("default", workers=30)
        for job in jobs:
            assert (await job.wait()).state is JobState.SUCCEEDED


@virtual_time
async def test_a_queue_resumes_by_itself_when_its_pause_is_over() -> None:
    queue = queue_of(workers=2)

    @queue.handler
    async def work() -> float:
        return now()

    async with queue:
        events, paused_at = EventRecorder(queue), now()
        await queue.pause("default", reason="deploy", for_s=timedelta(minutes=10))
        jobs = [await queue.submit("work") for _ in range(5)]
        for job in jobs:
            assert await job.result() == pytest.approx(paused_at + 600.0, abs=0.01)
        assert [event.pause.reason for event in events.of(Paused)] == ["deploy"]
        assert [event.queue for event in events.of(Resumed)] == ["default"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"for_s": 0}, "over 0"),
        ({"for_s": -1.0}, "over 0"),
        ({"for_s": float("nan")}, "finite"),
        ({"for_s": "10m"}, "seconds"),
        ({"reason": "x" * 201}, "200 characters"),
    ],
)
async def test_a_pause_without_sense_is_refused_and_changes_nothing(given: dict[str, Any], fault: str) -> None:
    async with queue_of() as queue:
        with pytest.raises(ValueError, match=fault):
            await queue.pause("default", **given)
        assert queue.service.backend.stats()[1][0].pause is None


@virtual_time
async def test_a_paused_queue_accepts_jobs_and_starts_none_until_it_is_resumed() -> None:
    queue = queue_of(workers=2)

    @queue.handler
    async def work() -> float:
        return now()

    async with queue:
        await queue.pause("default")
        jobs = [await queue.submit("work") for _ in range(5)]
        await asyncio.sleep(10)
        assert all([(await job.status()).state is JobState.QUEUED for job in jobs])
        resumed = now()
        await queue.resume("default")
        for job in jobs:
            assert await job.result() == pytest.approx(resumed, abs=0.01)


@pytest.mark.parametrize("after", list(Discipline))
@pytest.mark.parametrize("before", list(Discipline))
@virtual_time
async def test_a_changed_discipline_of_a_live_queue_loses_no_job(before: Discipline, after: Discipline) -> None:
    queue = queue_of(workers=1, discipline=before, patience_s=1000.0)
    ran: list[int] = []

    @queue.handler
    async def work(n: int) -> None:
        await asyncio.sleep(0.01)
        ran.append(n)

    async with queue:
        jobs = [await queue.submit("work", {"n": n}, priority=n % 10, group=f"g{n % 7}") for n in range(100)]
        await asyncio.sleep(0.25)
        await queue.change("default", discipline=after)
        for job in jobs:
            assert (await job.wait()).state is JobState.SUCCEEDED
    assert sorted(ran) == list(range(100))


@virtual_time
async def test_queues_share_worker_time_by_weight() -> None:
    queues = {
        "default": QueueSettings(workers=4, weight=3, capacity=50_000),
        "bulk": QueueSettings(workers=4, weight=1, capacity=50_000),
    }
    queue = undrained(Settings(queues=queues, runtime=RuntimeSettings(workers=4)))
    busy_s: Counter[str] = Counter()

    @queue.handler
    async def short() -> None:
        await asyncio.sleep(0.01)
        busy_s["default"] += 0.01  # type: ignore[assignment]  # a Counter of floats

    @queue.handler(queue="bulk")
    async def long() -> None:
        await asyncio.sleep(0.05)
        busy_s["bulk"] += 0.05  # type: ignore[assignment]  # a Counter of floats

    async with queue:
        for _ in range(20_000):
            await queue.submit("short")
        for _ in range(5_000):
            await queue.submit("long")
        await asyncio.sleep(50.0)
        assert busy_s["default"] / busy_s["bulk"] == pytest.approx(3.0, rel=0.05)
        assert sum(busy_s.values()) == pytest.approx(200.0, rel=0.02), "all workers are busy"
        await queue.drain(0.0)


@virtual_time
async def test_strict_shares_serve_the_queue_of_higher_weight_first() -> None:
    queues = {"default": QueueSettings(workers=1, weight=1), "urgent": QueueSettings(workers=1, weight=2)}
    queue = JobQueue(Settings(queues=queues, runtime=RuntimeSettings(workers=1, shares="strict")))
    ran: list[str] = []

    @queue.handler
    async def work(name: str) -> None:
        await asyncio.sleep(0.1)
        ran.append(name)

    async with queue:
        jobs = [await queue.submit("work", {"name": f"slow{n}"}) for n in range(3)]
        await asyncio.sleep(0.05)
        jobs += [await queue.submit("work", {"name": f"urgent{n}"}, queue="urgent") for n in range(3)]
        for job in jobs:
            await job.wait()
    assert ran == ["slow0", "urgent0", "urgent1", "urgent2", "slow1", "slow2"]


@virtual_time
async def test_a_reload_applies_live_settings_and_returns_the_names_of_all_others() -> None:
    before = Settings(queues={"default": QueueSettings(workers=1, capacity=10)})
    queue = JobQueue(before)

    @queue.handler
    async def nap() -> None:
        await asyncio.sleep(1.0)

    async with queue:
        jobs = [await queue.submit("nap") for _ in range(10)]
        after = Settings(
            queues={"default": QueueSettings(workers=5, capacity=20, discipline="lifo")},
            server=ServerSettings(port=9999),
            limits=LimitsSettings(long_poll_max_s=5.0, idle_timeout_s=3.0),
        )
        assert await queue.reload(after) == ["server.port", "limits.idle_timeout_s"]
        assert queue.settings.limits.long_poll_max_s == 5.0
        assert queue.settings.server.port == before.server.port
        jobs += [await queue.submit("nap") for _ in range(10)]
        began = now()
        for job in jobs:
            await job.wait()
        assert now() - began == pytest.approx(4.0, abs=0.1)
        assert queue.service.backend.stats()[1][0].policy.discipline == Discipline.LIFO


@virtual_time
async def test_an_overloaded_adaptive_queue_starts_jobs_within_its_patience_or_expires_them() -> None:
    queue = queue_of(workers=1, discipline="adaptive", patience_s=2.0)
    started: list[float] = []

    @queue.handler
    async def work(submitted_at: float) -> None:
        started.append(now() - submitted_at)
        await asyncio.sleep(0.1)

    async with queue:
        events = EventRecorder(queue)
        handles = []
        for _ in range(400):  # at twice the capacity of one worker
            handles.append(await queue.submit("work", {"submitted_at": now()}))
            await asyncio.sleep(0.05)
        states = Counter([(await handle.wait()).state for handle in handles])
        assert len(events.of(Started)) == states[JobState.SUCCEEDED]
    assert states[JobState.SUCCEEDED] + states[JobState.EXPIRED] == 400
    assert max(started) <= 2.0, "no job starts after its patience"
    assert states[JobState.SUCCEEDED] >= 190, "the worker idled"


@virtual_time
async def test_a_rate_with_a_burst_of_one_spaces_its_starts_evenly() -> None:
    queue = queue_of()
    starts: list[float] = []

    @queue.handler(rate="10/s burst 1")
    async def call() -> None:
        starts.append(now())

    async with queue:
        for job in [await queue.submit("call") for _ in range(20)]:
            await job.wait()
    assert [later - earlier for earlier, later in itertools.pairwise(starts)] == pytest.approx([0.1] * 19, abs=0.01)
