"""The fleet: simulated clients that submit, poll, wait, cancel, retry, delete, list, and cancel their requests.

A request runs in its own task, as behind a connection, and may be cancelled in any loop iteration. Each client checks
the responses: an accepted job is readable, a rejection has a valid reason, the same key returns the same job, a wait
ends with its job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.backend.base import BulkAction
from jobqueue.core.admission import QUARANTINED_PART
from jobqueue.core.job import IdempotencyKey, JobId, JobState
from jobqueue.core.job_filter import JobFilter
from jobqueue.core.record_size import held_bytes
from jobqueue.errors import (
    Draining,
    Duplicate,
    InvalidSubmission,
    JobGone,
    JobQueueError,
    KeyReused,
    QueueFull,
    RateLimited,
    Refused,
    StatusesFull,
    TypeQuarantined,
    WrongState,
)
from jobqueue.handlers import Submission, UniqueSubmission
from tests.simulation.known import Known
from tests.simulation.receivers import CALLBACKS
from tests.simulation.scenario import CALLERS, GROUPS

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from random import Random

    from jobqueue.app import JobQueue
    from jobqueue.core.job import Job, UniqueMode
    from jobqueue.core.submit import SubmitResult
    from tests.simulation.auditor import Auditor
    from tests.simulation.scenario import Scenario

PAUSES_S = (0.0, 0.0, 0.0, 0.1, 0.25, 0.5, 1.0, 3.0)
DELAYS_S = (None, None, None, 0.5, 2.0)
STATES = (None, *JobState)
APPLIES: dict[BulkAction, Callable[[Known], bool]] = {
    "retry": lambda known: known.job.state is JobState.FAILED,
    "cancel": lambda known: known.live,
    "delete": lambda known: not known.live,
}


class Fleet:
    """All clients, and the ids of their jobs: each client may use any id."""

    def __init__(self, scenario: Scenario, queue: JobQueue, auditor: Auditor) -> None:
        self.scenario = scenario
        self.queue = queue
        self.auditor = auditor
        self.ids: list[str] = []
        self.keys: dict[tuple[str | None, str], tuple[bytes, str]] = {}
        self._submitted = 0
        self._child_rng = scenario.rng("children")

    async def run(self) -> None:
        """Run all clients to their end."""
        clients = [Client(self, f"client {number}") for number in range(self.scenario.clients)]
        tasks = [asyncio.create_task(client.run(), name=client.name) for client in clients]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def next_number(self) -> int:
        self._submitted += 1
        return self._submitted

    async def submit_child(self) -> str | None:
        """Submit the job of a handler; return its id, None if it was rejected."""
        rng = self._child_rng
        submission = Submission(type=rng.choice(self.scenario.types).name)
        return await Client(self, "handler", rng).offer(submission, ["ok"])


class Client:
    """One client.

    Args:
        rng: The generator of the client; by default that of its name.
    """

    def __init__(self, fleet: Fleet, name: str, rng: Random | None = None) -> None:
        self.name = name
        self._fleet = fleet
        self._rng = rng or fleet.scenario.rng(name)
        self._auditor = fleet.auditor
        self._queue = fleet.queue
        self._requests: tuple[tuple[int, Callable[[], Awaitable[object]]], ...] = (
            (10, self._submit),
            (3, self._poll),
            (2, self._wait),
            (1, self._watch),
            (2, self._cancel),
            (2, self._retry),
            (2, self._run_now),
            (1, self._delete),
            (1, self._bulk),
            (1, self._list),
        )

    async def run(self) -> None:
        rng = self._rng
        weights = [weight for weight, _ in self._requests]
        for _ in range(self._fleet.scenario.requests):
            await asyncio.sleep(rng.choice(PAUSES_S))
            if not self._queue.running:
                return
            ((_, request),) = rng.choices(self._requests, weights)
            await self._carry_out(request)

    async def _carry_out(self, request: Callable[[], Awaitable[object]]) -> None:
        """Run a request in its own task, and cancel it with probability `cancelling`."""
        rng = self._rng
        task = asyncio.create_task(self._checked(request), name=request.__name__)
        try:
            if rng.random() < self._fleet.scenario.cancelling:
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                await asyncio.sleep(rng.choice((0.0, 0.0, 0.25, 1.0)))
                if task.cancel():
                    self._auditor.counts["gives up"] += 1
                    self._auditor.note(self.name, "gives up")
            await asyncio.wait([task])
        finally:
            task.cancel()

    async def _checked(self, request: Callable[[], Awaitable[object]]) -> None:
        try:
            await request()
        except JobQueueError as error:
            self._auditor.note(self.name, f"{type(error).__name__}")
            self._auditor.counts[type(error).__name__] += 1
        except Exception as error:
            if isinstance(error, RuntimeError) and not self._queue.running:
                return  # the queue was stopped meanwhile
            self._auditor.check(False, f"a request of {self.name} raised {error!r}")

    # -- submitting

    async def _submit(self) -> None:
        scenario, rng = self._fleet.scenario, self._rng
        plan = rng.choice(scenario.types)
        acts = [rng.choice(plan.acts) for _ in range(rng.randint(1, 3))]
        delay_s = rng.choice(DELAYS_S)
        mode: UniqueMode = rng.choice(("return", "reject", "replace", "debounce" if delay_s else "return"))
        uploads = scenario.uploads and rng.random() < 0.3 and mode != "debounce"
        unique = UniqueSubmission(value=rng.choice("xy"), mode=mode)
        submission = Submission(
            type=plan.name,
            queue=rng.choice((None, None, *scenario.queues)),
            priority=rng.choice((0, 0, 5, 9)),
            delay_s=delay_s,
            start_by_s=rng.choice((None, None, None, 2.5, 10.0)),
            timeout_s=rng.choice((None, None, 0.5)),
            attempts_max=rng.choice((None, None, 1, 3)),
            group=rng.choice((None, *GROUPS)),
            unique=unique if scenario.uniqueness and rng.random() < 0.5 else None,
            ttl_s=rng.choice((None, None, None, 0.5, 20.0)),
            callback=rng.choice((None, *CALLBACKS)) if scenario.settings.webhooks.callbacks else None,
        )
        caller = rng.choice(CALLERS) if scenario.uniqueness else None
        key = f"key {rng.randrange(5)}" if scenario.uniqueness and rng.random() < 0.3 else None
        body = str(rng.randrange(2)).encode()
        await self.offer(
            submission,
            acts,
            caller=caller,
            key=IdempotencyKey(key, body) if key is not None else None,
            padding=rng.choice((0, 0, 0, 50, 700)),
            uploads=uploads,
        )

    async def offer(
        self,
        submission: Submission,
        acts: list[str],
        *,
        caller: str | None = None,
        key: IdempotencyKey | None = None,
        padding: int = 0,
        uploads: bool = False,
    ) -> str | None:
        """Submit; return the id of the new or existing job, None after a rejection."""
        number = self._fleet.next_number()
        submission.args = msgspec.Raw(msgspec.json.encode({"n": number, "acts": acts}) + b" " * padding)
        if not uploads:
            return await self._accept(number, submission, caller, key, None)
        async with self._queue.service.spool.new_upload() as upload:
            file = upload.new_file("text", "text/plain")
            await file.write(b"hello")
            await file.finish()
            return await self._accept(number, submission, caller, key, upload)

    async def _accept(
        self, number: int, submission: Submission, caller: str | None, key: IdempotencyKey | None, upload: Any
    ) -> str | None:
        auditor, backend = self._auditor, self._queue.service.backend
        before = auditor.submitted
        due = self._due_by_key(caller, key)
        if (unseen := backend.refuse_unseen()) is not None:
            self._check_unseen(unseen)
        files = {} if upload is None else {"folder": upload.folder, "files": upload.files}
        try:
            with auditor.asked("cancel", self._superseded_by(submission)):
                submitted = await self._queue.service.accept(submission, caller=caller, key=key, **files)
        except (Refused, Duplicate, KeyReused, InvalidSubmission) as refusal:
            auditor.note(self.name, f"submission {number} of {submission.type}: {type(refusal).__name__}")
            auditor.counts[type(refusal).__name__] += 1
            auditor.attempts.refused.add(number)
            auditor.check(auditor.submitted == before, f"submission {number} was rejected, and accepted")
            spec, args, kept, uniqueness = self._queue.service._asked(
                submission, *(files.values() or (None, None)), caller, None, key
            )
            self._check_reason(refusal, submission, len(args) + held_bytes(spec, kept, uniqueness), caller, due)
            return None
        if upload is not None and not submitted.duplicate:
            upload.keep()
        self._check_submitted(number, submitted, before, due)
        if key is not None:
            self._fleet.keys[caller, key.key] = (key.fingerprint, submitted.job.id)
        self._fleet.ids.append(submitted.job.id)
        found = await backend.get(submitted.job.id)
        auditor.check(found == submitted.job, f"submission {number} was accepted, and can't be read")
        return submitted.job.id

    def _superseded_by(self, submission: Submission) -> list[str]:
        """Return the live jobs that a submission may cancel, by its unique value."""
        unique = submission.unique
        if not isinstance(unique, UniqueSubmission) or unique.mode not in ("replace", "debounce"):
            return []
        return [
            id
            for id, known in self._auditor.known.items()
            if known.live
            and known.job.spec.type == submission.type
            and known.job.uniqueness is not None
            and known.job.uniqueness.unique is not None
            and known.job.uniqueness.unique.value == unique.value
        ]

    def _due_by_key(self, caller: str | None, key: IdempotencyKey | None) -> tuple[bool, str] | None:
        """Return whether the fingerprint matches that of the key, and the id of its job; None for an unknown key."""
        if key is None:
            return None
        known = self._fleet.keys.get((caller, key.key))
        if known is None or known[1] not in self._auditor.known:
            return None
        return known[0] == key.fingerprint, known[1]

    def _check_submitted(self, number: int, submitted: SubmitResult, before: int, due: tuple[bool, str] | None) -> None:
        auditor, job = self._auditor, submitted.job
        known = auditor.known.get(job.id)
        how = "a duplicate" if submitted.duplicate else "new"
        auditor.counts["duplicate"] += submitted.duplicate
        auditor.note(self.name, f"submission {number} of {job.spec.type}: {known}, {how}")
        auditor.check(known is not None, f"submission {number} led to a job that is not held")
        auditor.check(
            auditor.submitted - before == (not submitted.duplicate), f"submission {number} was counted wrongly"
        )
        if due is not None:
            same, job_id = due
            auditor.check(same and job.id == job_id, f"submission {number} came under a key that another job has")

    def _check_reason(
        self,
        refusal: JobQueueError,
        submission: Submission,
        size: int,
        caller: str | None,
        due: tuple[bool, str] | None,
    ) -> None:
        """Check that the reason of a rejection is true."""
        auditor, engine = self._auditor, self._auditor.engine
        auditor.check(not (due and due[0]), "a submission was rejected under the key of its accepted job")
        if isinstance(refusal, Refused):
            auditor.check(0 < refusal.retry_after_s < 400, f"a Retry-After of {refusal.retry_after_s} s")
        queue = submission.queue or self._queue.service.registry.get(submission.type).queue
        queue_state, bounds = engine.queue_states[queue], self._queue.settings.statuses
        match refusal:
            case Draining():
                auditor.check(self._queue.draining, "rejected for a drain, and the queue is not draining")
            case QueueFull():
                auditor.check(
                    queue_state.live >= queue_state.policy.capacity,
                    f"rejected with {queue_state.live} live jobs in {queue}",
                )
            case RateLimited():
                quota = engine.store.quotas.of(caller)
                live = sum(
                    known.live and known.job.uniqueness is not None and known.job.uniqueness.caller == caller
                    for known in auditor.known.values()
                )
                auditor.check(
                    live >= min(quota.jobs_max or 10**9, quota.records_max or 10**9),
                    f"rejected with {live} live jobs of {caller}",
                )
            case StatusesFull():
                store = engine.store
                full = store.live >= bounds.jobs_max or store.live_bytes + size > bounds.bytes_max
                auditor.check(full, "rejected by a job store that has room")
            case TypeQuarantined():
                of_type = [k for k in auditor.known.values() if k.waiting and k.job.spec.type == submission.type]
                enough = len(of_type) >= max(1, queue_state.policy.capacity // QUARANTINED_PART)
                auditor.check(
                    submission.type in auditor.limits.quarantines, "rejected for a type that is not in quarantine"
                )
                auditor.check(enough, f"rejected for a quarantine with {len(of_type)} waiting jobs")
            case Duplicate():
                known = auditor.known.get(refusal.job_id)
                auditor.check(known is not None and known.live, f"rejected as a duplicate of a terminal job: {known}")
            case KeyReused():
                auditor.check(due is not None and not due[0], "rejected for a reused key without another job")

    def _check_unseen(self, refusal: Refused) -> None:
        """Check that a rejection before the body is read holds for every submission."""
        self._auditor.counts["refused unseen"] += 1
        full = all(
            queue_state.live >= queue_state.policy.capacity
            for queue_state in self._auditor.engine.queue_states.values()
        )
        right = self._queue.draining if isinstance(refusal, Draining) else full
        self._auditor.check(right, f"{type(refusal).__name__} for all submissions, and some could be accepted")

    # -- reading

    def _some_id(self) -> str | None:
        """Return an id of the fleet, preferably a recent one."""
        ids = self._fleet.ids
        if not ids:
            return None
        return self._rng.choice(ids[-8:] if self._rng.random() < 0.7 else ids)

    async def _poll(self) -> None:
        if (job_id := self._some_id()) is None:
            return
        backend = self._queue.service.backend
        job = await self._held(backend.get(job_id), job_id)
        if job is None or not job.live:
            return
        estimate = backend.estimate(job)
        fine = estimate.eta_s is None or 0 <= estimate.eta_s < float("inf")
        self._auditor.check(fine and 0.1 <= estimate.poll_after_s <= 30, f"an invalid estimate: {estimate}")
        live = self._auditor.engine.queue_states[job.spec.queue].live
        self._auditor.check(
            estimate.position is None or 1 <= estimate.position <= live, f"an invalid position: {estimate}"
        )

    async def _wait(self) -> None:
        if (job_id := self._some_id()) is None:
            return
        try:
            async with asyncio.timeout(self._rng.choice((None, None, 0.5, 5.0))):
                job = await self._held(self._queue.service.backend.wait(job_id), job_id)
        except TimeoutError:
            held = self._auditor.known.get(job_id) or self._auditor.gone[job_id]
            self._auditor.check(held.live or self._just_now(held), f"a wait for {held} goes on")
            return
        if job is not None:
            known = self._auditor.known.get(job.id)
            again = known is not None and known.retries > 0
            self._auditor.check(not job.live or again, f"a wait for {known} ended before it")

    async def _watch(self) -> None:
        ids = [JobId(job_id) for job_id in self._fleet.ids[-5:] if job_id in self._auditor.known]
        if not ids:
            return
        seen = {job_id: self._auditor.known[job_id].job.version for job_id in ids}
        try:
            async with asyncio.timeout(self._rng.choice((0.25, 3.0))):
                await self._queue.service.backend.wait_for_change(seen)
            returned = True
        except TimeoutError:
            returned = False
        changed = []
        for job_id, version in seen.items():
            held = self._auditor.known.get(job_id)
            if held is None or held.version != version:
                changed.append(held or self._auditor.gone[job_id])
        if returned:
            self._auditor.check(changed, "wait_for_change returned without a change")
        else:
            late = [str(known) for known in changed if not self._just_now(known)]
            self._auditor.check(not late, f"wait_for_change missed {', '.join(late)}")

    def _just_now(self, known: Known) -> bool:
        """Return whether a job has changed too recently for a wait that ended by its timeout."""
        return known.changed_in >= self._auditor.turn - 3

    async def _held(self, asked: Awaitable[Job], job_id: str) -> Job | None:
        """Return a record; None if it is gone, after checking that it may be."""
        try:
            return await asked
        except JobGone as gone:
            self._auditor.counts["JobGone"] += 1
            self._auditor.check(gone.reason == "evicted", f"gone for {gone.reason}")
            self._auditor.check(job_id not in self._auditor.known, "a stored record is reported as gone")
            return None

    # -- actions

    async def _cancel(self) -> None:
        if (job_id := self._some_id()) is None:
            return
        known = self._auditor.known.get(job_id)
        was_live = known is not None and known.live
        try:
            with self._auditor.asked("cancel", [job_id]):
                job = await self._queue.service.backend.cancel(job_id)
        except WrongState:
            self._auditor.check(not was_live, f"{known} is live, and can't be cancelled")
            raise
        done = job.state is JobState.CANCELLED or (job.state is JobState.RUNNING and job.stopping is not None)
        self._auditor.check(was_live and done, f"{known} was cancelled, and is {job.state}")

    async def _retry(self) -> None:
        job_id = self._some_failed() if self._rng.random() < 0.8 else self._some_id()
        if job_id is not None:
            with self._auditor.asked("retry", [job_id]):
                job = await self._queue.service.backend.retry(job_id)
                self._auditor.check(job.live, "a job was retried, and isn't live")

    def _some_failed(self) -> str | None:
        failed = [id for id, known in self._auditor.known.items() if known.job.state is JobState.FAILED]
        return self._rng.choice(failed) if failed else None

    async def _run_now(self) -> None:
        delayed = [id for id, known in self._auditor.known.items() if known.job.state is JobState.DELAYED]
        job_id = self._rng.choice(delayed) if delayed and self._rng.random() < 0.8 else self._some_id()
        if job_id is not None:
            job = await self._queue.service.backend.run_now(job_id)
            self._auditor.check(job.state is JobState.QUEUED, f"a job is {job.state} after run_now")

    async def _delete(self) -> None:
        if (job_id := self._some_id()) is None:
            return
        known = self._auditor.known.get(job_id)
        with self._auditor.asked("delete", [job_id]):
            await self._queue.service.backend.delete(job_id)
        self._auditor.check(known is not None and not known.live, f"{known} was deleted while it was live")
        self._auditor.check(job_id not in self._auditor.known, f"{known} was deleted, and is held")

    async def _bulk(self) -> None:
        rng, auditor = self._rng, self._auditor
        action: BulkAction = rng.choice(("retry", "cancel", "delete"))
        job_filter = JobFilter(
            state=rng.choice(STATES),
            type=rng.choice((None, None, "t0")),
            queue=rng.choice((None, None, "default")),
            group=rng.choice((None, None, "a")),
            created_before=rng.choice((None, self._queue.service.backend.now() - 2.0)),
        )
        matching = f"{job_filter.state} {job_filter.type} {job_filter.queue} {job_filter.group}"
        auditor.note(self.name, f"bulk {action} of {matching}")
        stateless = msgspec.structs.replace(job_filter, state=None)
        may_be = [id for id, known in auditor.known.items() if stateless.matches(known.job)]
        expected = sum(job_filter.matches(known.job) and APPLIES[action](known) for known in auditor.known.values())
        in_one_go = len(auditor.known) <= self._fleet.scenario.portion
        with auditor.asked(action, may_be):
            done = await self._queue.service.backend.bulk(action, job_filter)
        auditor.note(self.name, f"bulk {action}: {done.count}, {done.skipped} skipped")
        message = f"bulk {action} of {matching}: {done}, of {expected}"
        auditor.check(not in_one_go or done.count + done.skipped == expected, message)
        skips = action == "retry" or (action == "delete" and auditor.engine._transitions.flow_index.any)  # for children
        auditor.check(skips or not done.skipped or not in_one_go, message)

    async def _list(self) -> None:
        """Page through all jobs: no job comes twice, and none that was stored throughout is missing."""
        rng, auditor, backend = self._rng, self._auditor, self._queue.service.backend
        job_filter = JobFilter(type=rng.choice((None, "t0")))
        there = [id for id, known in auditor.known.items() if job_filter.matches(known.job)]
        seen: list[str] = []
        cursor = None
        limit = rng.randint(1, 5)
        while True:
            page = await backend.page(job_filter, limit=limit, cursor=cursor)
            seen += [job.id for job in page.jobs]
            cursor = page.cursor
            auditor.check(len(page.jobs) <= limit, f"a page of {len(page.jobs)}, for {limit}")
            if cursor is None:
                break
            await asyncio.sleep(0)
        auditor.check(len(seen) == len(set(seen)), "a listing shows a job twice")
        auditor.check(seen == sorted(seen, reverse=True), "a listing isn't newest first")
        missed = set(there) & auditor.known.keys() - set(seen)
        auditor.check(not missed, f"a listing missed {len(missed)} jobs that were there throughout")
