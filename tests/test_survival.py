"""What survives a restart with a journal: after a stop, and after a crash.

A crash is a copy of the folder, taken while the queue runs: what a SIGKILL at that instant would leave.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from jobqueue import JobContext, JobQueue, JobState, flow, wiring
from jobqueue.config import QueueSettings, Settings
from jobqueue.config.journal import JournalSettings
from jobqueue.core.job import IdempotencyKey
from jobqueue.errors import JobGone, JobNotFound
from jobqueue.handlers import Submission
from jobqueue.runtime.wall_clock import WallClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from jobqueue.core.job_view import JobView
    from jobqueue.handle import JobHandle

LATER_S = 3600.0
PATIENCE_S = 10.0
EVERY_QUEUE = {"default": QueueSettings(), "slow": QueueSettings(workers=1, discipline="priority")}


class Lives:
    """The queues that use one folder, one after the other.

    Args:
        crashes: Whether a queue ends by a crash, or by a stop.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, *, crashes: bool) -> None:
        self.crashes = crashes
        self._patch = patch
        self.ran: list[tuple[str, int, bool]] = []
        self.gate = asyncio.Event()
        self.ahead_s = 0.0
        self.folder = folder / "0"
        self._queues: list[JobQueue] = []

    @property
    def queue(self) -> JobQueue:
        return self._queues[-1]

    async def start(self, **changed: Any) -> JobQueue:
        settings = Settings(
            queues={**EVERY_QUEUE, **changed.pop("queues", {})},
            journal=JournalSettings(dir=str(self.folder), sync="always"),
            **changed,
        )
        queue = JobQueue(settings)
        self._register(queue)
        ahead_s = self.ahead_s
        self._patch.setattr(wiring, "WallClock", partial(WallClock, wall=lambda: time.time() + ahead_s))
        await queue.start()
        self._queues.append(queue)
        return queue

    async def again(self, ahead_s: float = 0.0, **changed: Any) -> JobQueue:
        """End the queue, and start the next one, `ahead_s` seconds later by the wall clock."""
        if self.crashes:
            await self.queue.submit("echo", {"value": "settled"}, delay_s=LATER_S)  # all before it is on disk, too
            copy = self.folder.with_name(str(len(self._queues)))
            if len(self._queues) > 1:  # after a crash a snapshot is written beside all else: files come and go
                await until(self._has_snapshot)
            await until(lambda: copied(self.folder, copy))
            self.folder = copy
        else:
            await self.queue.stop()
        self.ahead_s += ahead_s
        return await self.start(**changed)

    def _has_snapshot(self) -> bool:
        journal = self.queue.service.snapshot().journal
        assert journal is not None
        return journal.snapshot_at is not None

    def content(self, path: str) -> bytes:
        """Return the content of a file of the present folder."""
        assert Path(path).is_relative_to(self.folder)
        return Path(path).read_bytes()

    async def close(self) -> None:
        self.gate.set()
        for queue in self._queues:
            await queue.stop()

    def _register(self, queue: JobQueue) -> None:
        @queue.handler
        async def echo(ctx: JobContext, value: Any = None) -> Any:
            self.ran.append((ctx.job_id, ctx.attempt, ctx.recovered))
            return value

        @queue.handler(attempts_max=2)
        async def hold(ctx: JobContext) -> str:
            self.ran.append((ctx.job_id, ctx.attempt, ctx.recovered))
            ctx.progress(0.5, "halfway")
            await self.gate.wait()
            return "held"

        @queue.handler
        async def fail() -> None:
            raise ValueError("no such file")

        @queue.handler
        async def size(ctx: JobContext) -> int:
            path = ctx.result_file("text/plain")
            content = ctx.files["file"].read_bytes()
            path.write_bytes(content * 2)
            return len(content)

        @queue.handler
        async def gather(ctx: JobContext) -> dict[str, Any]:
            return {name: parent.result for name, parent in ctx.parents.items()}

        @queue.on("order.>", queue="slow")
        async def note(topic: str, data: Any) -> list[Any]:
            return [topic, data]


@pytest.fixture(params=["stop", "crash"])
async def lives(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lives]:
    lives = Lives(tmp_path, monkeypatch, crashes=request.param == "crash")
    yield lives
    await lives.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0)


def copied(folder: Path, copy: Path) -> bool:
    """Copy a folder; False if its files were others afterwards."""
    before = sorted(folder.iterdir())
    shutil.rmtree(copy, ignore_errors=True)
    # Segments are mostly zeros.
    done = subprocess.run(["cp", "-r", "--sparse=always", folder, copy], check=False, capture_output=True)
    return done.returncode == 0 and sorted(folder.iterdir()) == before


