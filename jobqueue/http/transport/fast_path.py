"""The fast path: answers reads of a job, and small JSON submissions, straight from the parser's output.

No task, no Request, no Response, no routing: these are most of a request's cost. It returns the bytes of a response, or
None for a request that is not plain and takes the stock path. Both
give the same bytes: a differential test sends the same streams through both. A request that waits for its job
(`Prefer: wait`) leaves its connection a `Deferred`, which answers later, from the job's end or a timer.

`connection` calls it in the order of the requests, and writes the responses. A
request with a cached head (`head_cache`) needs no parser at all.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from aiohttp import HttpVersion11, hdrs
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import istr

from jobqueue.core.ids import ID_LENGTH, is_well_formed
from jobqueue.errors import RateLimited, Refused
from jobqueue.http.errors import CallerLimitExceeded, MalformedRequest
from jobqueue.http.in_flight import SMALL_BYTES
from jobqueue.http.request.forwarded import FORWARDED, X_FORWARDED_FOR
from jobqueue.http.request.idempotency import IDEMPOTENCY_KEY, json_key, key_of, readable_key, with_key
from jobqueue.http.request.json_body import decode_one, has_parents
from jobqueue.http.request.prefer import PREFER
from jobqueue.http.request.traceparent import TRACEPARENT, traceparent_of
from jobqueue.http.response.problems import refuse
from jobqueue.http.response.reply import (
    DEDUPLICATED,
    NO_TAGS,
    job_reply,
    problem_reply,
    raw_job_head,
    raw_refusal,
    raw_reply,
)
from jobqueue.http.streams.waiters import applied_line
from jobqueue.http.transport.deferred import JOBS_PATH, LATER, Asking, JobWait, caller_at, wait_when_kept
from jobqueue.http.transport.head_cache import GET_ID, GET_REST, HEAD_ID, HEAD_REST, HeadCache, known_tags, wait_head_of
from jobqueue.http.transport.kept_answers import KeptAnswers
from jobqueue.http.transport.list_wait import IDS_PATH, ListWaits
from jobqueue.http.transport.plain_submission import has_plain_body, is_plain

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from multidict import CIMultiDictProxy

    from jobqueue.core.job import Job, Uniqueness
    from jobqueue.core.job_view import AnyJob
    from jobqueue.http.request.auth import Access
    from jobqueue.http.request.early_refusal import EarlyRefusal
    from jobqueue.http.request.origins import OriginPolicy
    from jobqueue.http.request.rate_limit import RateLimits
    from jobqueue.http.streams.waiters import Waiters
    from jobqueue.http.transport.deferred import Client
    from jobqueue.http.transport.head_cache import Look, WaitHead
    from jobqueue.http.transport.parsed_head import ParsedHead
    from jobqueue.service import Service

PREFIX: Final = f"{JOBS_PATH}/"
PREFIX_LENGTH: Final = len(PREFIX)
PATH_LENGTH: Final = PREFIX_LENGTH + ID_LENGTH

_PREFER: Final = istr(PREFER)
_TRACEPARENT: Final = istr(TRACEPARENT)
_KEY: Final = istr(IDEMPOTENCY_KEY)
_H: Final = b"H"[0]
_DEDUPLICATED: Final = "".join(f"{name}: {value}\r\n" for name, value in DEDUPLICATED.items()).encode()


class FastPath:
    """Answers plain requests straight from the parser's output.

    Args:
        service: Its backend is in this process; `StorePath` is for others.
        early: Rejects submissions as it does on the stock path.
        policy: Recognises requests of no foreign page; the stock path checks all others.
        access: Recognises requests that may do what they ask for; the stock path refuses all others.
        waiters: The bound of waiting requests, over both paths.
        rate_limits: The limits of callers, over both paths.

    Attributes:
        in_use: Whether a server asks it: for `/readyz`, which tells.
    """

    def __init__(
        self,
        service: Service,
        early: EarlyRefusal,
        policy: OriginPolicy,
        access: Access,
        waiters: Waiters,
        rate_limits: RateLimits,
    ) -> None:
        self.in_use = False
        self._service = service
        self._early = early
        self._policy = policy
        self._access = access
        self._waiters = waiters
        self._rate_limits, self._blocks = rate_limits, rate_limits.blocks
        self._limits_any = self._limits_requests = self._limits_connections = self._tells_limits = False
        self._has_blocks = False
        self.heed_limits()
        self._blocks.on_change = self._heed_blocks
        self._has_proxies = bool(service.settings.server.proxies)
        self._vary = "Vary: Origin\r\n" if policy.origins else ""
        self._head_cache = HeadCache()
        self._dated = b""
        self._dated_until = 0.0
        self._lists = ListWaits(service, waiters, self._date)
        self._kept = KeptAnswers(self)

    def recall(self, data: bytes, client: Client, now: float) -> bytes | None:
        """Return the whole response to a request with a cached head, or LATER; None: not cached, and nothing was done.

        Args:
            data: All received bytes; the parser must be at rest.
            client: The connection.
            now: The loop's time.
        """
        if self._limits_any and self._may_be_over(client):
            return None
        look = self._head_cache.look(data)
        if look is not None:
            head_only = data[0] == _H
            job_id = (data[HEAD_ID:HEAD_REST] if head_only else data[GET_ID:GET_REST]).decode("latin-1")
            return self._look(job_id, head_only, look, data, client, now)
        submission = self._head_cache.submission(data)
        if submission is not None:
            body, uniqueness, wait, given = submission
            if len(body) > self._service.settings.limits.body_bytes:
                return None
            if given is None:
                return self._accept(body, data, client, now, uniqueness, wait)
            key = readable_key(given)
            return None if key is None else self._accept(body, data, client, now, uniqueness, wait, key)
        waiting = self._head_cache.wait(data)
        if waiting is None:
            return None
        head, text = waiting
        return self._look_and_wait(text.decode("latin-1"), data[0] == _H, head, client, now)

    def learn(self, data: bytes, message: ParsedHead, head_bytes: int) -> None:
        """Cache the head of a request that `answer` has answered, if it may be cached.

        Args: As `HeadCache.learn`.
        """
        grant = self._access.find(message.headers)
        if grant is not None and not (self._has_blocks and grant.caller is not None and self._blocks.has(grant.caller)):
            self._head_cache.learn(data, message, head_bytes, grant)

    def heed_limits(self) -> None:
        """Take over the limits of callers: the settings have changed."""
        callers = self._service.callers
        self._limits_requests, self._tells_limits = callers.requests, callers.any
        self._limits_connections = callers.connections and self._access.required
        self._has_blocks = bool(self._blocks)
        self._limits_any = self._limits_requests or self._limits_connections or self._has_blocks

    def _heed_blocks(self) -> None:
        """Take over that callers are blocked, or none is any more; keys are known by their heads."""
        self.heed_limits()
        self.forget_heads()

    def forget_heads(self) -> None:
        """Forget all cached heads: the keys have changed."""
        self._head_cache.clear()

    def answer(
        self, message: ParsedHead, payload: StreamReader, client: Client, now: float, admitted: bool = False
    ) -> bytes | None:
        """Return the whole response to a request, or LATER; None: it isn't plain, and nothing was done.

        Args:
            client: The connection that it came over.
            now: The loop's time.
            admitted: The limits of the caller were checked.
        """
        if self._limits_any and not admitted:
            return self._answer_admitted(message, payload, client, now)
        if message.version is not HttpVersion11 or message.should_close or message.upgrade:
            return None
        if self._has_proxies and self._waiters.by_caller and self._is_forwarded(message.headers):
            return None  # its wait would count for the proxy
        path, method = message.path, message.method
        if method == "HEAD" or method == "GET":
            if payload is not EMPTY_PAYLOAD:
                return None
            if len(path) != PATH_LENGTH or path[:PREFIX_LENGTH] != PREFIX:
                return self._list(message, client, now) if path.startswith(IDS_PATH) else None
            headers = message.headers
            if hdrs.EXPECT in headers or hdrs.TRANSFER_ENCODING in headers or not self._policy.is_plain(headers):
                return None
            grant = self._access.find(headers)
            if grant is None or "read" not in grant.scopes:
                return None
            if _PREFER in headers:
                head = wait_head_of(message, grant)
                if head is None:
                    return None
                return self._look_and_wait(path[PREFIX_LENGTH:], method == "HEAD", head, client, now)
            tags = known_tags(message) if hdrs.IF_NONE_MATCH in headers else NO_TAGS
            return self._look(path[PREFIX_LENGTH:], method == "HEAD", (tags, grant.sees), message, client, now)
        if method == "POST" and path == JOBS_PATH:
            return self._submit(message, payload, client, now)
        return None

    def _answer_admitted(self, message: ParsedHead, payload: StreamReader, client: Client, now: float) -> bytes | None:
        """As `answer`, and count the request of a caller that may be limited.

        The first request of a connection, and one over the rate, are left to the stock path, which counts and rejects.
        """
        if self._limits_connections and client.counted_for is None:
            return None
        if not self._limits_requests and not self._has_blocks:
            return self.answer(message, payload, client, now, True)
        headers = message.headers
        grant = self._access.find(headers)
        if grant is None or (grant.caller is None and self._is_forwarded(headers)):
            return None
        caller = caller_at(grant, client)
        if self._has_blocks and self._blocks.has(caller):
            return self._answer_blocked(caller, message, payload, now)
        if not self._limits_requests:
            return self.answer(message, payload, client, now, True)
        try:
            self._rate_limits.take_request(caller)
        except CallerLimitExceeded:
            return None
        answer = self.answer(message, payload, client, now, True)
        if answer is None:
            self._rate_limits.put_request_back(caller)
        return answer

    def _may_be_over(self, client: Client) -> bool:
        """Whether a request with a cached head may be rejected for its caller. A head alone doesn't tell the caller.

        Heads of a blocked key are not cached.
        """
        if self._limits_requests or (self._limits_connections and client.counted_for is None):
            return True
        if not self._has_blocks or self._access.required:
            return False
        caller = (client.uniqueness or client.make_uniqueness()).caller
        return self._has_proxies or (caller is not None and self._blocks.has(caller))

    def _answer_blocked(self, caller: str, message: ParsedHead, payload: StreamReader, now: float) -> bytes | None:
        """Reject a request of a blocked caller; None: it isn't plain, and the stock path rejects it."""
        headers, method = message.headers, message.method
        if message.version is not HttpVersion11 or message.should_close or message.upgrade:
            return None
        if not has_plain_body(headers):
            return None
        is_read = method == "HEAD" or method == "GET"
        is_whole = payload is EMPTY_PAYLOAD if is_read else payload.is_eof() and payload.exception() is None
        if not is_whole or not (is_read or method == "POST") or not self._policy.is_plain(headers):
            return None
        try:
            self._blocks.check(caller)
        except CallerLimitExceeded as error:
            self._rate_limits.rejections.add(caller)
            return raw_reply(problem_reply(refuse(error)), self._date(now), method == "HEAD")
        return None

    def _is_forwarded(self, headers: CIMultiDictProxy[str]) -> bool:
        """Whether the connection alone doesn't tell the caller."""
        return self._has_proxies and (FORWARDED in headers or X_FORWARDED_FOR in headers)

    # -- reads

    def _look(
        self, job_id: str, head_only: bool, look: Look, request: Asking, client: Client, now: float
    ) -> bytes | None:
        tags, sees = look
        try:
            local = self._service.local
            job = local.find(job_id)
            # Inline, as a call would tell by its time that there is a record.
            if job is None or (sees is not None and (job.uniqueness is None or job.uniqueness.owner != sees)):
                if not is_well_formed(job_id):  # possibly escaped, or another resource's path
                    return None
                return self.refuse(local.missing(job_id, sees), head_only, now)
            estimate = local.estimate_now(job) if job.finished_at is None else None
            # Inline, since a call is a fiftieth of all that a HEAD costs.
            dated = self._dated if now < self._dated_until else self._date(now)
            if head_only and not tags:
                return raw_job_head(job, estimate) + dated
            reply = job_reply(job, estimate, tags, head_only, self._service)
            if reply.size_bytes > SMALL_BYTES and estimate is None:
                return None  # it is sent in pieces
            return raw_reply(reply, dated)
        except Exception as error:
            return self.refuse(error, head_only, now)

    # -- submissions

    def _submit(self, message: ParsedHead, payload: StreamReader, client: Client, now: float) -> bytes | None:
        headers = message.headers
        if not is_plain(headers, payload, self._service.settings.limits.body_bytes):
            return None
        if not self._policy.is_of_no_page(headers):
            return None
        grant = self._access.find(headers)
        if grant is None or "submit" not in grant.scopes:
            return None
        key = None
        if _KEY in headers:
            try:
                key = key_of(headers)
            except MalformedRequest:
                return None
        wait = None
        if _PREFER in headers:
            wait = wait_head_of(message, grant, payload.total_bytes)
            if wait is None:
                return None
        uniqueness = grant.uniqueness
        if uniqueness is None and self._is_forwarded(headers):
            uniqueness = client.uniqueness_behind(headers)
        traceparent = traceparent_of(headers) if _TRACEPARENT in headers else None
        # aiohttp: the unread pieces of a body. Its own read would ask the parser for more.
        return self._accept(b"".join(payload._buffer), message, client, now, uniqueness, wait, key, traceparent)

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
        """Accept a submission.

        Args:
            uniqueness: The identity of its API key, or of the client behind a proxy; None: that of the connection.
            key: Its Idempotency-Key.
            traceparent: The span within which it is submitted. A head with one is never cached.
        """
        if uniqueness is None:
            uniqueness = client.uniqueness or client.make_uniqueness()
        caller = uniqueness.caller if self._tells_limits else None
        if caller is not None and body.find(b'"after"') >= 0:  # it may have parents: its quota is counted once
            return None
        try:
            self._early.refuse_late(uniqueness.caller, key)
            local = self._service.local
            closed = local.is_closed()
            held = None
            if key is not None and (closed or caller is not None):
                held = local.under_key(uniqueness.caller, key)
                if held is not None and held.finished_at is not None and self._is_large(held):
                    return None
            if caller is not None and (not closed or held is not None or self._early.reads_body(len(body))):
                self._rate_limits.take(caller)
            if closed and held is None:
                refusal = self._early.refusal_of(body, uniqueness if key is None else with_key(uniqueness, key))
                if refusal is not None:
                    date = self._dated if caller is None and now < self._dated_until else self._end(caller, now)
                    return raw_refusal(refusal, date)
            submission = decode_one(body)
            if has_parents(submission):
                return None
            full_key = None if key is None else json_key(key, body)
            submitted = self._service.accept_now(submission, uniqueness, full_key, traceparent)
            job = submitted.job
            duplicate = _DEDUPLICATED if submitted.duplicate else b""
            if wait is not None:
                location = b"".join((b"Location: /v1/jobs/", job.id.encode(), b"\r\n", duplicate))
                if local.defers:
                    return wait_when_kept(self, local, client, submitted, caller, wait, location)
                return self.wait_for(job, False, wait, location, client, now, caller)
            date = self._dated if caller is None and now < self._dated_until else self._end(caller, now)
            end = b"".join((b"Location: /v1/jobs/", job.id.encode(), b"\r\n", duplicate, date))
            estimate = local.estimate_now(job) if job.finished_at is None else None
            reply = job_reply(job, estimate, NO_TAGS, False, self._service)
            if estimate is None and reply.size_bytes > SMALL_BYTES:  # a repetition, so nothing was done
                return None
            answer = raw_reply(reply, end)
            return self._kept.add(local, client, submitted, answer, caller) if local.defers else answer
        except Exception as error:
            return self.refuse(error, False, now, caller)

    def _is_large(self, job: Job) -> bool:
        """Whether the answer with a terminal job is sent in pieces."""
        return job_reply(job, None, NO_TAGS, False, self._service).size_bytes > SMALL_BYTES

    # -- waits

    def _look_and_wait(self, job_id: str, head_only: bool, head: WaitHead, client: Client, now: float) -> bytes | None:
        try:
            local, sees = self._service.local, head.grant.sees
            job = local.find(job_id)
            if job is not None and (sees is None or (job.uniqueness is not None and job.uniqueness.owner == sees)):
                return self.wait_for(job, head_only, head, b"", client, now)
            if not is_well_formed(job_id):
                return None
            return self.refuse(local.missing(job_id, sees), head_only, now)
        except Exception as error:
            return self.refuse(error, head_only, now)

    def _list(self, message: ParsedHead, client: Client, now: float) -> bytes | None:
        headers = message.headers
        unusual = hdrs.EXPECT in headers or hdrs.TRANSFER_ENCODING in headers
        if _PREFER not in headers or unusual or not self._policy.is_plain(headers):
            return None
        grant = self._access.find(headers)
        if grant is None or "read" not in grant.scopes:
            return None
        try:
            return self._lists.begin(message, grant, client, now)
        except Exception:  # the stock path meets it, too, and answers so
            return None

    def wait_for(
        self,
        job: Job,
        head_only: bool,
        head: WaitHead,
        lines: bytes,
        client: Client,
        now: float,
        caller: str | None = None,
    ) -> bytes | None:
        """Let a request wait for the end of a job, or answer it at once, if there is nothing to wait for, or no place.

        Args:
            lines: Header lines beside those of every answer with a job.
            caller: The limited caller of a submission, which the answer tells its quota.
        """
        wait_s = self._waiters.granted_s(head.wait_s)
        granted = lines + applied_line(int(wait_s))
        if job.finished_at is not None or wait_s <= 0:
            return self._answer(job, head_only, head.tags, granted, now, caller)
        local = self._service.local
        waiting = caller_at(head.grant, client) if self._waiters.by_caller else None
        wait = JobWait(self, local, client, job.id, head, head_only, granted, caller, waiting)
        queue = self._waiters.enter(wait, wait_s, now)
        if queue is None:
            return self._answer(job, head_only, head.tags, lines, now, caller)
        wait.queue = queue
        local.when_ended(job.id, wait)
        client.deferred = wait
        return LATER

    def applied(self, head: WaitHead) -> bytes:
        """As `Answers.applied`."""
        return applied_line(int(self._waiters.granted_s(head.wait_s)))

    def answer_wait(self, wait: JobWait, job: AnyJob, now: float) -> bytes | None:
        """Return the whole response to a request that has waited; None: it is sent in pieces, by the stock path."""
        try:
            if not wait.submitted:
                wait.head.grant.check_valid()
            return self._answer(job, wait.head_only, wait.head.tags, wait.lines, now, wait.limited)
        except Exception as error:
            return self.refuse(error, wait.head_only, now)

    def _answer(
        self,
        job: AnyJob,
        head_only: bool,
        tags: tuple[str, ...],
        lines: bytes,
        now: float,
        caller: str | None = None,
    ) -> bytes | None:
        estimate = self._service.backend.estimate(job) if job.finished_at is None else None
        reply = job_reply(job, estimate, tags, head_only, self._service)
        if reply.size_bytes > SMALL_BYTES and estimate is None:
            return None
        return raw_reply(reply, lines + self._end(caller, now))

    # -- common parts

    def refuse(self, error: Exception, head_only: bool, now: float, caller: str | None = None) -> bytes:
        if isinstance(error, Refused):  # only submissions are rejected, and none is a HEAD
            if caller is not None and isinstance(error, RateLimited):
                self._rate_limits.rejections.add(caller)
            return raw_refusal(error, self._end(caller, now))
        return raw_reply(problem_reply(refuse(error)), self._end(caller, now), head_only)

    def _end(self, caller: str | None, now: float) -> bytes:
        """Return the end of a head: the quota of the limited caller of a submission, and the date."""
        return self._date(now) if caller is None else self._rate_limits.lines(caller) + self._date(now)

    def _date(self, now: float) -> bytes:
        """Return the end of a head, with the date, which is formatted once a second."""
        if now >= self._dated_until:
            self._dated_until = now + 1.0 - time.time() % 1.0
            self._dated = f"{self._vary}Date: {rfc822_formatted_time()}\r\n\r\n".encode()
        return self._dated
