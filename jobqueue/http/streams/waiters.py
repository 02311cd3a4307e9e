"""Waiters: bounds the requests that wait, long polls and event streams, and ends their waits.

Waits (`Prefer: wait`) and event streams share one bound, on both HTTP paths: those of the fast path are objects
(`enter`), the others coroutines (`place`, `wait`).

Rules:

1. Never more than `limits.long_polls_max` requests wait, and of each caller `limits.caller_waits_max`, if that is set.
   A wait beyond that is answered at once; a stream is rejected.
2. The wait of a disconnected client is over at once. So is that of a half-closed connection: it is answered with the
   present state.
3. The waits and streams of a revoked grant end: a stream says so, a read gets a 401, and a submission, which was
   accepted, the present state.
4. When the server stops, every wait is answered, and every stream is ended, before connections are closed.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import hdrs, web

from jobqueue.http.errors import CallerLimitExceeded
from jobqueue.http.request.auth import GRANT, caller_of_request, check_still_valid
from jobqueue.http.request.prefer import APPLIED
from jobqueue.http.request.rate_limit import policies_of
from jobqueue.http.streams.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from jobqueue.config import LimitsOfCallers, LimitsSettings
    from jobqueue.core.job_view import JobView
    from jobqueue.http.request.grant import Grant
    from jobqueue.http.streams.deadlines import DurationQueue, Timed

LEAVE: web.RequestKey[Callable[[], None]] = web.RequestKey("leave", Callable)  # type: ignore[arg-type]  # mypy takes no abstract class
"""The key under which a waiting request holds the callback that ends its wait, for its connection to call."""


NO_PLACE_RETRY_AFTER_S = 5.0


class Waited(NamedTuple):
    """What a request of the fast path has waited for.

    Attributes:
        headers: Those of its answer that the fast path has decided on.
        job: The record at the job's end; None: it is a list.
    """

    headers: dict[str, str]
    job: JobView | None = None


WAITED: web.RequestKey[Waited] = web.RequestKey("waited", Waited)
"""The key under which a request that the fast path has begun, and the stock path answers, holds its answer."""


class Waiters:
    """The requests that wait: long polls and event streams, under one bound.

    Args:
        limits: Returns the present limits; they may change while the server runs.
        callers: Returns those of callers; None: they have none.
    """

    def __init__(
        self, limits: Callable[[], LimitsSettings], callers: Callable[[], LimitsOfCallers] | None = None
    ) -> None:
        self._limits = limits
        self._callers = callers
        self._leaving: dict[Callable[[], None], Grant | None] = {}
        self._deadlines = Deadlines()
        self._ended = False

    @property
    def count(self) -> int:
        """Number of waiting requests."""
        return len(self._leaving) + self._deadlines.count

    def end(self) -> None:
        """End all waits and streams, and let no more begin: the server stops."""
        self._ended = True
        for leave in tuple(self._leaving):
            leave()
        self._deadlines.end()

    def end_revoked(self) -> None:
        """End the waits and streams of revoked grants."""
        for leave, grant in tuple(self._leaving.items()):
            if grant is not None and grant.revoked:
                leave()
        self._deadlines.end_revoked()

    def granted_s(self, preferred_s: int) -> float:
        """Return the seconds that a request may wait at most, given those of its `Prefer: wait`."""
        return min(float(preferred_s), self._limits().long_poll_max_s)

    def enter(self, wait: Timed, wait_s: float, now: float) -> DurationQueue | None:
        """Let a request of the fast path wait; None: the limit is reached, or the server stops.

        Args:
            wait: It leaves its place by `DurationQueue.remove`.
            now: The loop's time.
        """
        if self._is_full() or self._has_its_part(wait.caller):
            return None
        return self._deadlines.add(wait, wait_s, now)

    @property
    def by_caller(self) -> bool:
        """Whether the waits of callers are limited, and so counted."""
        return self._callers is not None and self._callers().waits

    def of(self, caller: str) -> int:
        """Return the number of a caller's waits and streams, where they are limited."""
        return self._deadlines.by_caller.get(caller, 0)

    def callers(self) -> list[str]:
        """Return the callers with waits that are counted."""
        return list(self._deadlines.by_caller)

    def check_stream(self, request: web.BaseRequest) -> None:
        """Raise CallerLimitExceeded if the caller has all the waits and streams that it may have."""
        caller = self._counted(request)
        if self._callers is not None and self._has_its_part(caller):
            limits = self._callers().of(caller)
            fields = {**policies_of(limits), "RateLimit": f'"waits";r=0;t={int(NO_PLACE_RETRY_AFTER_S)}'}
            detail = f"this caller has {limits.waits_max} open long polls and streams, its limit; poll the job instead"
            raise CallerLimitExceeded(detail, retry_after_s=NO_PLACE_RETRY_AFTER_S, headers=fields)

    def _counted(self, request: web.BaseRequest) -> str | None:
        return caller_of_request(request) if self.by_caller else None

    def _has_its_part(self, caller: str | None) -> bool:
        if caller is None or self._callers is None:
            return False
        maximum = self._callers().of(caller).waits_max
        return maximum is not None and self._deadlines.by_caller.get(caller, 0) >= maximum

    def _is_full(self) -> bool:
        return self._ended or self.count >= self._limits().long_polls_max

    @contextmanager
    def place(self, request: web.BaseRequest, leave: Callable[[], None]) -> Iterator[bool]:
        """Take a place for the block. Yields False if the limit is reached or the client has disconnected.

        `leave` is called, at most once, when the client disconnects or the server stops, without the reason:
        the response is then sent, or dropped with the connection.
        """
        caller = self._counted(request)
        if self._is_full() or self._has_its_part(caller) or _is_lost(request):
            yield False
            return

        def leave_once() -> None:
            if leave_once in self._leaving:
                del self._leaving[leave_once]
                leave()

        self._leaving[leave_once] = request.get(GRANT)
        self._deadlines.count_in(caller)
        try:
            with _told_when_lost(request, leave_once):
                yield True
        finally:
            self._deadlines.count_out(caller)
            self._leaving.pop(leave_once, None)

    async def wait(
        self, request: web.BaseRequest, preferred_s: int | None, until: Callable[[], Coroutine[Any, Any, object]] | None
    ) -> dict[str, str]:
        """Run `until` for as long as the request prefers to wait; return the headers with the applied wait.

        Args:
            preferred_s: Seconds of the request's `Prefer: wait`; None: it has none, and nothing is run.
            until: Returns once the response is ready; None: it is ready already.

        Raises:
            Unauthorized: Its key was removed meanwhile, and it is no submission.
        """
        if preferred_s is None:
            return {}
        wait_s = self.granted_s(preferred_s)
        if until is not None and wait_s > 0:
            timeout = asyncio.timeout(wait_s)

            def leave() -> None:
                if not timeout.expired():  # it may be about to end by itself
                    timeout.reschedule(asyncio.get_running_loop().time())

            with self.place(request, leave) as granted:
                if not granted:
                    return {}
                try:
                    async with timeout:
                        await until()
                except TimeoutError:
                    if not timeout.expired():
                        raise
                check_valid(request)
        return {APPLIED: f"wait={int(wait_s)}"}


