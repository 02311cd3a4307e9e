"""Verdicts: the outcomes and the progress of attempts, all of a turn of the loop in one call of each kind.

Rules:

1. An outcome counts once: the store knows the attempt by its number, and answers one that is sent again as it did.
2. While the store doesn't answer, outcomes wait here, and are sent until it does: the lease holds as long as the store
   doesn't take this process for dead. Progress that can't be sent is dropped.
3. How a failed attempt goes on is decided there, by the attempts that are left; the wait before the next one, with its
   jitter, is drawn here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from jobqueue.backend.valkey.batches import ITEMS_MAX, Batches
from jobqueue.backend.valkey.link import fresh
from jobqueue.backend.valkey.records import STATES
from jobqueue.core import attempts as attempts_of
from jobqueue.core.engine import BACKOFF, BLAMELESS
from jobqueue.core.events import AttemptFailed, BackedOff, Ended, Progressed, Ready, Requeued
from jobqueue.core.job import CANCELLED, DELAYED, FAILED, QUEUED, SUCCEEDED, StopReason
from jobqueue.core.report import MESSAGE_LENGTH_MAX, ErrorCode, Failure, JobError, Success
from jobqueue.errors import Overloaded, StaleLease, StoreUnavailable
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from jobqueue.backend.valkey.attempts import Attempts, Held
    from jobqueue.backend.valkey.calls import Argument
    from jobqueue.backend.valkey.link import Link
    from jobqueue.backend.valkey.listeners import Listeners
    from jobqueue.backend.valkey.records import Records
    from jobqueue.core.job import Job
    from jobqueue.core.report import Progress

AGAIN_S: Final = 0.5
"""How long an outcome waits that the store didn't take, before it is sent again, in seconds."""

log = event_logger(__name__)

STALE, DONE, TIMED_OUT_BEFORE, NO_ROOM = 0, 1, 3, 4
"""Codes of the store: the lease is lost; done just now; the attempt had timed out; there is no room for its result."""


class Verdict:
    """An outcome on its way. Attributes: taken: Done with the store's answer; None: nothing waits for it."""

    __slots__ = ("held", "outcome", "taken")

    def __init__(
        self, held: Held, outcome: Success | Failure | StopReason, taken: asyncio.Future[None] | None = None
    ) -> None:
        self.held = held
        self.outcome = outcome
        self.taken = taken


