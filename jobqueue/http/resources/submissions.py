"""Submissions: one job by JSON or by a form with files, or a batch of them.

Checks run in the order of their cost: reasons to reject every submission, the request's head, the caller's quota, and
only then the body.

Rules:

1. A rejection that needs nothing of the body comes before it is read. Exempt are a request with the
   Idempotency-Key of a job that is held, unless the loop is overloaded (repeating it later is as good), and one that
   may have the unique value of a live job (`SubmissionHead.may_be_unique`).
2. Every answer to a submission has the caller's quota, if there is one.
3. Each item of a batch is accepted or rejected on its own, as if it had been submitted alone.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NotRequired, TypedDict

from jobqueue.core.submit import SubmitReceipt
from jobqueue.errors import InvalidSubmission, JobGone
from jobqueue.handlers.submission import traced
from jobqueue.http.errors import MalformedRequest, UnsupportedMediaType
from jobqueue.http.request import uploads
from jobqueue.http.request.auth import GRANT, check_still_valid, identity_of
from jobqueue.http.request.body import BodyKind, accepted, answer_expectation, check_head
from jobqueue.http.request.head import head_of
from jobqueue.http.request.idempotency import IDEMPOTENCY_KEY, Fingerprint, json_key
from jobqueue.http.request.json_body import BatchItem, decode_batch, decode_submission
from jobqueue.http.request.traceparent import traceparent_of
from jobqueue.http.resources.jobs import answer_at_end
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.problems import Problem, ProblemDocument, refuse, without_errors
from jobqueue.http.response.reply import DEDUPLICATED, JSON
from jobqueue.http.response.responses import error_answer, job_answer
from jobqueue.http.response.value_types import Id, Status  # noqa: TC001  # read from the annotations below
from jobqueue.http.streams.waiters import WAITED
from jobqueue.log import event_logger
from jobqueue.runtime.no_files import NO_FILES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp import web

    from jobqueue.core.job import Uniqueness
    from jobqueue.core.job_view import JobView
    from jobqueue.core.submit import Asked, SubmitResult
    from jobqueue.handlers import PlainSubmission, Submission
    from jobqueue.http.request.body import Bodies
    from jobqueue.http.request.early_refusal import EarlyRefusal
    from jobqueue.http.request.head import SubmissionHead
    from jobqueue.http.request.rate_limit import RateLimits
    from jobqueue.http.streams.waiters import Waiters
    from jobqueue.service import Service

    Receipts = Sequence[SubmitReceipt | Exception]

BATCH_TURN_S = 0.001
"""How long items of a batch are processed before other requests run, in seconds; not a number of items, since one of
them may take as long as fifty others."""

SUBMITTED_AT_ONCE = 32
"""Items of a batch that are submitted by one call, once they are checked."""

PROBLEMS_BYTES_MAX = 128 * 1024
"""Bytes of a batch's answer after which its problems omit their faults: some 300 bytes each."""

log = event_logger(__name__)


class BatchItemDocument(TypedDict):
    """The answer to one submission of a batch.

    Attributes:
        status: What the submission alone would have been answered with.
        id: Of the job; not there with a problem.
        deduplicated: True: the job existed before; else not there.
        problem: Why there is no job; else not there.
    """

    status: Status
    id: NotRequired[Id]
    deduplicated: NotRequired[bool]
    problem: NotRequired[ProblemDocument]


class BatchDocument(TypedDict):
    """The answers to a batch.

    Attributes:
        jobs: One for each submission, in their order.
    """

    jobs: list[BatchItemDocument]