def check_valid(request: web.BaseRequest) -> None:
    """Raise Unauthorized if a request's grant was revoked while it waited; a submission was accepted before."""
    if request.method != hdrs.METH_POST:
        check_still_valid(request)


@functools.lru_cache(maxsize=64)
def applied_line(wait_s: int) -> bytes:
    """Return the header line for a wait that was granted, of whole seconds."""
    return f"{APPLIED}: wait={wait_s}\r\n".encode()


@contextmanager
def _told_when_lost(request: web.BaseRequest, leave: Callable[[], None]) -> Iterator[None]:
    """Call `leave` if the connection is lost, or half-closed, before the block ends."""
    # aiohttp: its protocol calls this method of the request that it answers when the connection is lost. Set on
    # the request itself, because a host application's connections are not ours; past `__setattr__`, which may warn.
    tell = request._cancel

    def cancel(reason: BaseException) -> None:
        tell(reason)
        leave()

    vars(request)["_cancel"] = cancel
    request[LEAVE] = leave
    if _is_half_closed(request):
        asyncio.get_running_loop().call_soon(leave)
    try:
        yield
    finally:
        del vars(request)["_cancel"], request[LEAVE]


def _is_half_closed(request: web.BaseRequest) -> bool:
    """Whether the client has shut its sending side; False on a host application's connections."""
    return getattr(request.protocol, "half_closed", False)


def _is_lost(request: web.BaseRequest) -> bool:
    return request.transport is None or request.transport.is_closing()