class Verdicts:
    """Reports outcomes to the store.

    Args:
        process: Returns the name of this process in the store.
        on_freed: Called where places are free again.
        on_changed: Is told the id of each record that has changed.
        on_succeeding: Is told the id of each job with a success that is about to be sent.
        on_succeeded: Is told each job that has succeeded here just now, after `on_changed`.
        on_answered: Is told each id of `on_succeeding` once the store has answered, after `on_succeeded`, or can't.
        note_at: Is told when a job is due that waits for its next attempt.
        rng: Draws the jitter of backoffs.
    """

    def __init__(
        self,
        link: Link,
        records: Records,
        attempts: Attempts,
        listeners: Listeners,
        *,
        process: Callable[[], str],
        on_freed: Callable[[], None],
        on_changed: Callable[[str], None],
        on_succeeding: Callable[[str], None],
        on_succeeded: Callable[[Job], None],
        on_answered: Callable[[str], None],
        note_at: Callable[[float], None],
        rng: Random,
    ) -> None:
        self._link, self._records = link, records
        self._attempts, self._listeners = attempts, listeners
        self._process = process
        self._on_freed, self._on_changed, self._note_at = on_freed, on_changed, note_at
        self._on_succeeding, self._on_succeeded, self._on_answered = on_succeeding, on_succeeded, on_answered
        self._rng = rng
        self._batches: Batches[Verdict] = Batches(link.loop, self._send, self._fail)
        self._reports: Batches[tuple[Held, bytes, asyncio.Future[None]]] = Batches(
            link.loop, self._send_reports, lambda report, error: _settle(report[2], error)
        )
        self._closed = False

    async def ack(self, held: Held, success: Success) -> None:
        """Report that an attempt has succeeded. Raises StaleLease."""
        if held.stopping is StopReason.TIMED_OUT:
            await self.nack(held, attempts_of.timed_out(held.job))
        else:
            await self._report(held, success)

    def end_now(self, held: Held, outcome: Success | Failure) -> None:
        """Report the outcome of an attempt that was not asked to stop; what becomes of it is logged."""
        self._add(Verdict(held, outcome))

    async def nack(self, held: Held, failure: Failure) -> None:
        """Report that an attempt has failed. Raises StaleLease."""
        if held.stopping is StopReason.SHUTDOWN:
            await self.stopped(held)  # it goes back, whatever it met
            return
        if held.stopping is StopReason.TIMED_OUT:
            failure = attempts_of.timed_out(held.job, failure)
        await self._report(held, failure)

    async def stopped(self, held: Held) -> None:
        """Report that an attempt has ended as it was asked to. Raises StaleLease."""
        if held.stopping is StopReason.TIMED_OUT:
            await self.nack(held, attempts_of.timed_out(held.job))
        else:
            await self._report(held, held.stopping or StopReason.SHUTDOWN)

    def conclude(self, held: Held) -> None:
        """Report an attempt that has reported nothing in time."""
        self._attempts.conclude(held.lease.job_id, held.lease.attempt)
        timed_out = held.stopping is StopReason.TIMED_OUT
        outcome = attempts_of.timed_out(held.job) if timed_out else held.stopping or StopReason.SHUTDOWN
        verdict = Verdict(held, outcome)
        self._batches.add(_kind(verdict), verdict, 0)

    def give_back(self, unstarted: list[Held]) -> None:
        """Give leased jobs back that no worker has begun, without a charge."""
        for start in range(0, len(unstarted), ITEMS_MAX):
            self._give_back(unstarted[start : start + ITEMS_MAX])

    def _give_back(self, unstarted: list[Held]) -> None:
        args: list[Argument] = [self._process(), len(unstarted)]
        for held in unstarted:
            args += (held.lease.job_id, held.lease.attempt)

        def then(told: list[Any] | None, error: Exception | None) -> None:
            for n, held in enumerate(unstarted):
                self._attempts.forget(held)
                self._on_changed(held.lease.job_id)
                if told is not None and told[1 + 3 * n]:
                    held.job.state, held.job.version = QUEUED, told[3 + 3 * n]
                    self._listeners.publish(Requeued(held.job), Ready(held.job))

        self._link.send("give_back", args, then)

    async def report(self, held: Held, progress: Progress) -> None:
        """Report the progress of an attempt. Raises StaleLease."""
        blob = self._records.progress_blob(progress)
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        held.job.progress = progress
        self._reports.add("", (held, blob, taken), len(blob))
        await taken

    def close(self) -> None:
        """Send nothing any more: what waits has lost its lease."""
        self._closed = True

    async def _report(self, held: Held, outcome: Success | Failure | StopReason) -> None:
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._add(Verdict(held, outcome, taken))
        await taken

    def _add(self, verdict: Verdict) -> None:
        if isinstance(verdict.outcome, Success):
            self._on_succeeding(verdict.held.lease.job_id)
        self._batches.add(_kind(verdict), verdict, _size(verdict.outcome))
        self._on_freed()

    # -- calls

    def _send(self, kind: str, verdicts: list[Verdict]) -> asyncio.Future[Any]:
        args: list[Argument] = [self._process(), len(verdicts)]
        for verdict in verdicts:
            args += (verdict.held.lease.job_id, verdict.held.lease.attempt)
            args += self._args_of(verdict)

        def then(told: list[Any] | None, error: Exception | None) -> None:
            if told is None:
                self._refused(kind, verdicts, error)
            else:
                self._take_all(kind, verdicts, told)
            for verdict in verdicts:
                self._on_answered(verdict.held.lease.job_id)

        return self._link.send(kind, args, then)

    def _args_of(self, verdict: Verdict) -> list[Argument]:
        outcome, job = verdict.outcome, verdict.held.job
        if isinstance(outcome, Success):
            return [outcome.result]
        if isinstance(outcome, StopReason):
            return [outcome.value]
        own_fault = outcome.code is ErrorCode.TIMED_OUT and job.spec.own_timeout
        blame = not own_fault and outcome.code not in BLAMELESS
        wait_s = outcome.retry_after_s
        if wait_s is None:
            backoff = job.spec.backoff or BACKOFF
            wait_s = backoff.wait_s(job.attempt - job.attempts_before, self._rng)
        message, traceback = outcome.message[:MESSAGE_LENGTH_MAX], outcome.traceback or ""
        shown = traceback[-attempts_of.TRACEBACK_LENGTH_MAX :]
        return [outcome.code.value, message, shown, int(blame), int(outcome.final), round(wait_s * 1000.0)]

    def _refused(self, kind: str, verdicts: list[Verdict], error: Exception | None) -> None:
        """Send outcomes again that the store did not take."""
        if isinstance(error, StoreUnavailable | Overloaded) and not self._closed:
            asyncio.get_running_loop().call_later(AGAIN_S, self._again, verdicts)
            return
        for verdict in verdicts:
            if self._closed:
                self._stale(verdict)
                continue
            error = error or RuntimeError(f"no reply to {kind}")
            if verdict.taken is None:
                self._link.report(error)
            self._fail(verdict, error)

    def _fail(self, verdict: Verdict, error: Exception) -> None:
        self._attempts.forget(verdict.held)
        self._on_answered(verdict.held.lease.job_id)
        if verdict.taken is not None:
            _settle(verdict.taken, error)

    def _again(self, verdicts: list[Verdict]) -> None:
        for verdict in verdicts:
            if self._closed:
                self._stale(verdict)
            else:
                self._batches.add(_kind(verdict), verdict, 0)

    # -- replies

    def _take_all(self, kind: str, verdicts: list[Verdict], told: list[Any]) -> None:
        width = 4 if kind == "nack" else 3
        at = self._link.clock.at(told[0])
        for verdict, start in zip(verdicts, range(1, len(told), width), strict=True):
            try:
                self._take(verdict, told[start : start + width], at)
            except Exception as raised:  # its own, so that the others have their answers
                self._link.report(raised)
                self._fail(verdict, raised)

    def _take(self, verdict: Verdict, told: list[Any], at: float) -> None:
        held, outcome = verdict.held, verdict.outcome
        code, state, version = told[:3]
        self._on_changed(held.lease.job_id)
        if code == STALE:
            self._stale(verdict)
            return
        if code in (TIMED_OUT_BEFORE, NO_ROOM):
            verdict.outcome = self._instead(held, outcome, timed_out=code == TIMED_OUT_BEFORE)
            self._batches.add("nack", verdict, 0)
            return
        self._attempts.forget(held)
        job = held.job
        job.state, job.version = STATES[state], version
        if job.state is DELAYED and told[3] >= 0:  # not told where it was sent again
            job.run_at = self._link.clock.at(told[3])
            self._note_at(job.run_at)
        self._tell(held, outcome, at)
        if verdict.taken is not None and not verdict.taken.done():
            verdict.taken.set_result(None)
        if code == DONE and job.state is SUCCEEDED:  # else it was sent again, and ended before
            self._on_succeeded(job)

    def _instead(self, held: Held, outcome: Success | Failure | StopReason, *, timed_out: bool) -> Failure:
        """Return the failure that an attempt has in place of its outcome."""
        if timed_out:
            return attempts_of.timed_out(held.job, outcome if isinstance(outcome, Failure) else None)
        size = len(outcome.result) if isinstance(outcome, Success) else 0
        detail = f"the job store has no room for a result of {size} bytes"
        return Failure(ErrorCode.RESULT_TOO_LARGE, detail, final=True)

    def _tell(self, held: Held, outcome: Success | Failure | StopReason, at: float) -> None:
        """Publish what an outcome has led to."""
        job, publish = held.job, self._listeners.publish
        failed = isinstance(outcome, Failure) and (job.state is not CANCELLED or outcome.traceback is not None)
        if job.state in (SUCCEEDED, FAILED, CANCELLED):
            job.finished_at = at
        if job.state is SUCCEEDED and isinstance(outcome, Success):
            job.result, job.args = outcome.result, b""  # the store drops these as well
        elif job.state is FAILED and isinstance(outcome, Failure):
            job.error = JobError(outcome.code, outcome.message[:MESSAGE_LENGTH_MAX])
        if isinstance(outcome, Failure) and job.state in (FAILED, DELAYED, QUEUED):
            job.history = attempts_of.longer_history(job, attempts_of.failed_attempt(job, outcome, at))
        if isinstance(outcome, Failure) and failed:
            publish(AttemptFailed(job, held.lease.attempt, outcome, at))
        if job.finished_at is not None:
            publish(Ended(job))
        elif job.state is DELAYED:
            publish(BackedOff(job))
        else:
            job.stopping = job.progress = None
            publish(Requeued(job), Ready(job))

    def _stale(self, verdict: Verdict) -> None:
        held, lease = verdict.held, verdict.held.lease
        self._attempts.forget(held)
        if verdict.taken is None:
            if held.stopping is None:  # others have ended late, which was told
                outcome = verdict.outcome
                late = {"code": outcome.code, "message": outcome.message} if isinstance(outcome, Failure) else {}
                log.warning("attempt.stale_result", job_id=lease.job_id, attempt=lease.attempt, **late)
        elif not verdict.taken.done():
            verdict.taken.set_exception(
                StaleLease(f"attempt {lease.attempt} of job {lease.job_id} no longer holds its lease")
            )

    # -- progress

    def _send_reports(
        self, key: object, reports: list[tuple[Held, bytes, asyncio.Future[None]]]
    ) -> asyncio.Future[Any]:
        args: list[Argument] = [self._process(), len(reports)]
        for held, blob, _ in reports:
            args += (held.lease.job_id, held.lease.attempt, blob)

        def then(told: list[Any] | None, error: Exception | None) -> None:
            for n, (held, _, taken) in enumerate(reports):
                code = 1 if told is None else told[1 + 2 * n]
                self._on_changed(held.lease.job_id)
                if told is not None and code:
                    held.job.version = told[2 + 2 * n]
                    self._listeners.publish(Progressed(held.job))
                if taken.done():
                    continue
                if code:
                    taken.set_result(None)
                else:
                    taken.set_exception(StaleLease(f"attempt {held.lease.attempt} of job {held.job.id} is over"))

        return self._link.send("report", args, then)


def _settle(taken: asyncio.Future[None], error: Exception) -> None:
    if not taken.done():
        taken.set_exception(fresh(error))


def _size(outcome: Success | Failure | StopReason) -> int:
    """Return the bytes of an outcome on its way."""
    if isinstance(outcome, Success):
        return len(outcome.result)
    return len(outcome.message) + len(outcome.traceback or "") if isinstance(outcome, Failure) else 0


def _kind(verdict: Verdict) -> str:
    if isinstance(verdict.outcome, Success):
        return "ack"
    return "nack" if isinstance(verdict.outcome, Failure) else "stopped"
