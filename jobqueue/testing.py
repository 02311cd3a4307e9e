"""For tests, jobqueue's own and its users': a virtual clock, an inline mode, a recorder of events.

Nothing in the package imports this.

    @virtual_time
    async def test_a_slow_job_times_out() -> None:
        async with queue:
            job = await queue.submit("slow")
            assert (await job.wait()).state is JobState.FAILED   # an hour later, at once
"""

from __future__ import annotations

import asyncio
import functools
import math
import selectors
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from jobqueue.core.events import (
    AttemptFailed,
    BackedOff,
    Debounced,
    Ended,
    Evicted,
    Expired,
    KeyShared,
    LeaseLost,
    Offered,
    Paused,
    PolicyChanged,
    Progressed,
    Quarantined,
    Ready,
    Released,
    Requeued,
    Resumed,
    Retried,
    RunNow,
    Started,
    StopRequested,
    Submitted,
)
from jobqueue.core.submit import SubmitResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from jobqueue.app import JobQueue
    from jobqueue.core.events import Event
    from jobqueue.core.job_view import JobView
    from jobqueue.handlers import Submission
    from jobqueue.service import Service

__all__ = [
    "AttemptFailed",
    "BackedOff",
    "Debounced",
    "Ended",
    "EventRecorder",
    "Evicted",
    "Expired",
    "KeyShared",
    "LeaseLost",
    "ManualClock",
    "Offered",
    "Paused",
    "PolicyChanged",
    "Progressed",
    "Quarantined",
    "Ready",
    "Released",
    "Requeued",
    "Resumed",
    "Retried",
    "RunNow",
    "Started",
    "StopRequested",
    "Submitted",
    "VirtualLoop",
    "inline",
    "virtual_time",
]

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound="Event")

STALL_S = 10.0


class ManualClock:
    """A clock that is advanced by hand; pass its `now` as a clock."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        """Advance by `seconds`, and return the new time. Raises ValueError for a step back."""
        if seconds < 0:
            raise ValueError(f"a clock does not go back, got {seconds}")
        self.now += seconds
        return self.now


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with virtual time, which jumps to the next timer whenever no callback is ready.

    So an hour's sleep takes no time, and every run sees the same times. Threads, processes and
    sockets run in real time and are waited for only when no timer is set: keep them out.
    """

    def __init__(self) -> None:
        self._now = 1000.0
        super().__init__(_JumpingSelector(self))

    @property
    def _clock_resolution(self) -> float:
        # asyncio runs a timer that is due within this time. Two floats lie further apart than its own nanosecond from
        # half a year on, so a timer that is due exactly now would never be.
        return max(1e-9, 2 * math.ulp(self._now))

    @_clock_resolution.setter
    def _clock_resolution(self, seconds: float) -> None:
        """Ignore the system clock's, which the base class sets."""

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is not None:
            self._loop.jump(timeout)
            return []
        ready = super().select(STALL_S)
        if not ready:
            raise RuntimeError(f"every task waits, no timer is set, and nothing came from outside for {STALL_S} s")
        return ready


def virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make an async test run on a `VirtualLoop`; for any test runner, since what is left is a plain function."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(test(*args, **kwargs))

    return run


class EventRecorder:
    """Records every event of a running queue, and lets a test wait for one.

    An event carries the live record: read a job's state at once, or by `queue.job(id).status()`.
    """

    def __init__(self, queue: JobQueue) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()
        self._stop = queue.service.backend.subscribe(self._on_event)

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    async def wait_for(self, kind: type[E], *, count: int = 1) -> list[E]:
        """Wait until there are `count` events of one kind; return them all."""
        while len(found := self.of(kind)) < count:
            self._changed.clear()
            await self._changed.wait()
        return found

    def close(self) -> None:
        """Record no more."""
        self._stop()

    def _on_event(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()


class _Inline:
    """A service with an `accept` that returns the terminal job.

    It stands before the service, since a method of a compiled class can't be replaced.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    async def accept(self, submission: Submission, **options: Any) -> SubmitResult[JobView]:
        submitted = await self._service.accept(submission, **options)
        return SubmitResult(await self._service.backend.wait(submitted.job.id), submitted.duplicate)


@asynccontextmanager
async def inline(queue: JobQueue) -> AsyncIterator[JobQueue]:
    """Run a queue so that each submission returns only when its job is terminal.

    For tests of the code that submits: no waiting, no polling, and a job's outcome can be
    asserted on the next line. Jobs run as they do in service, offloads and timeouts included.
    """
    service = queue.service
    queue.service = cast("Service", _Inline(service))
    try:
        async with queue:
            yield queue
    finally:
        queue.service = service
