"""Submissions: one at a time or many in one request, repeated as long as the caller's patience lasts.

Rules:

1. A rejected submission is repeated no sooner than the server asked, with jitter.
2. Each single submission has an idempotency key, so that after a lost answer it can be sent again and
   still is one job. A batch has none: when its answer is lost, the fate of its jobs is unknown.
3. An unknown fate stays unknown until an answer resolves it, whatever fails after it.
"""

from __future__ import annotations

import math
import secrets
import time
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from jobqueue import errors
from jobqueue.api_limits import BATCH_MAX, KEY_LENGTH_MAX
from jobqueue.client.models import JobDocument, Submission
from jobqueue.client.multipart import Multipart
from jobqueue.client.protocol import (
    Answer,
    ErrorAnswer,
    FateUnknown,
    NoAnswer,
    Patience,
    Problem,
    Request,
    Steps,
    Unreachable,
    decoded,
    error_of,
)
from jobqueue.client.waiting import WAIT_S_MAX, until_over, wait
from jobqueue.duration import as_seconds
from jobqueue.encoder import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobqueue.client.hooks import Watch
    from jobqueue.files.source import Files

T = TypeVar("T")

RETRY_FOR_S = 30.0  # how long a wait goes on while the server does not answer
BATCH_BYTES = 1 << 19  # in one request; half of a server's default limit


def submit(
    submission: Submission,
    files: Files | None,
    idempotency_key: str | None,
    retry_for_s: float,
    wait_s: float,
    watch: Watch | None = None,
) -> Steps[JobDocument]:
    encoding = encoded(submission)
    body: bytes | Multipart = Multipart(encoding, files) if files else encoding
    media_type = f"multipart/form-data; boundary={body.boundary}" if isinstance(body, Multipart) else "application/json"
    key = secrets.token_hex(16) if idempotency_key is None else idempotency_key
    headers = {"Content-Type": media_type, "Idempotency-Key": quoted(key)}
    asked_s = 0 if watch is not None else math.ceil(min(wait_s, WAIT_S_MAX))  # nothing is told before the answer
    waiting = {"Prefer": f"wait={asked_s}"} if asked_s > 0 else {}
    request = Request(method="POST", target="/v1/jobs", headers=headers | waiting, body=body, quiet_s=max(0, asked_s))
    patience = Patience(retry_for_s)
    unknown: FateUnknown | None = None
    while True:
        give_up_at = time.monotonic() + request.after_s + wait_s
        try:
            answer = yield request
            job = taken(answer, JobDocument)
        except (errors.Refused, NoAnswer) as failure:
            if isinstance(failure, FateUnknown):
                failure.idempotency_key = key
                unknown = failure
            pause_s = patience.pause_s(failure)
            if pause_s is None:
                if unknown is None or unknown is failure:
                    raise
                raise unknown from failure
            request = msgspec.structs.replace(request, after_s=pause_s)
            if unknown is not None:  # it may be the wait that lost the answer: a proxy gave up before the job was over
                request = msgspec.structs.replace(request, headers=headers, quiet_s=0.0)
        else:
            deduplicated = answer.headers.get("job-deduplicated") == "true"
            job = msgspec.structs.replace(job, deduplicated=deduplicated)
            # A pause may end slightly early: without a wait there would seem to be time left for one.
            left_s = give_up_at - time.monotonic() if wait_s > 0 else 0.0
            return (yield from _waited_for(job, left_s, watch))


def run(
    submission: Submission,
    files: Files | None,
    idempotency_key: str | None,
    retry_for_s: float,
    wait_s: float | None,
    watch: Watch | None = None,
) -> Steps[Any]:
    give_up_at = time.monotonic() + (math.inf if wait_s is None else wait_s)
    at_once_s = 0.0 if watch is not None else WAIT_S_MAX if wait_s is None else min(wait_s, WAIT_S_MAX)
    job = yield from submit(submission, files, idempotency_key, retry_for_s, at_once_s)
    if not job.over:
        left_s = None if wait_s is None else max(0.0, give_up_at - time.monotonic())
        job = yield from wait(job.id, left_s, max(retry_for_s, RETRY_FOR_S), watch)
    return job.unwrap()


