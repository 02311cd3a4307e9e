"""The fast path where jobs are kept in a store outside this process: the same answers, most of them a reply later.

It recognises plain requests as `FastPath` does, and asks by callbacks, without a task; `store_answers` has what waits.
Waits of `GET /v1/jobs?ids=…` take the stock path.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, final

from jobqueue.core.ids import is_well_formed
from jobqueue.errors import Refused
from jobqueue.handlers.submission import traced
from jobqueue.http.request.idempotency import json_key, with_key
from jobqueue.http.request.json_body import decode_one
from jobqueue.http.response.problems import refuse
from jobqueue.http.response.reply import DEDUPLICATED, NO_TAGS, problem_reply, raw_refusal, raw_reply
from jobqueue.http.streams.waiters import Waited, applied_line
from jobqueue.http.transport.deferred import LATER, caller_at, headers_of
from jobqueue.http.transport.fast_path import FastPath
from jobqueue.http.transport.store_answers import Pending, StoreWait

if TYPE_CHECKING:
    from jobqueue.core.job import Uniqueness
    from jobqueue.core.job_view import JobView
    from jobqueue.core.submit import SubmitResult
    from jobqueue.http.transport.deferred import Asking, Client
    from jobqueue.http.transport.head_cache import Look, WaitHead
    from jobqueue.http.transport.parsed_head import ParsedHead

_DEDUPLICATED = "".join(f"{name}: {value}\r\n" for name, value in DEDUPLICATED.items())


@final
class StorePath(FastPath):
    """Answers plain requests from a store. Its service has one while it runs."""

    # -- reads

    def _look(
        self, job_id: str, head_only: bool, look: Look, request: Asking, client: Client, now: float
    ) -> bytes | None:
        tags, sees = look
        if not is_well_formed(job_id):  # possibly escaped, or another resource's path
            return None
        try:
            pending: Pending[JobView] = Pending(client, request, partial(self._write_look, head_only, tags), _waited)
            self._service.store.look_soon(job_id, sees, pending.replied)
            return pending.begin(now)
        except Exception as error:
            return self.refuse(error, head_only, now)

    def _write_look(
        self, head_only: bool, tags: tuple[str, ...], found: JobView | Exception, client: Client, now: float
    ) -> bytes | None:
        return self._write(found, head_only, tags, b"", now)

    def _write(
        self,
        found: JobView | Exception,
        head_only: bool,
        tags: tuple[str, ...],
        lines: bytes,
        now: float,
        caller: str | None = None,
    ) -> bytes | None:
        """Return the whole answer with a job, or a problem; None: it is sent in pieces. Args: As of `_answer`."""
        try:
            if isinstance(found, Exception):
                return self.refuse(found, head_only, now, caller)
            return self._answer(found, head_only, tags, lines, now, caller)
        except Exception as error:
            return self.refuse(error, head_only, now, caller)

    # -- submissions

    def _accept(
        self,
        body: bytes,
        request: Asking,
        client: Client,
        now: float,
        uniqueness: Uniqueness | None,
        wait: WaitHead | None = None,
        key: str | None = None,
        traceparent: str | None = None,
    ) -> bytes | None:
        if uniqueness is None:
            uniqueness = client.uniqueness or client.make_uniqueness()
        caller = uniqueness.caller if self._tells_limits else None
        try:
            self._early.refuse_late(uniqueness.caller, key)
            identity = uniqueness if key is None else with_key(uniqueness, key)
            refusal = self._early.refusal_unread(identity, len(body))
            if refusal is not None:
                return raw_refusal(refusal, self._end(caller, now))
            if caller is not None:
                self._rate_limits.take(caller)
            refusal = self._early.refusal_read(identity, body)
            if refusal is not None:
                return raw_refusal(refusal, self._end(caller, now))
            full_key = None if key is None else json_key(key, body)
            asked = self._service.asked(decode_one(body), uniqueness, full_key)
            if traceparent is not None:
                asked = traced(asked, traceparent)
            pending: Pending[SubmitResult[JobView]] = Pending(
                client, request, partial(self._write_submitted, caller, wait), _waited_submitted
            )
            self._service.store.submit_soon(*asked, pending.replied)
            return pending.begin(now)
        except Exception as error:
            return self.refuse(error, False, now, caller)

    def _write_submitted(
        self,
        caller: str | None,
        wait: WaitHead | None,
        submitted: SubmitResult[JobView] | Exception,
        client: Client,
        now: float,
    ) -> bytes | None:
        """Return the answer to a submission, or begin its wait and return LATER; None: it is sent in pieces."""
        try:
            if isinstance(submitted, Exception):
                return self.refuse(submitted, False, now, caller)
            lines = _location(submitted).encode()
            if wait is not None:
                return self._begin_wait(submitted.job, False, wait, lines, client, now, caller, submitted=True)
            return self._answer(submitted.job, False, NO_TAGS, lines, now, caller)
        except Exception as error:
            return self.refuse(error, False, now, caller)

    # -- waits

    def _look_and_wait(self, job_id: str, head_only: bool, head: WaitHead, client: Client, now: float) -> bytes | None:
        if not is_well_formed(job_id):
            return None
        try:
            method = "HEAD" if head_only else "GET"
            request = b"%b /v1/jobs/%b HTTP/1.1\r\n%b" % (method.encode(), job_id.encode(), head.lines)
            pending: Pending[JobView] = Pending(client, request, partial(self._write_wait, head_only, head), _waited)
            self._service.store.look_soon(job_id, head.grant.sees, pending.replied)
            return pending.begin(now)
        except Exception as error:
            return self.refuse(error, head_only, now)

    def _write_wait(
        self, head_only: bool, head: WaitHead, found: JobView | Exception, client: Client, now: float
    ) -> bytes | None:
        """Begin the wait of a read and return LATER, or return its answer; None: it is sent in pieces."""
        try:
            if isinstance(found, Exception):
                return self.refuse(found, head_only, now)
            return self._begin_wait(found, head_only, head, b"", client, now)
        except Exception as error:
            return self.refuse(error, head_only, now)

    def _begin_wait(
        self,
        job: JobView,
        head_only: bool,
        head: WaitHead,
        lines: bytes,
        client: Client,
        now: float,
        caller: str | None = None,
        *,
        submitted: bool = False,
    ) -> bytes | None:
        """As `wait_for`, of a job that may end elsewhere."""
        wait_s = self._waiters.granted_s(head.wait_s)
        granted = lines + applied_line(int(wait_s))
        if job.finished_at is not None or wait_s <= 0:
            return self._answer(job, head_only, head.tags, granted, now, caller)
        store = self._service.store
        waiting = caller_at(head.grant, client) if self._waiters.by_caller else None
        wait = StoreWait(self, store, client, job, head, head_only, granted, caller, waiting, submitted=submitted)
        queue = self._waiters.enter(wait, wait_s, now)
        if queue is None:
            return self._answer(job, head_only, head.tags, lines, now, caller)
        wait.queue = queue
        client.deferred = wait
        store.when_ended(job.id, wait)
        return LATER

    def write_end(self, wait: StoreWait, found: JobView | Exception, now: float) -> bytes | None:
        accepted = wait.accepted
        if accepted is not None:
            if isinstance(found, Exception):
                found = accepted
        elif wait.revoked:
            try:
                wait.head.grant.check_valid()
            except Exception as error:
                return self.refuse(error, wait.head_only, now)
        return self._write(found, wait.head_only, wait.head.tags, wait.lines, now, wait.limited)

    def _list(self, message: ParsedHead, client: Client, now: float) -> bytes | None:
        return None

    # -- common parts

    def refuse(self, error: Exception, head_only: bool, now: float, caller: str | None = None) -> bytes:
        if head_only and isinstance(error, Refused):  # a read can't be answered now: without a body
            return raw_reply(problem_reply(refuse(error)), self._end(caller, now), True)
        return FastPath.refuse(self, error, head_only, now, caller)


def _location(submitted: SubmitResult[JobView]) -> str:
    """Return the header lines that tell where a submitted job is, and whether it existed before."""
    return f"Location: /v1/jobs/{submitted.job.id}\r\n{_DEDUPLICATED if submitted.duplicate else ''}"


def _waited(job: JobView) -> Waited:
    return Waited({}, job)


def _waited_submitted(submitted: SubmitResult[JobView]) -> Waited:
    return Waited(headers_of(_location(submitted).encode()), submitted.job)