async def view(queue: JobQueue, job: JobHandle) -> JobView:
    return await queue.job(job.id).status()


def submission(**given: Any) -> Submission:
    return msgspec.convert({"type": "echo", "args": msgspec.Raw(b"{}"), **given}, Submission)


async def test_ids_go_on(lives: Lives) -> None:
    queue = await lives.start()
    kept = await queue.submit("echo", delay_s=LATER_S)
    gone = await queue.submit("echo")
    await gone.wait()
    await queue.service.backend.delete(gone.id)
    queue = await lives.again()
    later = await queue.submit("echo", delay_s=LATER_S)
    assert (await view(queue, kept)).state is JobState.DELAYED
    assert later.id > max(kept.id, gone.id), "in the order of submissions"
    with pytest.raises(JobGone) as raised:
        await view(queue, gone)
    assert raised.value.reason == "evicted"
    never = f"{later.id[:-1]}{'0' if later.id[-1] != '0' else '1'}"
    with pytest.raises(JobNotFound):
        await queue.job(never).status()


async def test_terminal_jobs_stay_readable_for_the_rest_of_their_ttl(lives: Lives) -> None:
    queue = await lives.start()
    done, failed = await queue.submit("echo", {"value": [1, "ä"]}, ttl_s=LATER_S), await queue.submit("fail")
    short = await queue.submit("echo", ttl_s=60)
    for job in (done, failed, short):
        await job.wait()
    queue = await lives.again(ahead_s=600)
    assert await queue.job(done.id).result() == [1, "ä"]
    record = await view(queue, failed)
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert (record.error.code, record.error.message) == ("handler_error", "ValueError: no such file")
    assert record.history is not None
    assert len(record.history) == 1
    with pytest.raises(JobGone):
        await view(queue, short)


async def test_a_failed_job_is_retried_after_the_start(lives: Lives) -> None:
    queue = await lives.start()
    failed = await queue.submit("fail")
    first = await failed.wait()
    queue = await lives.again()
    await queue.job(failed.id).retry()
    second = await queue.job(failed.id).wait(PATIENCE_S)
    assert (second.state, second.attempt > first.attempt) == (JobState.FAILED, True)


async def test_a_queued_job_runs_with_its_arguments_and_options(lives: Lives) -> None:
    queue = await lives.start()
    await queue.pause("default")
    job = await queue.submit("echo", {"value": {"a": 1}}, group="g", timeout_s=7, attempts_max=3, priority=4)
    queue = await lives.again()
    spec = (await view(queue, job)).spec
    assert (spec.group, spec.timeout_s, spec.attempts_max, spec.priority) == ("g", 7, 3, 4)
    await queue.resume("default")
    assert await queue.job(job.id).result(PATIENCE_S) == {"a": 1}


async def test_files_are_kept(lives: Lives) -> None:
    queue = await lives.start()
    done = await queue.submit("size", files={"file": b"abc"})
    assert await done.result() == 3
    await queue.pause("default")
    waiting = await queue.submit("size", files={"file": b"12345"})
    queue = await lives.again()
    record = await view(queue, done)
    assert record.file is not None
    assert lives.content(record.file.path) == b"abcabc"
    await queue.resume("default")
    assert await queue.job(waiting.id).result(PATIENCE_S) == 5


async def test_order_and_priorities_are_kept(lives: Lives) -> None:
    queue = await lives.start()
    await queue.pause("slow")
    jobs = [await queue.submit("echo", queue="slow", priority=priority) for priority in (1, 9, 5, 9, 1)]
    queue = await lives.again()
    await queue.resume("slow")
    for job in jobs:
        await queue.job(job.id).wait(PATIENCE_S)
    assert [job_id for job_id, _, _ in lives.ran] == [jobs[number].id for number in (1, 3, 2, 0, 4)]


async def test_delays_go_on_by_the_wall_clock(lives: Lives) -> None:
    queue = await lives.start()
    due = await queue.submit("echo", {"value": "due"}, delay_s=60)
    at = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
    later = await queue.submit("echo", run_at=at)
    queue = await lives.again(ahead_s=600)
    assert await queue.job(due.id).result(PATIENCE_S) == "due"
    record = await view(queue, later)
    assert record.state is JobState.DELAYED
    assert queue.service.wall(record.run_at) == pytest.approx(at.timestamp(), abs=0.1)


