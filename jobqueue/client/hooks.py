"""Hooks: functions of the program's own that the clients call with requests, answers and a job's progress.

Rules:

1. A hook sees a request without the client's own headers, so no key; and may return another one to be sent instead.
2. What a hook raises ends the call, and is not repeated: it is never taken for a failure of the network.
3. `Client` awaits what a hook returns, if that can be awaited; `SyncClient` can't, and raises TypeError.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from jobqueue.client.protocol import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.client.models import JobDocument


T = TypeVar("T")


class Hooks:
    """The hooks of one client."""

    def __init__(
        self, before_request: Callable[[Request], Any] | None, after_answer: Callable[[Request, Answer], Any] | None
    ) -> None:
        for name, hook in (("before_request", before_request), ("after_answer", after_answer)):
            if hook is not None and not callable(hook):
                raise TypeError(f"{name} must be a function, not {type(hook).__name__}")
        self._before_request = before_request
        self._after_answer = after_answer

    def before(self, request: Request) -> Request:
        """Return the request to send. Raises TypeError if the hook returned anything else."""
        if self._before_request is None:
            return request
        return _sent(request, self._before_request(request))

    def after(self, request: Request, answer: Answer) -> None:
        if self._after_answer is not None:
            called("after_answer", self._after_answer(request, answer))

    async def before_async(self, request: Request) -> Request:
        """As `before`."""
        if self._before_request is None:
            return request
        return _sent(request, await awaited(self._before_request(request)))

    async def after_async(self, request: Request, answer: Answer) -> None:
        if self._after_answer is not None:
            await awaited(self._after_answer(request, answer))


class Watch:
    """The changes of a live job that a wait has seen, to be told to `on_progress`."""

    def __init__(self, on_progress: Callable[[JobDocument], Any]) -> None:
        if not callable(on_progress):
            raise TypeError(f"on_progress must be a function, not {type(on_progress).__name__}")
        self._on_progress = on_progress
        self._news: list[JobDocument] = []
        self._told: object = None

    def see(self, job: JobDocument) -> None:
        """Note a document, if its job is live, and its state, attempt, progress or position is new."""
        shown = (job.state, job.attempt, job.progress, job.position)
        if not job.over and shown != self._told:
            self._told = shown
            self._news.append(job)

    def tell(self) -> None:
        """Call `on_progress` with what is new."""
        for job in self._taken():
            called("on_progress", self._on_progress(job))

    async def tell_async(self) -> None:
        """As `tell`."""
        for job in self._taken():
            await awaited(self._on_progress(job))

    def _taken(self) -> list[JobDocument]:
        news, self._news = self._news, []
        return news


def _sent(request: Request, returned: object) -> Request:
    if returned is None:
        return request
    called("before_request", returned)
    if not isinstance(returned, Request):
        raise TypeError(f"before_request must return a Request, or None for an unchanged one, not {returned!r:.100}")
    return returned


def called(name: str, returned: object) -> None:
    """Raise TypeError if a blocking client's function has to be awaited."""
    if inspect.isawaitable(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        raise TypeError(f"{name} of a SyncClient must be a plain function: nothing awaits a coroutine there")


async def awaited(returned: Any) -> Any:
    return await returned if inspect.isawaitable(returned) else returned


def watch_of(on_progress: Callable[[JobDocument], Any] | None, wait_s: float | None) -> Watch | None:
    """Return what sees the progress of a wait. Raises ValueError if there is no wait."""
    if on_progress is None:
        return None
    if wait_s is not None and wait_s <= 0:
        raise ValueError("on_progress needs wait_s: without a wait no progress is seen")
    return Watch(on_progress)


def checked_transport(transport: T) -> T:
    if transport is not None and not callable(transport):
        raise TypeError(f"transport must be a function of a Request, not {type(transport).__name__}")
    return transport
