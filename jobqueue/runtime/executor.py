"""Runs one attempt of a job, wherever its handler belongs: on the loop, in a thread, in a process.

Each end of a handler is returned as an outcome; no exception of it gets past here,
except a cancellation, which belongs to the worker. Leases and queues are not its business.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.errors import Refused, StaleLease
from jobqueue.handlers.result import encode_result, failure_of, isinstance_of, trace_of
from jobqueue.runtime.pools.call import Call, success_of
from jobqueue.runtime.pools.reach import LoopReach
from jobqueue.runtime.progress import ProgressReporter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    from jobqueue.backend.base import Backend
    from jobqueue.context import JobContext, ProgressSink
    from jobqueue.core.job import JobId, Lease
    from jobqueue.core.report import Progress
    from jobqueue.core.stored_file import StoredFile, Upload
    from jobqueue.handlers import Handler, Registry
    from jobqueue.handlers.result import Trace
    from jobqueue.runtime.pools.reach import Family


class Offload(Protocol):
    """A pool of threads or processes: runs a blocking call, and ends it when its awaiter is cancelled.

    It calls `on_progress` with each report, from any thread. Its handlers reach their queue by `family`.
    """

    async def run(
        self, call: Call, *, on_progress: ProgressSink, family: Family | None = None
    ) -> Success | Failure: ...


class Runs(Protocol):
    """An executor."""

    def run(self, lease: Lease) -> Coroutine[Any, Any, Success | Failure]:
        """Run the handler and return its outcome. Raises CancelledError if the calling task is cancelled."""
        ...


class Executor:
    """Runs attempts, each where its handler belongs.

    Args:
        pools: The pools, by name (`thread`, `process`).
        folder_of: Returns the folder of a job's result file, made when a handler asks for it; None: it can't have one.
        check_room: Raises Refused when there is no room for a file of this size.
        settle: Waits until the files of a folder are as durable as their record is going to be. Raises Refused.
        family: What handlers ask of their queue while they run; None: nothing.
        trace: Gives the traceback, as text, of an exception that a handler on the loop raised.

    Attributes:
        state: `ctx.state` of handlers on the loop.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        backend: Backend,
        pools: dict[str, Offload],
        folder_of: Callable[[JobId, Upload | None], Path | None],
        check_room: Callable[[int], None],
        settle: Callable[[str], Awaitable[None]],
        result_bytes_max: int,
        family: Family | None = None,
        trace: Trace = trace_of,
    ) -> None:
        self._registry = registry
        self._backend = backend
        self._pools = pools
        self._folder_of = folder_of
        self._check_room, self._settle = check_room, settle
        self._result_bytes_max = result_bytes_max
        self._family = family
        self._reach = None if family is None else LoopReach(family)
        self._trace = trace
        self.state: Any = None

    def run(self, lease: Lease) -> Coroutine[Any, Any, Success | Failure]:
        """Run the handler and return its outcome. Raises CancelledError if the calling task is cancelled."""
        handler = self._registry.get(lease.spec.type)
        # The coroutine itself is returned: one more around it would be a step of each job.
        if handler.run_in == "loop" and not handler.wants_context:
            return self._run_plain(handler, lease.args)
        return self._run(handler, lease)

    async def _run_plain(self, handler: Handler, args: bytes) -> Success | Failure:
        """Run a handler without context: it can't report nor write a file, so nothing is made for that."""
        try:
            value = await handler.func(**handler.kwargs(args))
            return Success(encode_result(value, bytes_max=self._result_bytes_max))
        except BaseException as error:
            return self._failure(error, handler)

    async def _run(self, handler: Handler, lease: Lease) -> Success | Failure:
        try:
            call = self._call(handler, handler.kwargs(lease.args), lease)
        except BaseException as error:  # a type in the signature has code of its own
            return failure_of(error, handler.retry_on, handler.reject_on, trace=self._trace)
        reporter = ProgressReporter(partial(self._report, lease))
        if handler.run_in == "loop":
            # Few jobs write a file: only these have a folder to remove.
            context = call.context(
                reporter.tell,
                folder=lambda: self._folder_of(lease.job_id, lease.upload),
                state=self.state,
                reach=self._reach,
            )
            outcome = await self._run_here(call, context, handler)
        else:
            outcome = await self._pools[handler.run_in].run(call, on_progress=reporter.tell, family=self._family)
        await reporter.finish()
        if isinstance(outcome, Success) and outcome.file is not None:
            return await self._with_file(outcome, outcome.file)
        return outcome

    async def _report(self, lease: Lease, progress: Progress) -> None:
        with contextlib.suppress(StaleLease):  # the attempt is over for the backend: its progress is of no use
            await self._backend.report(lease.job_id, lease.attempt, progress)

    async def _run_here(self, call: Call, context: JobContext, handler: Handler) -> Success | Failure:
        try:
            value = await call.begin(context)
            return success_of(value, context, bytes_max=self._result_bytes_max)
        except BaseException as error:
            context.cancel()  # for threads that the handler has started
            return self._failure(error, handler)

    def _failure(self, error: BaseException, handler: Handler) -> Failure:
        """Turn what a handler raised in this task into an outcome; raises it again if it is the task's own
        cancellation.

        SystemExit and KeyboardInterrupt are the handler's, too: from a task they would end the whole loop.
        """
        if isinstance_of(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise error
        return failure_of(error, handler.retry_on, handler.reject_on, trace=self._trace)

    async def _with_file(self, success: Success, file: StoredFile) -> Success | Failure:
        """Keep a result file, or reject it if there is no room."""
        try:
            self._check_room(file.size_bytes)
            await self._settle(os.path.dirname(file.path))
        except Refused as refusal:
            return Failure(ErrorCode.RESULT_TOO_LARGE, f"no room for the result file: {refusal}", final=True)
        return success

    def _call(self, handler: Handler, kwargs: dict[str, Any], lease: Lease) -> Call:
        files = lease.upload.files if lease.upload is not None else {}
        return Call(
            func=handler.func,
            kwargs=kwargs,
            context_name=handler.context_name,
            job_id=lease.job_id,
            type=lease.spec.type,
            attempt=lease.attempt,
            group=lease.spec.group,
            traceparent=lease.spec.traceparent,
            recovered=lease.recovered,
            scheduled=lease.spec.scheduled,
            files=files,
            folder="" if handler.run_in == "loop" else str(self._folder_of(lease.job_id, lease.upload) or ""),
            result_bytes_max=self._result_bytes_max,
            retry_on=handler.retry_on,
            reject_on=handler.reject_on,
            log_level=logging.getLogger().getEffectiveLevel() if handler.run_in == "process" else logging.WARNING,
        )
