"""JobQueue: the in-process API. Its `service` is what `http/`, `server.py` and `cli/` call."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.config import Settings
from jobqueue.context import printable
from jobqueue.core.job import JobId, Uniqueness
from jobqueue.core.pause import REASON_LENGTH_MAX
from jobqueue.duration import as_seconds, seconds
from jobqueue.encoder import encode
from jobqueue.errors import InvalidField, InvalidSubmission
from jobqueue.flow_handle import FlowHandle
from jobqueue.handle import JobHandle
from jobqueue.handlers import Submission, refuse_unknown, submission_of
from jobqueue.handlers.flow_submission import NamedSubmission, flow_of
from jobqueue.publish_values import checked_key, encoded_data
from jobqueue.registration import Registration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from types import TracebackType

    from jobqueue.core.job import UniqueMode
    from jobqueue.core.job_view import JobView
    from jobqueue.core.policy import Discipline
    from jobqueue.core.submit import SubmitResult
    from jobqueue.duration import Duration
    from jobqueue.files.source import Files
    from jobqueue.graph import Graph
    from jobqueue.handlers.submission import OnFailure
    from jobqueue.service import Service


DRAIN_S = 20.0
"""Default duration of the drain when the block of a queue is left, in seconds."""


class JobQueue(Registration):
    """A job queue in this process: register handlers, start it, submit jobs, learn their outcome.

    Use it as an async context manager. Leaving the block drains the queue first
    (`drain_s` at most); leaving it by an exception doesn't.

    Args:
        settings: Defaults to `Settings()`.
        drain_s: Maximum duration of the drain when the block is left, from 0, in seconds or as a timedelta. Defaults to
            20 s. A server of `jobqueue serve` drains the queue itself, for its own `server.drain_s`.

    Raises:
        TypeError: `settings` is no `Settings`.
        ValueError: `drain_s` is not a duration from 0.
    """

    def __init__(self, settings: Settings | None = None, *, drain_s: Duration = DRAIN_S) -> None:
        super().__init__()
        if not isinstance(settings, Settings | None):
            raise TypeError(f"settings is a jobqueue.Settings, got {type(settings).__name__}")
        self._drain_s = seconds(drain_s)
        if self._drain_s < 0:
            raise ValueError(f"drain_s is 0 or more, got {drain_s}")
        self._settings = settings

    @cached_property
    def service(self) -> Service:
        """The queue as HTTP, the command line and servers use it; not part of the in-process API."""
        # Here: a handler's process makes the queue for its handlers alone, and the service takes 6 MiB.
        from jobqueue.service import Service

        return Service(self._registered, self._settings if self._settings is not None else Settings())

    # -- life

    def configure(self, settings: Settings) -> None:
        """Replace the settings before the start. Raises RuntimeError if the queue runs already."""
        self.service.configure(settings)

    async def start(self) -> None:
        """Enter the lifespan, open the spool and start timer and workers.

        Raises:
            RuntimeError: It runs already, or has not yet stopped.
            ValueError: A handler's queue is none of the configured ones, or a process can't import it.
            ConfigError: The spool's folder can't be used.
            LifespanFailed: The lifespan has raised; the cause is chained.
        """
        await self.service.start()

    async def stop(self) -> None:
        """Stop at once: live jobs are lost, or kept by a journal, and their count is logged.

        Does nothing if it doesn't run.
        """
        await self.service.stop()

    async def __aenter__(self) -> JobQueue:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self.running:  # it may have been stopped within the block
                await self.drain(self._drain_s)
        finally:
            await self.stop()

    async def drain(self, deadline_s: float) -> dict[str, int]:
        """Reject submissions, run what is accepted, and after `deadline_s` seconds end the remaining jobs.

        Statuses stay readable throughout. Jobs that are live at the deadline end as cancelled with
        the error `shutdown`; their count by state is returned, and logged as `drain.lost` if there are any.

        With a journal they are kept for the next start, and logged as `drain.kept`; with `server.drain_mode: keep` none
        of them starts any more.
        """
        return await self.service.drain(deadline_s)

    @property
    def settings(self) -> Settings:
        """The settings in effect."""
        return self.service.settings

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.service.running

    @property
    def draining(self) -> bool:
        """Whether it rejects submissions, because it is about to stop or has been stopped by a drain."""
        return self.service.draining

    @property
    def degraded(self) -> list[str]:
        """Parts that are unavailable although the queue runs, with the reason; empty if none is."""
        return self.service.degraded

    # -- jobs

    async def submit(
        self,
        type: str,
        args: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        priority: int = 0,
        delay_s: Duration | None = None,
        run_at: datetime | None = None,
        start_by_s: Duration | None = None,
        timeout_s: Duration | None = None,
        attempts_max: int | None = None,
        group: str | None = None,
        unique: str | None = None,
        unique_mode: UniqueMode = "return",
        ttl_s: Duration | None = None,
        callback: str | None = None,
        after: Iterable[JobHandle | str] | None = None,
        on_failure: OnFailure | None = None,
        files: Files | None = None,
        **unknown: object,
    ) -> JobHandle:
        """Submit a job; once this returns, the queue holds it.

        Durations are numbers of seconds or timedeltas.

        Args:
            type: Type of a registered handler.
            args: Arguments of the handler, by name: whatever JSON can say (`docs/reference/handlers.md`). Defaults to
                none.
            queue: Queue that holds the job, one of the settings. Defaults to the handler's.
            priority: 0 to 9, 9 first; used by the discipline `priority`. Defaults to 0.
            delay_s: Wait before the first attempt: 0 to `limits.delay_s_max`. Defaults to 0.
            run_at: Instant of the first attempt, a datetime with a time zone, instead of `delay_s`; the past means now.
                Defaults to now.
            start_by_s: Time in which the first attempt must start, or the job expires: over the delay, at most 30
                days. Defaults to no limit; in an adaptive queue to its `patience_s`.
            timeout_s: Maximum duration of one attempt: over 0, at most the handler's. Defaults to the handler's.
            attempts_max: Maximum number of attempts: 1 to 100. Defaults to the handler's.
            group: Group for the discipline `fair` and for limits per group: 1 to 200 characters. Defaults to none.
            unique: Value that one live job of the type may have: 1 to 200 characters. Defaults to none.
            unique_mode: What happens if a live job has it: `return` that one, `reject` this one, `replace` that one, or
                `debounce`: give the waiting job these arguments, and start its delay again. Defaults to `return`.
            ttl_s: Time that the record stays readable after its end: over 0, at most `statuses.ttl_s_max`. Defaults to
                `statuses.ttl_s`, or `failed_ttl_s`.
            callback: URL to which its end is sent; needs `webhooks.callbacks`, and its host in `callback_hosts`.
                Defaults to none.
            after: Jobs that must have succeeded before it may start, as handles or ids: its parents, at most 10,000.
                Its handler finds their results in `ctx.parents`. Defaults to none.
            on_failure: What happens if a parent ends in another way: `cancel` this job, or `run` it once all parents
                have ended. Defaults to `cancel`.
            files: Part name to a path, bytes, an open file, or (name, one of these[, media type]); to a list of them
                for several. They are copied into the spool, under `limits.files` and `limits.files_bytes`. Defaults to
                none.

        Raises:
            InvalidSubmission: A field or an argument is not as it must be; `errors` names each.
            UnknownType: No handler has that type.
            JobNotFound: `after` names a job that there never was.
            JobGone: `after` names a job without a record any more.
            NotInStore: The job has parents, and servers share a store (`backend: valkey`).
            Duplicate: A live job has the unique value, and the mode is `reject`.
            QueueFull: The queue holds `capacity` live jobs. This and the following eight are `Refused`: nothing was
                kept, and `retry_after_s` tells when to try again.
            TypeQuarantined: The type is in quarantine, and enough of its jobs wait.
            StatusesFull: The records of live jobs fill the job store.
            SpoolFull: There is no room for the files.
            Draining: The queue is about to stop.
            JournalFailed: The journal can't be written, so the job would not survive a crash.
            JournalFull: The journal's folder has reached `journal.bytes_max`, or its disk is full.
            StoreUnavailable: The store doesn't answer; unlike with the others, the job may have been kept.
            Overloaded: Too many calls are on the way to the store.
            TypeError: There is no such option; or one of `files` is no file.
            ValueError: One of `files` can't be used: closed, not readable twice, a wrong name or media type.
            OSError: One of `files` can't be read.
            RuntimeError: The queue doesn't run.
        """
        refuse_unknown("submit", unknown, (*Submission.__struct_fields__, "unique_mode", "files"))
        fields = {
            "type": type,
            "queue": queue,
            "priority": priority,
            "delay_s": as_seconds(delay_s),
            "run_at": run_at,
            "start_by_s": as_seconds(start_by_s),
            "timeout_s": as_seconds(timeout_s),
            "attempts_max": attempts_max,
            "group": group,
            "unique": None if unique is None else {"value": unique, "mode": unique_mode},
            "ttl_s": as_seconds(ttl_s),
            "callback": callback,
            "after": [parent.id if isinstance(parent, JobHandle) else parent for parent in after or ()] or None,
            "on_failure": on_failure,
        }
        submission = submission_of(fields)
        try:
            submission.args = msgspec.Raw(encode(args if args is not None else {}))
        except ValueError as error:
            raise InvalidSubmission(InvalidField(pointer="/args", detail=str(error))) from None
        submitted = await (self._accept_with(files, submission) if files else self.service.accept(submission))
        return JobHandle(submitted.job.id, self.service.backend)

    async def submit_flow(self, graph: Graph) -> FlowHandle:
        """Submit a graph of jobs, made by `chain`, `group` or `flow`: all of them, or none.

        Raises:
            InvalidSubmission, UnknownType: A job or the graph has a fault; `errors` names each, with its place, such
                as `/jobs/2/after/0`.
            QueueFull, StatusesFull, TypeQuarantined, Draining, JournalFailed, JournalFull: As `submit`.
            NotInStore: The queue shares a store (`backend: valkey`).
            TypeError: There is no such option.
            RuntimeError: The queue doesn't run.
        """
        for job in graph.jobs:
            refuse_unknown("job", job, NamedSubmission.__struct_fields__)
        flow = flow_of(graph.fields())
        submitted = await self.service.flows.submit(flow.jobs, Uniqueness(plain=True))
        return FlowHandle(submitted.flow.id, self.service.backend)

    def flow(self, flow_id: str) -> FlowHandle:
        """Return a handle on a flow by its id, whether or not it exists."""
        return FlowHandle(JobId(flow_id), self.service.backend)

    async def _accept_with(self, files: Files, submission: Submission) -> SubmitResult[JobView]:
        from jobqueue.runtime.copying import copy_into  # here, as the service: the spool is one of its parts

        service, limits = self.service, self.settings.limits
        service.check(submission, None, None, keyed=False)  # before the files are copied
        async with service.spool.new_upload() as upload:
            await copy_into(upload, files, files_max=limits.files, bytes_max=limits.files_bytes)
            if not upload.files:
                return await service.accept(submission)
            submitted = await service.accept(submission, folder=upload.folder, files=upload.files)
            if not submitted.duplicate:
                upload.keep()
        return submitted

    async def publish(self, topic: str, data: Any = None, *, key: str | None = None) -> list[JobHandle]:
        """Publish data: one job for each subscriber of the topic (`on`); return the jobs, all of them or none.

        Listeners of event streams get the data, too, at most once.

        Args:
            topic: Tokens of letters, digits, `_` and `-` joined by dots, such as `order.paid`.
            data: Whatever JSON can say. Defaults to None.
            key: Idempotency key: a repeated publish makes no further jobs, and returns those of the first that are
                held. 1 to 255 printable ASCII characters. Defaults to none.

        Raises:
            InvalidSubmission: The topic is none, JSON can't say the data, or it does not fit a subscriber.
            KeyReused: The key was used for other data.
            Refused: As `submit`: there is no slot for each of the jobs, so none was made.
            NotInStore: The jobs are in a store (`backend: valkey`).
            RuntimeError: The queue doesn't run.
        """
        publication = await self.service.topics.publish(topic, encoded_data(data), key=checked_key(key))
        return [JobHandle(job.id, self.service.backend) for job in publication.jobs]

    def job(self, job_id: str) -> JobHandle:
        """Return a handle on a job by its id, whether or not it exists."""
        return JobHandle(JobId(job_id), self.service.backend)

    # -- steering

    async def change(
        self,
        queue: str,
        *,
        workers: int | None = None,
        capacity: int | None = None,
        discipline: Discipline | None = None,
        weight: int | None = None,
    ) -> None:
        """Change a queue's settings while it is in use; no job is lost.

        It holds until the queue's configured settings change or, without a journal, the queue stops.

        Raises:
            KeyError: There is no such queue.
            ValueError: A setting is invalid; nothing was changed.
        """
        self._check_queue(queue)
        given = {"workers": workers, "capacity": capacity, "discipline": discipline, "weight": weight}
        await self.service.change(queue, {name: value for name, value in given.items() if value is not None})

    async def pause(self, queue: str, *, reason: str | None = None, for_s: Duration | None = None) -> None:
        """Start no more jobs of a queue; submissions are accepted meanwhile.

        Args:
            reason: Why, for the queue's document, events and the log.
            for_s: Seconds after which it resumes by itself; None: it doesn't.

        Raises:
            KeyError: There is no such queue.
            ValueError: `for_s` is not over 0, or the reason has more than 200 characters.
        """
        self._check_queue(queue)
        until_s = None if for_s is None else seconds(for_s)
        if until_s is not None and until_s <= 0:
            raise ValueError(f"for_s is over 0, not {until_s:g}")
        if reason is not None and len(reason) > REASON_LENGTH_MAX:
            raise ValueError(f"a reason has at most {REASON_LENGTH_MAX} characters, not {len(reason)}")
        shown = None if reason is None else printable(reason)
        await self.service.backend.pause(queue, reason=shown, for_s=until_s)

    async def resume(self, queue: str) -> None:
        """Start a paused queue's jobs again. Raises KeyError."""
        self._check_queue(queue)
        await self.service.backend.resume(queue)

    async def release(self, job_type: str) -> bool:
        """End the quarantine of a type; return whether it was in one. Raises KeyError if no handler has the type."""
        if self.service.registry.find(job_type) is None:
            raise KeyError(f"no handler has the type {job_type!r}")
        return await self.service.backend.release(job_type)

    async def run_schedule(self, name: str) -> JobHandle:
        """Submit a schedule's job now, beside its ticks, as its overlap allows.

        Raises:
            ScheduleNotFound: There is no such schedule.
            Duplicate: Its overlap is `skip`, and the job of an earlier tick is live.
            Refused: As `submit`.
        """
        schedules = self.service.schedules
        submitted = await schedules.run(schedules.find(name))
        return JobHandle(submitted.job.id, self.service.backend)

    async def pause_schedule(self, name: str) -> None:
        """Have a schedule give no ticks, until `resume_schedule` or, without a journal, a restart.

        Raises:
            ScheduleNotFound: There is no such schedule.
            NotInStore: With `backend: valkey`.
            JournalFailed: The journal can't keep it.
        """
        schedules = self.service.schedules
        schedules.pause(schedules.find(name), by=None)
        await schedules.kept()

    async def resume_schedule(self, name: str) -> None:
        """Have a schedule give ticks again, and those since the pause that its `catch_up` says. Raises likewise."""
        schedules = self.service.schedules
        schedules.resume(schedules.find(name), by=None)
        await schedules.kept()

    def _check_queue(self, queue: str) -> None:
        if queue not in self.settings.queues:
            raise KeyError(f"no queue {queue!r}; there are: {', '.join(self.settings.queues)}")

    async def reload(self, settings: Settings) -> list[str]:
        """Apply the settings that may change while the queue runs; return those changed that need a restart, by name.

        Queues' settings, most limits and the log's level may; the set of queues may not. A change by
        `change` stays until its queue's settings differ from those that were loaded before.
        """
        return await self.service.reload(settings)