class Submissions:
    """The handlers of `POST /v1/jobs` and `POST /v1/jobs:batch`."""

    def __init__(
        self, service: Service, waiters: Waiters, bodies: Bodies, early: EarlyRefusal, rate_limits: RateLimits
    ) -> None:
        self._service = service
        self._waiters = waiters
        self._bodies = bodies
        self._early = early
        self._batch_turn = asyncio.Lock()
        self._rate_limits = rate_limits

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/jobs: 202 once the job is held; its status is readable from then on."""
        return await self._answered(request, self._submit)

    async def submit_batch(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/jobs:batch: 207 with one result for each, in order."""
        return await self._answered(request, self._submit_batch)

    async def expect(self, request: web.Request) -> web.StreamResponse | None:
        """Answer a client that expects 100 Continue."""
        plain = identity_of(request)
        refusal = await answer_expectation(request, lambda request: self._check_unread(request, plain))
        if refusal is not None:
            refusal.headers.update(self._rate_limits.fields(_caller(plain)))
        return refusal

    async def _answered(
        self, request: web.Request, answer: Callable[[web.Request, Uniqueness], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Answer, given the request and its identity, and tell its caller the quota."""
        plain = identity_of(request)
        try:
            response = await answer(request, plain)
        except Exception as error:
            response = error_answer(request, error)
        response.headers.update(self._rate_limits.fields(_caller(plain)))
        return response

    # -- before the body is read

    def _check_unread(self, request: web.Request, plain: Uniqueness) -> None:
        if request.path.endswith(":batch"):
            self._check_batch(request, plain)
        else:
            self._check_single(request, plain)
        self._rate_limits.check(_caller(plain))

    def _check_single(self, request: web.Request, plain: Uniqueness) -> SubmissionHead:
        """Read the head of one submission, and reject what can be rejected before the body is read."""
        head = head_of(request, plain)
        self._early.refuse_unread(head.uniqueness, may_be_unique=head.may_be_unique)
        takes = (BodyKind.JSON, BodyKind.MULTIPART) if self._service.takes_files else (BodyKind.JSON,)
        if head.kind is BodyKind.MULTIPART and head.kind not in takes:
            raise UnsupportedMediaType(f"send application/json: {NO_FILES}", headers=accepted(request, takes))
        check_head(request, self._service.settings.limits, takes=takes)
        if head.kind is BodyKind.MULTIPART:
            self._service.check_files_fit(head.caller, head.length_bytes or 0)
        return head

    def _check_batch(self, request: web.Request, plain: Uniqueness) -> None:
        if IDEMPOTENCY_KEY in request.headers:
            raise MalformedRequest(
                f"a batch takes no {IDEMPOTENCY_KEY}: give each of its jobs a unique value, "
                "or submit them one by one, each under its own key"
            )
        head = head_of(request, plain)
        self._early.refuse_unread(head.uniqueness, may_be_unique=head.may_be_unique)
        check_head(request, self._service.settings.limits)

    # -- one job

    async def _submit(self, request: web.Request, plain: Uniqueness) -> web.StreamResponse:
        if (waited := request.get(WAITED)) is not None and waited.job is not None:
            return job_answer(request, waited.job, self._service, waited.headers)
        head = self._check_single(request, plain)
        self._rate_limits.take(_caller(plain))
        accept = self._accept_form if head.kind is BodyKind.MULTIPART else self._accept_json
        submitted = await accept(request, head)
        resource = request.match_info.route.resource
        assert resource is not None
        # The resource's own path, because it has the prefix under which the API is mounted.
        headers = {"Location": f"{resource.canonical}/{submitted.job.id}"}
        if submitted.duplicate:
            headers |= DEDUPLICATED
        job = submitted.job
        if head.wait_s is not None and not self._service.backend.shared:
            with suppress(JobGone):
                job = await self._service.backend.get(job.id)  # it may have ended while it was made durable
        return await answer_at_end(request, head.wait_s, job, self._service, self._waiters, headers)

    async def _accept_json(self, request: web.Request, head: SubmissionHead) -> SubmitResult[JobView]:
        # A separate function, because a request that waits for its job must not hold its body meanwhile.
        body = await self._bodies.read(request)
        self._early.refuse_read(body, head.uniqueness)
        submission = decode_submission(body)
        key = None if head.key is None else json_key(head.key, body)
        return await self._service.accept(
            submission,
            caller=head.caller,
            owner=head.owner,
            sees=request[GRANT].sees,
            key=key,
            traceparent=head.traceparent,
        )

    async def _accept_form(self, request: web.Request, head: SubmissionHead) -> SubmitResult[JobView]:
        fingerprint = None if head.key is None else Fingerprint(BodyKind.MULTIPART)
        async with self._service.new_upload(head.caller) as upload:
            with self._bodies.of(request) as body:
                submission = await uploads.receive(
                    body,
                    head.content_type,
                    self._service.settings.limits,
                    self._bodies,
                    upload,
                    lambda submission: self._service.check(
                        submission, head.caller, head.owner, keyed=head.key is not None
                    ),
                    fingerprint,
                )
            check_still_valid(request)
            key = fingerprint.under(head.key) if head.key is not None and fingerprint is not None else None
            received = upload.received()
            submitted = await self._service.accept(
                submission,
                folder=None if received is None else received.folder,
                files=None if received is None else received.files,
                caller=head.caller,
                owner=head.owner,
                sees=request[GRANT].sees,
                key=key,
                traceparent=head.traceparent,
            )
            if received is not None and not submitted.duplicate:
                upload.keep()
            return submitted

    # -- a batch

    async def _submit_batch(self, request: web.Request, plain: Uniqueness) -> web.StreamResponse:
        self._check_batch(request, plain)
        self._rate_limits.check(_caller(plain))
        with self._bodies.of(request) as body:
            document = await self._bodies.read_in(body)
            # One after the other, because a parsed batch is many times as large as its body, which counts.
            async with self._batch_turn:
                if request.transport is None:  # it hung up meanwhile
                    raise ConnectionResetError
                check_still_valid(request)
                traceparent = traceparent_of(request.headers)
                verdicts = await self._verdicts(decode_batch(document), plain, traceparent)
        return whole_answer(request, b'{"jobs":[%b]}' % b",".join(verdicts), JSON, status=207)

    async def _verdicts(
        self, items: Sequence[PlainSubmission | Submission | BatchItem], plain: Uniqueness, traceparent: str | None
    ) -> list[bytes]:
        verdicts: list[bytes] = []
        room_bytes = PROBLEMS_BYTES_MAX
        async with asyncio.TaskGroup() as group:
            submitted = await self._submit_items(items, plain, traceparent, group)
        for submitting, faults, begin in submitted:
            receipts = submitting.result() if isinstance(submitting, asyncio.Task) else submitting
            for outcome in _in_order(receipts, faults, begin):
                if isinstance(outcome, SubmitReceipt):
                    duplicate = outcome.duplicate
                    verdict = _existing(outcome) if duplicate else b'{"status":202,"id":"' + outcome.id.encode() + b'"}'
                else:
                    problem = outcome if isinstance(outcome, Problem) else _problem(outcome, len(verdicts))
                    verdict = _refused(problem, room_bytes)
                room_bytes -= len(verdict)
                verdicts.append(verdict)
        return verdicts

    async def _submit_items(
        self,
        items: Sequence[PlainSubmission | Submission | BatchItem],
        plain: Uniqueness,
        traceparent: str | None,
        group: asyncio.TaskGroup,
    ) -> list[tuple[asyncio.Task[Receipts] | Receipts, dict[int, Problem], int]]:
        """Check and submit items; return what becomes of each portion, its faults, and the number of its first item.

        Where jobs are kept, the portions wait for the disk together, in the group.
        """
        submitted: list[tuple[asyncio.Task[Receipts] | Receipts, dict[int, Problem], int]] = []
        submit, keeps = self._service.backend.submit_many, self._service.keeps
        limited = self._service.callers.of(plain.caller).rate is not None
        ask, clock = self._service.asked, time.monotonic
        turn_ends_at = clock() + BATCH_TURN_S
        for begin in range(0, len(items), SUBMITTED_AT_ONCE):
            asked: list[Asked] = []
            faults: dict[int, Problem] = {}
            for number, item in enumerate(items[begin : begin + SUBMITTED_AT_ONCE], begin):
                if clock() >= turn_ends_at:
                    await asyncio.sleep(0)
                    turn_ends_at = clock() + BATCH_TURN_S
                try:
                    if limited:
                        self._rate_limits.take(_caller(plain))
                    checked = ask(item.submission() if isinstance(item, BatchItem) else item, plain)
                    asked.append(checked if traceparent is None else traced(checked, traceparent))
                except Exception as error:  # not kept: its traceback holds this frame
                    faults[number] = _problem(error, number)
            if keeps:
                submitted.append((group.create_task(submit(asked)), faults, begin))
                await asyncio.sleep(0)  # it submits now
            else:
                submitted.append((await submit(asked), faults, begin))
        return submitted


def _in_order(
    submitted: Sequence[SubmitReceipt | Exception], faults: dict[int, Problem], begin: int
) -> Sequence[SubmitReceipt | Exception | Problem]:
    """Put the items that were not submitted back among the others; `begin` is the number of the first item."""
    if not faults:
        return submitted
    outcomes = iter(submitted)
    numbers = range(begin, begin + len(submitted) + len(faults))
    return [faults[number] if number in faults else next(outcomes) for number in numbers]


def _problem(error: Exception, number: int) -> Problem:
    return refuse(_below(f"/jobs/{number}", error), {"item": number})


def _existing(receipt: SubmitReceipt) -> bytes:
    """Return an item's part of the answer: a job that existed already."""
    return b'{"status":%d,"id":"%b","deduplicated":true}' % (202 if receipt.live else 200, receipt.id.encode())


def _refused(problem: Problem, room_bytes: int) -> bytes:
    """Return an item's part of the answer: its problem, with its faults if there is room for them."""
    told = problem.json
    if len(told) > room_bytes:
        told = without_errors(problem)
    return b'{"status":%d,"problem":%b}' % (problem.row.status, told)


def _below(base: str, error: Exception) -> Exception:
    """Prefix the pointers of a submission's faults with its place in the batch."""
    return error.below(base) if isinstance(error, InvalidSubmission) else error


def _caller(plain: Uniqueness) -> str:
    assert plain.caller is not None, "each request has a caller"
    return plain.caller
