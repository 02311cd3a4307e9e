"""Waits of the fast path for a change of some jobs: `GET /v1/jobs?ids=…` with `Prefer: wait`.

Rules:

1. Ids with other characters than ids have, and what `JobList` refuses, are left to the stock path.
2. One list is written per loop iteration: one change may end thousands of waits, and a list has up to 100 documents.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, final

from aiohttp import hdrs

from jobqueue.api_limits import IDS_MAX
from jobqueue.http.errors import Unauthorized
from jobqueue.http.in_flight import SMALL_BYTES
from jobqueue.http.response.list_reply import IDS_END, fitting, list_reply, list_tag
from jobqueue.http.response.problems import refuse
from jobqueue.http.response.reply import names_tag, problem_reply, raw_reply
from jobqueue.http.streams.waiters import Waited, applied_line
from jobqueue.http.transport.aiohttp_compat import parse_head
from jobqueue.http.transport.deferred import JOBS_PATH, LATER, caller_at, headers_of
from jobqueue.http.transport.head_cache import wait_head_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.local import LocalBackend
    from jobqueue.core.job import JobId
    from jobqueue.http.request.grant import Grant
    from jobqueue.http.response.list_reply import Listed
    from jobqueue.http.streams.deadlines import DurationQueue
    from jobqueue.http.streams.waiters import Waiters
    from jobqueue.http.transport.deferred import Client
    from jobqueue.http.transport.head_cache import WaitHead
    from jobqueue.http.transport.parsed_head import ParsedHead
    from jobqueue.service import Service

IDS_PATH = f"{JOBS_PATH}?ids="

_IDS = re.compile(r"[A-Za-z0-9_,-]+")


class ListWaits:
    """Begins and answers waits for a change.

    Args:
        end: Returns the end of a head, with the date, given the loop's time.
    """

    def __init__(self, service: Service, waiters: Waiters, end: Callable[[float], bytes]) -> None:
        self._service = service
        self._waiters = waiters
        self._end = end
        self._due: deque[ListWait] = deque()
        self._writing = False

    def begin(self, message: ParsedHead, grant: Grant, client: Client, now: float) -> bytes | None:
        """Return the answer to a request with a path that begins with `IDS_PATH`, or LATER; None: left to others."""
        text, head = message.path[len(IDS_PATH) :], wait_head_of(message, grant)
        given = text.split(",")
        if head is None or not _IDS.fullmatch(text) or len(given) > IDS_MAX or not all(given):
            return None
        ids, head_only = tuple(dict.fromkeys(given)), message.method == "HEAD"
        listed = self._listed(ids, grant.sees)
        live = [job.id for job in listed if not isinstance(job, tuple) and job.live]
        wait_s = self._waiters.granted_s(head.wait_s)
        lines = applied_line(int(wait_s))
        news = hdrs.IF_NONE_MATCH in message.headers and not names_tag(head.tags, list_tag(listed, IDS_END))
        if live and not news and wait_s > 0:
            caller = caller_at(grant, client) if self._waiters.by_caller else None
            wait = ListWait(self, self._service.local, client, ids, live, head, head_only, lines, caller)
            queue = self._waiters.enter(wait, wait_s, now)
            if queue is not None:
                wait.queue = queue
                self._service.local.when_changed(live, wait)
                client.deferred = wait
                return LATER
            lines = b""
        return self.answer(ids, head_only, head, lines, now)

    def answer(self, ids: tuple[str, ...], head_only: bool, head: WaitHead, lines: bytes, now: float) -> bytes | None:
        """Return the whole answer with the present state; None: it is sent in pieces."""
        try:
            head.grant.check_valid()
        except Unauthorized as error:
            return raw_reply(problem_reply(refuse(error)), self._end(now), head_only)
        listed = self._listed(ids, head.grant.sees)
        count, documents = fitting(listed, self._service)
        if count < len(listed):
            return None
        reply = list_reply(listed, documents, IDS_END, head.tags)
        return None if reply.size_bytes > SMALL_BYTES else raw_reply(reply, lines + self._end(now), head_only)

    def _listed(self, ids: tuple[str, ...], sees: str | None) -> list[Listed]:
        return [self._job_or_error(job_id, sees) for job_id in ids]

    def _job_or_error(self, job_id: str, sees: str | None) -> Listed:
        local = self._service.local
        job = local.find(job_id)
        if job is None or (sees is not None and (job.uniqueness is None or job.uniqueness.owner != sees)):
            return job_id, local.missing(job_id, sees)
        return job

    def answer_later(self, wait: ListWait) -> None:
        """Answer a wait in its turn."""
        self._due.append(wait)
        if not self._writing:
            self._writing = True
            asyncio.get_running_loop().call_soon(self._answer_next)

    def _answer_next(self) -> None:
        try:
            while self._due and not self._due.popleft().answer():
                pass  # it was lost meanwhile
        finally:  # an answer that fails must not hold up the others
            if self._due:
                asyncio.get_running_loop().call_soon(self._answer_next)
            else:
                self._writing = False


@final
class ListWait:
    """A request that waits for a change of some jobs.

    Args:
        ids: Those of the list.
        live: Those that are waited for.
        head: The request's head, with what it says.
        lines: Header lines of the answer.
        caller: The caller, if its waits are limited.

    Attributes:
        queue: Its place among the waits; to be set before anything else happens.
    """

    __slots__ = ("_client", "_head", "_head_only", "_ids", "_lines", "_live", "_local", "_waits", "caller", "queue")

    queue: DurationQueue

    def __init__(
        self,
        waits: ListWaits,
        local: LocalBackend,
        client: Client,
        ids: tuple[str, ...],
        live: list[JobId],
        head: WaitHead,
        head_only: bool,
        lines: bytes,
        caller: str | None,
    ) -> None:
        self.caller = caller
        self._waits = waits
        self._local = local
        self._client: Client | None = client
        self._ids = ids
        self._live = live
        self._head = head
        self._head_only = head_only
        self._lines = lines

    @property
    def revoked(self) -> bool:
        return self._head.grant.revoked

    def changed(self) -> None:
        """One of the jobs has changed."""
        if self.queue.remove(self):  # else it is over already
            self.time_over()

    def time_over(self) -> None:
        """The time of the wait is over, or it is for another reason, and it has left its queue."""
        self._local.forget_changes(self._live, self)
        self._waits.answer_later(self)

    def leave(self) -> None:
        self._end()
        self.answer()

    def drop(self) -> None:
        self._client = None
        self._end()

    def _end(self) -> None:
        self.queue.remove(self)
        self._local.forget_changes(self._live, self)

    def answer(self) -> bool:
        """Answer, with the present state; False: the connection is lost, or it is answered already."""
        client, self._client = self._client, None
        if client is None:
            return False
        now = client.time()
        try:
            answer = self._waits.answer(self._ids, self._head_only, self._head, self._lines, now)
        except Exception:  # the stock path meets it, too, and answers so
            answer = None
        if answer is not None:
            client.finish(answer, now)
        else:
            method, ids = "HEAD" if self._head_only else "GET", ",".join(self._ids)
            line = f"{method} {IDS_PATH}{ids} HTTP/1.1\r\n".encode()
            client.hand_over(parse_head(line + self._head.lines), Waited(headers_of(self._lines)))
        return True
