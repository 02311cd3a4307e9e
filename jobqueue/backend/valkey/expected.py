"""Jobs that were accepted here and are about to be leased here, and what waits for that.

Rules:

1. A job is expected from the answer to its submission, where this process had room for it, until it is leased here.
   Another process may lease it, so a wait is for a lease that is on its way, whatever that brings.
2. At most `JOBS_MAX` are expected: further ones displace the earliest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from jobqueue.core.events import Started
    from jobqueue.core.job import JobId

JOBS_MAX: Final = 1024


class ExpectedJobs:
    """The jobs that this process expects to lease.

    Args:
        when_landed: Calls a function once the lease that is on its way, if any, has come.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, when_landed: Callable[[Callable[[], None]], None]) -> None:
        self._loop = loop
        self._when_landed = when_landed
        self._expected: dict[str, None] = {}
        self._waiting: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._expected)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._expected

    def add(self, job_id: JobId) -> None:
        """Expect a job."""
        expected = self._expected
        expected[job_id] = None
        if len(expected) > JOBS_MAX:
            del expected[next(iter(expected))]

    def discard(self, job_id: str) -> None:
        """Expect a job no longer."""
        self._expected.pop(job_id, None)

    def hear(self, event: Started) -> None:
        """A job was leased."""
        self._expected.pop(event.job.id, None)

    def wait(self, then: Callable[[], None]) -> None:
        """Call a function once the lease that is on its way, if any, has come, and its first jobs have begun."""
        self._waiting.append(then)
        if len(self._waiting) == 1:
            self._when_landed(self._landed)

    def _landed(self) -> None:
        # A worker that this lease has woken takes its first steps, and the next lease is sent, in between.
        self._loop.call_soon(self._loop.call_soon, self._go_on)

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()