async def test_a_start_by_that_is_over_expires_the_job(lives: Lives) -> None:
    queue = await lives.start()
    await queue.pause("default")
    over, ahead = await queue.submit("echo", start_by_s=60), await queue.submit("echo", start_by_s=LATER_S)
    queue = await lives.again(ahead_s=600)
    assert (await queue.job(over.id).wait(PATIENCE_S)).state is JobState.EXPIRED
    assert (await view(queue, ahead)).state is JobState.QUEUED


async def test_an_idempotency_key_is_known(lives: Lives) -> None:
    queue = await lives.start()
    key = IdempotencyKey("order-17", b"digest")
    first = await queue.service.accept(submission(delay_s=60.0), caller="ann", key=key)
    queue = await lives.again()
    same = await queue.service.accept(submission(delay_s=60.0), caller="ann", key=key)
    other = await queue.service.accept(submission(delay_s=60.0), caller="bob", key=key)
    assert (same.duplicate, same.job.id) == (True, first.job.id)
    assert not other.duplicate


async def test_a_unique_value_is_taken(lives: Lives) -> None:
    queue = await lives.start()
    job = await queue.submit("echo", unique="a", delay_s=LATER_S)
    free = await queue.submit("echo", unique="b")
    await free.wait()
    queue = await lives.again()
    assert (await queue.submit("echo", unique="a")).id == job.id
    assert (await queue.submit("echo", unique="b")).id != free.id


async def test_debounced_submissions_are_the_last_of_them_and_take_further_ones(lives: Lives) -> None:
    queue = await lives.start()
    first = await queue.submit("echo", {"value": 1}, unique="a", unique_mode="debounce", delay_s=60)
    await queue.submit("echo", {"value": 2}, unique="a", unique_mode="debounce", delay_s=LATER_S)
    at = time.time() + LATER_S
    queue = await lives.again(ahead_s=600)
    record = await view(queue, first)
    assert (record.state, record.args) == (JobState.DELAYED, b'{"value":2}')
    assert queue.service.wall(record.run_at) == pytest.approx(at, abs=PATIENCE_S)
    last = await queue.submit("echo", {"value": 3}, unique="a", unique_mode="debounce", delay_s=60)
    assert last.id == first.id
    queue = await lives.again(ahead_s=600)
    assert await queue.job(first.id).result(PATIENCE_S) == 3


async def test_a_delayed_job_that_was_run_on_request_is_not_delayed_again(lives: Lives) -> None:
    queue = await lives.start()
    await queue.pause("default")
    job = await queue.submit("echo", {"value": 1}, delay_s=LATER_S)
    await job.run_now()
    queue = await lives.again()
    assert (await view(queue, job)).state is JobState.QUEUED
    await queue.resume("default")
    assert await queue.job(job.id).result(PATIENCE_S) == 1


async def test_a_flow_goes_on(lives: Lives) -> None:
    queue = await lives.start()
    await queue.pause("slow")
    graph = flow()
    ended, failed = graph.job("echo", {"value": 1}, name="ended"), graph.job("fail", name="failed")
    waits = graph.job("echo", {"value": 2}, name="waits", queue="slow")
    graph.job("gather", name="last", after=[ended, waits])
    graph.job("echo", {"value": 3}, name="needs", after=failed)
    submitted = await queue.submit_flow(graph)
    for name in ("ended", "failed", "needs"):
        await (await submitted.job(name)).wait()
    queue = await lives.again()
    again = queue.flow(submitted.id)
    states = {job.name: job.state.value for job in (await again.status()).jobs}
    assert states == {
        "ended": "succeeded",
        "failed": "failed",
        "waits": "queued",
        "last": "waiting",
        "needs": "cancelled",
    }
    await queue.resume("slow")
    assert await (await again.job("last")).result(PATIENCE_S) == {"ended": 1, "waits": 2}
    assert (await again.wait(PATIENCE_S)).state == "failed"


async def test_published_data_reaches_its_subscribers(lives: Lives) -> None:
    queue = await lives.start()
    await queue.pause("slow")
    [job] = await queue.publish("order.paid", {"id": 17})
    queue = await lives.again()
    await queue.resume("slow")
    assert await queue.job(job.id).result(PATIENCE_S) == ["order.paid", {"id": 17}]


async def test_a_caller_still_holds_its_jobs(lives: Lives) -> None:
    queue = await lives.start()
    for _ in range(3):
        await queue.service.accept(submission(delay_s=LATER_S), caller="ann", owner="ann")
    queue = await lives.again()
    assert queue.service.backend.holding("ann").live == 3