def _waited_for(job: JobDocument, left_s: float, watch: Watch | None) -> Steps[JobDocument]:
    """Return an accepted job once it is terminal, or as it is after `left_s`; its id is never lost."""
    if job.over or left_s <= 0:
        return job
    try:
        later = yield from until_over(job.id, left_s, RETRY_FOR_S, job, watch)
    except errors.JobQueueError:
        return job
    return job if later is None else msgspec.structs.replace(later, deduplicated=job.deduplicated)


def taken(answer: Answer, kind: type[T]) -> T:
    """Return the answer to a POST. Raises FateUnknown if it is a success, but not of this API."""
    try:
        return decoded(answer, kind)
    except ErrorAnswer as error:
        if not 200 <= answer.status < 300:
            raise
        unknown = FateUnknown(f"{error}; the POST may have taken effect")
        unknown.status = answer.status
        raise unknown from error


def submit_many(submissions: Iterable[Submission], *, retry_for_s: float) -> Steps[list[str | errors.JobQueueError]]:
    encodings = [encoded(submission) for submission in submissions]
    outcomes: dict[int, str | errors.JobQueueError] = {}
    patience = Patience(retry_for_s)
    left, after_s = list(range(len(encodings))), 0.0
    denial: errors.Unauthorized | errors.Forbidden | None = None
    while left:
        for portion in _portions(left, encodings):
            if denial is not None:
                outcomes.update(dict.fromkeys(portion, denial))
                continue
            request = _batch([encodings[n] for n in portion], after_s)
            after_s = 0.0
            try:
                verdicts = _verdicts((yield request), len(portion))
            except errors.JobQueueError as failure:
                verdicts = [failure] * len(portion)
                if isinstance(failure, errors.Unauthorized | errors.Forbidden):
                    denial = failure  # of the key, so of the other portions, too
            outcomes.update(zip(portion, verdicts, strict=True))
        pauses_s = {n: patience.pause_s(passing) for n in left if (passing := _passing(outcomes[n])) is not None}
        left = [n for n, pause_s in pauses_s.items() if pause_s is not None]
        after_s = max((pause_s for pause_s in pauses_s.values() if pause_s is not None), default=0.0)
    return [outcomes[n] for n in range(len(encodings))]


def encoded(submission: Submission) -> bytes:
    """Return a submission as JSON. Raises ValueError where JSON can't say it."""
    members: dict[str, Any] = {**submission}
    return encode({name: as_seconds(member) if name.endswith("_s") else member for name, member in members.items()})


def quoted(key: str) -> str:
    """Write a key as a structured field's string (RFC 9651, section 3.3.3)."""
    if not 1 <= len(key) <= KEY_LENGTH_MAX or not key.isascii() or not key.isprintable():
        raise ValueError(f"an idempotency key has 1 to {KEY_LENGTH_MAX} printable ASCII characters, unlike {key!r}")
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _passing(outcome: str | errors.JobQueueError) -> errors.Refused | Unreachable | None:
    """Return a temporary error: nothing was kept, and the same may be sent again."""
    return outcome if isinstance(outcome, errors.Refused | Unreachable) else None


def _portions(left: list[int], jobs: list[bytes]) -> Iterator[list[int]]:
    portion: list[int] = []
    size_bytes = 0
    for n in left:
        if portion and (len(portion) == BATCH_MAX or size_bytes + len(jobs[n]) > BATCH_BYTES):
            yield portion
            portion, size_bytes = [], 0
        portion.append(n)
        size_bytes += len(jobs[n])
    yield portion


def _batch(jobs: list[bytes], after_s: float) -> Request:
    body = b'{"jobs":[' + b",".join(jobs) + b"]}"
    headers = {"Content-Type": "application/json"}
    return Request(method="POST", target="/v1/jobs:batch", headers=headers, body=body, after_s=after_s)


class _Verdict(msgspec.Struct, frozen=True):
    status: int
    id: str = ""
    problem: Problem | None = None


class _Verdicts(msgspec.Struct, frozen=True):
    jobs: tuple[_Verdict, ...]


def _verdicts(answer: Answer, count: int) -> list[str | errors.JobQueueError]:
    verdicts = taken(answer, _Verdicts).jobs
    if len(verdicts) != count:
        raise ErrorAnswer(answer.status, f"{len(verdicts)} results for {count} jobs")
    return [
        verdict.id if verdict.problem is None else error_of(verdict.status, verdict.problem) for verdict in verdicts
    ]
