"""Submissions: the fields that a client may send, and the rules between them."""

from __future__ import annotations

import functools
from collections.abc import Callable  # as of the next import, msgspec reads it from the annotations
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from jobqueue.api_limits import PARENTS_MAX
from jobqueue.context import printable
from jobqueue.core.job import JobSpec, Unique, UniqueMode, Uniqueness
from jobqueue.core.policy import DURATION_S_MAX
from jobqueue.core.record import changed
from jobqueue.core.scheduling.order import PRIORITY_MAX
from jobqueue.errors import InvalidField, InvalidSubmission
from jobqueue.handlers.validation import field_of
from jobqueue.webhooks.url import NO_CALLBACKS, URL_LENGTH_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.core.job import IdempotencyKey
    from jobqueue.core.submit import Asked

ATTEMPTS_MAX = 100
NAME_PATTERN = r"^[A-Za-z0-9_.-]{1,100}$"

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
TypeName = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=DURATION_S_MAX)]
PositiveSeconds = Annotated[float, msgspec.Meta(gt=0, le=DURATION_S_MAX)]
CallbackUrl = Annotated[str, msgspec.Meta(min_length=1, max_length=URL_LENGTH_MAX)]
UniqueValue = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
OnFailure = Literal["cancel", "run"]


class UniqueSubmission(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A unique value; a text alone means `return`.

    Attributes:
        value: At most one live job of the type has it.
        mode: What happens if a live job of the type has the value: it is the answer (`return`), the submission is
            rejected (`reject`), the live job is cancelled (`replace`) or changed (`debounce`).
    """

    value: UniqueValue
    mode: UniqueMode = "return"


class PlainSubmission(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A submission of a type and arguments only, as most are."""

    type: TypeName
    args: msgspec.Raw = msgspec.Raw(b"{}")


class Submission(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A submission of a job; only `type` is required. Null: the handler's default.

    Attributes:
        type: The handler's registered name.
        args: The handler's arguments, by name.
        queue: The queue that holds the job.
        priority: 9 first, with the discipline `priority`.
        delay_s: Seconds until it may start.
        run_at: Instant from which it may start; not together with `delay_s`. The past means now.
        start_by_s: Seconds in which its first attempt must start, or it expires; more than the delay.
        timeout_s: Seconds that one attempt may take, at most the handler's.
        attempts_max: How often it may run.
        group: For the discipline `fair`, and for limits per group.
        unique: At most one live job of the type has this value.
        ttl_s: Seconds that its record stays readable after its end.
        callback: URL to which its end is sent, if the server has callbacks and lists the host.
        after: Ids of jobs that must have succeeded before it may start: its parents.
        on_failure: What happens if a parent ends in another way: it is cancelled (`cancel`), or starts all the same
            once all of them have ended (`run`).
    """

    type: TypeName
    args: msgspec.Raw = msgspec.Raw(b"{}")
    queue: Name | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=PRIORITY_MAX)] = 0
    delay_s: Seconds | None = None
    run_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    start_by_s: PositiveSeconds | None = None
    timeout_s: PositiveSeconds | None = None
    attempts_max: Annotated[int, msgspec.Meta(ge=1, le=ATTEMPTS_MAX)] | None = None
    group: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    unique: UniqueSubmission | UniqueValue | None = None
    ttl_s: PositiveSeconds | None = None
    callback: CallbackUrl | None = None
    after: Annotated[list[str], msgspec.Meta(max_length=PARENTS_MAX)] | None = None
    on_failure: OnFailure | None = None

    @property
    def plain(self) -> bool:
        """Whether it has a type and arguments only, as most do."""
        return (
            self.queue is None
            and self.priority == 0
            and self.delay_s is None
            and self.run_at is None
            and self.start_by_s is None
            and self.timeout_s is None
            and self.attempts_max is None
            and self.group is None
            and self.unique is None
            and self.ttl_s is None
            and self.callback is None
            and not self.after
            and self.on_failure is None
        )


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """Bounds of a submission's options.

    Attributes:
        ttl_s_max, delay_s_max: Maximum durations, in seconds.
        fault_of_callback: Returns what is wrong with a URL, or None.
    """

    ttl_s_max: float = DURATION_S_MAX
    delay_s_max: float = DURATION_S_MAX
    fault_of_callback: Callable[[str], str | None] = lambda url: NO_CALLBACKS


@functools.lru_cache(maxsize=4096)
def plain_uniqueness(caller: str, owner: str | None = None) -> Uniqueness:
    """Return the identity of a submission without key and value: one object for all of a caller's jobs."""
    return Uniqueness(caller, plain=True, owner=owner)


def uniqueness_of(
    submission: Submission,
    caller: str | None,
    owner: str | None,
    key: IdempotencyKey | None,
    *,
    with_files: bool,
) -> Uniqueness | None:
    """Return the identity of a submission; None: it has none.

    Raises:
        InvalidSubmission: It debounces and has files, which can't replace those of the waiting job.
    """
    given = submission.unique
    if given is None:
        if key is None:
            return None if caller is None else plain_uniqueness(caller, owner)
        return Uniqueness(caller, None, key, owner=owner)
    if with_files and _debounces(submission):
        raise InvalidSubmission(InvalidField(pointer="/unique", detail="a job with files can't be debounced"))
    unique = Unique(given) if isinstance(given, str) else Unique(given.value, given.mode)
    return Uniqueness(caller, unique, key, owner=owner)


def submission_of(fields: dict[str, Any]) -> Submission:
    """Make a submission of Python values. Raises InvalidSubmission."""
    try:
        submission = msgspec.convert(fields, Submission)
    except msgspec.ValidationError as fault:
        raise InvalidSubmission(field_of(fault)) from None
    check_texts(submission)
    return submission


def check_texts(submission: Submission, base: str = "") -> None:
    """Raise InvalidSubmission, with a pointer below `base`, if a Python text can't be written as JSON."""
    unique = submission.unique
    value = unique.value if isinstance(unique, UniqueSubmission) else unique
    for name, text in (("group", submission.group), ("unique", value)):
        if text is not None and printable(text) != text:
            invalid = InvalidField(pointer=f"{base}/{name}", detail="has lone surrogates, which UTF-8 can't encode")
            raise InvalidSubmission(invalid)


def option_faults(submission: Submission, default: JobSpec, bounds: Bounds) -> Iterator[InvalidField]:
    """Yield the fields that contradict each other, or the bounds of the handler or the server."""
    if submission.delay_s is not None and submission.delay_s > bounds.delay_s_max:
        yield InvalidField(pointer="/delay_s", detail=f"at most {bounds.delay_s_max:g} s (limits.delay_s_max)")
    if submission.ttl_s is not None and submission.ttl_s > bounds.ttl_s_max:
        yield InvalidField(pointer="/ttl_s", detail=f"at most {bounds.ttl_s_max:g} s (statuses.ttl_s_max)")
    if submission.delay_s is not None and submission.run_at is not None:
        yield InvalidField(pointer="/run_at", detail="give delay_s or run_at, not both")
    if submission.callback is not None and (fault := bounds.fault_of_callback(submission.callback)) is not None:
        yield InvalidField(pointer="/callback", detail=fault)
    if submission.on_failure is not None and not submission.after:
        yield InvalidField(pointer="/on_failure", detail="only together with after: it is about the job's parents")
    if submission.after and submission.unique is not None:
        detail = "a job with parents takes no unique value: give the submission an Idempotency-Key"
        yield InvalidField(pointer="/unique", detail=detail)
    if _debounces(submission) and not submission.delay_s and submission.run_at is None:
        yield InvalidField(pointer="/unique", detail="debounce needs delay_s or run_at")
    if submission.timeout_s is not None and default.timeout_s is not None and submission.timeout_s > default.timeout_s:
        yield InvalidField(pointer="/timeout_s", detail=f"at most {default.timeout_s}, the timeout of its handler")


def spec_of(submission: Submission, default: JobSpec, bounds: Bounds, wall_now: Callable[[], float]) -> JobSpec:
    """Return a submission's spec, with its handler's defaults filled in. Raises InvalidSubmission."""
    delay_s = submission.delay_s or 0.0
    if submission.run_at is not None:
        delay_s = max(0.0, submission.run_at.timestamp() - wall_now())
        if delay_s > bounds.delay_s_max:
            detail = f"at most {bounds.delay_s_max:g} s from now (limits.delay_s_max)"
            raise InvalidSubmission(InvalidField(pointer="/run_at", detail=detail))
    if submission.start_by_s is not None and submission.start_by_s <= delay_s:
        raise InvalidSubmission(InvalidField(pointer="/start_by_s", detail="the job would expire before it may run"))
    spec = JobSpec(
        type=default.type,
        queue=default.queue if submission.queue is None else submission.queue,
        priority=submission.priority,
        group=submission.group,
        delay_s=delay_s,
        start_by_s=submission.start_by_s,
        timeout_s=default.timeout_s if submission.timeout_s is None else submission.timeout_s,
        own_timeout=submission.timeout_s not in (None, default.timeout_s),
        attempts_max=default.attempts_max if submission.attempts_max is None else submission.attempts_max,
        ttl_s=submission.ttl_s,
        pool=default.pool,
        limits=default.limits,
        backoff=default.backoff,
        callback=submission.callback,
    )
    return default if spec == default else changed(spec, own=True)


def traced(asked: Asked, traceparent: str) -> Asked:
    """Return the arguments of `Backend.submit` with the span within which the job is submitted."""
    spec, args, upload, uniqueness = asked
    return changed(spec, own=True, traceparent=traceparent), args, upload, uniqueness


def _debounces(submission: Submission) -> bool:
    return isinstance(submission.unique, UniqueSubmission) and submission.unique.mode == "debounce"