async def test_a_pause_is_kept(lives: Lives) -> None:
    queue = await lives.start()
    await queue.pause("slow", reason="the disk is being replaced", for_s=LATER_S)
    await queue.pause("default", for_s=60)
    queue = await lives.again(ahead_s=600)
    default, slow = (queue.service.snapshot().queues[index].pause for index in (0, 1))
    assert slow is not None
    assert slow.until is not None
    assert slow.reason == "the disk is being replaced"
    assert slow.until - queue.service.backend.now() == pytest.approx(LATER_S - 600, abs=PATIENCE_S)
    await until(lambda: queue.service.snapshot().queues[0].pause is None)
    assert default is None or default.until is not None


async def test_a_pause_for_a_reason_that_is_no_text_in_unicode_is_kept(lives: Lives) -> None:
    queue = await lives.start()
    await queue.pause("slow", reason="the disk \ud800")
    queue = await lives.again()
    pause = queue.service.snapshot().queues[1].pause
    assert pause is not None
    assert pause.reason == "the disk ?"


async def test_a_change_of_a_queue_is_kept_until_its_settings_change(lives: Lives) -> None:
    queue = await lives.start()
    await queue.change("slow", workers=7, weight=3)
    queue = await lives.again()
    policy = queue.service.policy("slow")
    assert (policy.workers, policy.weight, policy.discipline) == (7, 3, "priority")
    queue = await lives.again(queues={"slow": QueueSettings(workers=2, discipline="priority")})
    assert (queue.service.policy("slow").workers, queue.service.policy("slow").weight) == (2, 1)


async def test_a_quarantine_starts_afresh(lives: Lives) -> None:
    queue = await lives.start(queues={"default": QueueSettings(retry_budget=3)})
    for _ in range(3):
        await (await queue.submit("fail")).wait()
    assert len(queue.service.backend.quarantined()) == 1
    queue = await lives.again(queues={"default": QueueSettings(retry_budget=3)})
    assert queue.service.backend.quarantined() == []
    assert (await (await queue.submit("fail")).wait(PATIENCE_S)).state is JobState.FAILED


async def test_a_running_job_runs_again(lives: Lives) -> None:
    queue = await lives.start()
    job = await queue.submit("hold")
    await until(lambda: len(lives.ran) == 1)
    queue = await lives.again()
    await until(lambda: len(lives.ran) == 2)
    (first, second) = lives.ran
    assert (first, second[0], second[2]) == ((job.id, 1, False), job.id, lives.crashes)
    assert second[1] > 1, "an attempt's number is not given twice"
    lives.gate.set()
    assert await queue.job(job.id).result(PATIENCE_S) == "held"


async def test_a_running_job_without_attempts_left_fails_after_a_crash_only(lives: Lives) -> None:
    queue = await lives.start()
    job = await queue.submit("hold", attempts_max=1)
    await until(lambda: len(lives.ran) == 1)
    queue = await lives.again()
    lives.gate.set()
    record = await queue.job(job.id).wait(PATIENCE_S)
    if lives.crashes:
        assert record.error is not None
        assert (record.state, record.error.code, len(lives.ran)) == (JobState.FAILED, "worker_crashed", 1)
    else:
        assert (record.state, len(lives.ran)) == (JobState.SUCCEEDED, 2)


async def test_progress_is_not_kept(lives: Lives) -> None:
    queue = await lives.start()
    job = await queue.submit("hold")
    await until(lambda: len(lives.ran) == 1)
    assert (await view(queue, job)).progress is not None
    await queue.pause("default")
    queue = await lives.again()
    assert (await view(queue, job)).progress is None


async def test_counters_start_at_zero(lives: Lives) -> None:
    queue = await lives.start()
    await (await queue.submit("echo")).wait()
    await queue.submit("echo", delay_s=LATER_S)
    queue = await lives.again()
    snapshot = queue.service.snapshot()
    assert snapshot.queues[0].succeeded_total == 0
    assert (snapshot.store.live, snapshot.store.terminal) == (1 + lives.crashes, 1)


async def test_a_second_restart_finds_the_same(lives: Lives) -> None:
    queue = await lives.start()
    done, waiting = await queue.submit("echo", {"value": 1}), await queue.submit("echo", delay_s=LATER_S)
    await done.wait()
    await lives.again()
    queue = await lives.again()
    assert await queue.job(done.id).result() == 1
    assert (await view(queue, waiting)).state is JobState.DELAYED
