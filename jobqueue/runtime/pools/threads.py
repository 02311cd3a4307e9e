"""ThreadPool: blocking handlers in threads, which can be asked to stop but not forced.

Rules:

1. At most `size` runs hold a place, each from its start to its end.
2. A cancelled run ends at once. Its thread is *abandoned*: it runs on, its result ignored, and its place is
   free, so handlers that hang don't starve those that don't.
3. Abandoned threads beyond `size` keep their places until they return. So there are never more than
   twice `size` threads, and a handler that always hangs ends in waiting runs, not in more threads.
4. A thread outlives whatever is raised in it, from outside as well (`PyThreadState_SetAsyncExc`): its call ends as
   `worker_crashed`, and a thread that is dead nevertheless is never given another.
5. Each call runs in a copy of its awaiter's context, which is one attempt's and no other's (`isolation.py`).
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import queue
import sys
import threading
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from jobqueue.core.report import ErrorCode, Failure
from jobqueue.handlers.result import described
from jobqueue.log import event_logger
from jobqueue.runtime.pools.pool_counts import PoolCounts
from jobqueue.runtime.pools.reach import ThreadReach

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.context import JobContext, ProgressSink
    from jobqueue.core.report import Success
    from jobqueue.runtime.pools.call import Call
    from jobqueue.runtime.pools.reach import Family

log = event_logger(__name__)

_numbers = itertools.count(1)


class ThreadPool:
    """Runs calls in at most `size` threads at a time, which start when they are first needed.

    Attributes:
        size: Number of threads.
        state: `ctx.state` of handlers in threads.
    """

    def __init__(self, *, size: int) -> None:
        self.size = size
        self.state: Any = None
        self._slots = asyncio.Semaphore(size)
        self._idle: list[_Thread] = []
        self._abandoned = 0
        self._busy = 0
        self._closed = False

    @property
    def counts(self) -> PoolCounts:
        """The threads of this instant; those that were abandoned are not busy."""
        return PoolCounts(size=self.size, busy=self._busy, idle=len(self._idle), abandoned=self._abandoned)

    async def run(self, call: Call, *, on_progress: ProgressSink, family: Family | None = None) -> Success | Failure:
        """Run a call in a thread and return its outcome.

        Cancelling sets the context's `cancelled` and abandons the thread. `on_progress` is called from the thread.

        Raises:
            RuntimeError: The pool is closed.
        """
        await self._slots.acquire()
        if self._closed:
            self._slots.release()
            raise RuntimeError("the thread pool is closed")
        try:
            thread = self._free_thread()
        except RuntimeError as error:  # the system gives us no more of them
            self._slots.release()
            return Failure(ErrorCode.WORKER_CRASHED, f"no thread could be started: {error}")
        future: asyncio.Future[Success | Failure] = asyncio.get_running_loop().create_future()

        heard = False

        def ended(outcome: Success | Failure) -> None:
            nonlocal heard
            if heard:
                return  # an interrupted thread can't know whether it has reported
            heard = True
            if future.done():
                self._take_back_abandoned(thread, call)
            else:
                future.set_result(outcome)

        reach = None if family is None else ThreadReach(family, future.get_loop())
        context = call.context(on_progress, state=self.state, reach=reach)
        thread.give(_Work(call, context, partial(_call_on, future.get_loop(), ended)))
        self._busy += 1
        try:
            outcome = await future
        except asyncio.CancelledError:
            if future.cancelled():
                context.cancel()
                self._abandon(thread, call)
            else:  # it had ended; the cancellation was only a little late
                self._take_back(thread)
            raise
        finally:
            self._busy -= 1
        self._take_back(thread)
        return outcome

    async def close(self) -> None:
        """End the threads: the idle ones now, the others when their handlers return."""
        self._closed = True
        idle, self._idle = self._idle, []
        for thread in idle:
            thread.give(None)
        for thread in idle:  # they have nothing left to do, so this takes microseconds
            thread.join()

    def _free_thread(self) -> _Thread:
        while self._idle:
            thread = self._idle.pop()
            if thread.is_alive():
                return thread
        return _Thread()

    def _take_back(self, thread: _Thread) -> None:
        self._put_idle(thread)
        self._slots.release()

    def _abandon(self, thread: _Thread, call: Call) -> None:
        self._abandoned += 1
        if self._abandoned <= self.size:
            self._slots.release()
        log.warning(
            "thread.abandoned", job_id=call.job_id, attempt=call.attempt, total=self._abandoned, stack=thread.stack()
        )

    def _take_back_abandoned(self, thread: _Thread, call: Call) -> None:
        held_a_slot = self._abandoned > self.size
        self._abandoned -= 1
        if held_a_slot:
            self._slots.release()
        self._put_idle(thread)
        log.info("thread.returned", job_id=call.job_id, attempt=call.attempt, total=self._abandoned)

    def _put_idle(self, thread: _Thread) -> None:
        if self._closed or len(self._idle) >= self.size:
            thread.give(None)
        else:
            self._idle.append(thread)


class _Work:
    """A call for a thread, and the report of its outcome; `tell` returns whether the loop still runs."""

    def __init__(self, call: Call, context: JobContext, tell: Callable[[Success | Failure], bool]) -> None:
        self._call = call
        self._context = context
        self._tell = tell
        self._surroundings = contextvars.copy_context()
        self._begun = False

    def carry_out(self) -> bool:
        self._begun = True
        return self._tell(self._surroundings.run(self._call.carry_out, self._context))

    def end_after(self, error: BaseException) -> bool:
        """Carry the call out if the interruption came before it began, and fail it if it came in between."""
        if not self._begun:
            return self.carry_out()
        how = f"the thread that ran the job was interrupted: {described(error)}"
        return self._tell(Failure(ErrorCode.WORKER_CRASHED, how))


class _Thread(threading.Thread):
    """Runs calls, one after the other, until it gets None or the last outcome could not be reported.

    A daemon: a handler that hangs must not hold up the program's exit.
    """

    def __init__(self) -> None:
        super().__init__(name=f"jobqueue-thread-{next(_numbers)}", daemon=True)
        self._given: _Work | None = None
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._ending = False
        self.start()

    def give(self, work: _Work | None) -> None:
        # Beside the queue, not in it: an exception that is set upon a waiting thread strikes as `get` returns.
        self._given = work
        self._ending = work is None
        self._woken.put(None)

    def run(self) -> None:
        while not self._ending:
            try:
                self._serve()
            except BaseException as error:  # it struck between two calls
                self._report(error)

    def _serve(self) -> None:
        work: _Work | None = None  # of this call's frame: nothing of a job lives on until the next one comes
        try:
            self._woken.get()
            work, self._given = self._given, None
            heard = work is None or work.carry_out()
        except BaseException as error:
            self._report(error)
            if work is None:
                work, self._given = self._given, None
            heard = work is None or work.end_after(error)
        if not heard:
            self._ending = True

    def _report(self, error: BaseException) -> None:
        log.warning("thread.interrupted", thread=self.name, error=described(error))

    def stack(self) -> str:
        frame = None if self.ident is None else sys._current_frames().get(self.ident)
        return "" if frame is None else "".join(traceback.format_stack(frame))


def _call_on(
    loop: asyncio.AbstractEventLoop, func: Callable[[Success | Failure], None], outcome: Success | Failure
) -> bool:
    """Call a function on the loop with an outcome, from another thread; return False if the loop is closed."""
    try:
        loop.call_soon_threadsafe(func, outcome)
    except RuntimeError:
        if not loop.is_closed():
            raise
        return False
    return True
