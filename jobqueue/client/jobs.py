"""Calls on existing jobs: reading, waiting, changing one or many."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from jobqueue import errors
from jobqueue.api_limits import IDS_MAX
from jobqueue.client.models import BulkCount, JobDocument, JobFilter, JobPage, JobStatus, ListFilter, PathLike
from jobqueue.client.prefer import SLACK_S, waited_out
from jobqueue.client.protocol import (
    PAUSE_S,
    Answer,
    ErrorAnswer,
    NoAnswer,
    Patience,
    Problem,
    Request,
    Steps,
    decoded,
    error_in,
    error_of,
    good,
)
from jobqueue.client.retry_after import PAUSE_S_MIN, pause_s_of
from jobqueue.core.job import LIVE, JobState
from jobqueue.duration import as_seconds
from jobqueue.encoder import encode

if TYPE_CHECKING:
    from collections.abc import Iterable

WAIT_S_MAX = 25  # asked for in one request: well under the 30 to 60 s after which proxies and balancers give up


def status(id: str) -> Steps[JobStatus]:
    answer = yield Request(method="HEAD", target=job_path(id))
    if answer.status not in (200, 202):
        answer = yield Request(method="GET", target=job_path(id))  # only a body has the reason
    if answer.status not in (200, 202):
        raise error_in(answer)
    try:
        state = JobState(answer.headers.get("job-state", ""))
    except ValueError as error:
        raise ErrorAnswer(answer.status, f"not a job status: {error}") from error
    etag = answer.headers.get("etag")
    return JobStatus(code=answer.status, state=state, etag=etag, retry_after_s=answer.retry_after_s)


def get(id: str) -> Steps[JobDocument]:
    return document((yield Request(method="GET", target=job_path(id))))


def get_many(ids: Iterable[str]) -> Steps[dict[str, JobDocument | errors.JobQueueError]]:
    wanted = list(dict.fromkeys(ids))
    found: dict[str, JobDocument | errors.JobQueueError] = {}
    for start in range(0, len(wanted), IDS_MAX):
        query = ",".join(quote(id, safe="") for id in wanted[start : start + IDS_MAX])
        answer = yield Request(method="GET", target=f"/v1/jobs?ids={query}")
        for raw in decoded(answer, _RawJobs).jobs:
            part = msgspec.structs.replace(answer, body=bytes(raw))
            missing = decoded(part, _Missing)
            if missing.problem is None:
                found[missing.id] = decoded(part, JobDocument)
            else:
                found[missing.id] = error_of(missing.status, missing.problem)
    return found


def wait(id: str, timeout_s: float | None, retry_for_s: float) -> Steps[JobDocument]:
    job = yield from until_over(id, timeout_s, retry_for_s)
    if job is None or not job.over:
        raise TimeoutError(f"job {id} is still {job.state if job else 'unread'} after {timeout_s:g} s")
    return job


def until_over(
    id: str, timeout_s: float | None, retry_for_s: float, known: JobDocument | None = None
) -> Steps[JobDocument | None]:
    """Wait for a job's end; return its newest document, terminal or not, and None if it could not be read in time.

    Args:
        retry_for_s: How long to try while the server does not answer. A wait that a proxy cut off is repeated
            at half its length.
        known: The latest document, if any.
    """
    give_up_at = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
    job, etag, after_s, pause_s, wait_s_max = known, "", 0.0, PAUSE_S, WAIT_S_MAX
    patience: Patience | None = None
    while True:
        wait_s = int(max(0.0, min(wait_s_max, give_up_at - time.monotonic() - after_s + SLACK_S)))
        headers = {**({"Prefer": f"wait={wait_s}"} if wait_s else {}), **({"If-None-Match": etag} if etag else {})}
        asked_at = time.monotonic() + after_s
        request = Request(method="GET", target=job_path(id), headers=headers, after_s=after_s, quiet_s=wait_s)
        at_once = False
        try:
            answer = yield request
        except NoAnswer as failure:
            patience = patience or Patience(retry_for_s)
            asked_s = patience.pause_s(failure)
            if asked_s is None:
                raise
            pause_s = asked_s
            wait_s_max = max(1, wait_s_max // 2)
        else:
            patience = None
            if answer.status == 304:
                pause_s = answer.retry_after_s or pause_s
            else:
                try:
                    job = document(answer)
                except errors.Refused as refused:  # the server is too busy to tell
                    pause_s = refused.retry_after_s
                else:
                    if job.over:
                        return job
                    etag = answer.headers.get("etag", "")
                    pause_s = _poll_after_s(job) or answer.retry_after_s or PAUSE_S
            at_once = waited_out(answer.headers.get("preference-applied", ""), time.monotonic() - asked_at)
        left_s = give_up_at - time.monotonic()
        if left_s <= 0:
            return job
        after_s = 0.0 if at_once else min(max(PAUSE_S_MIN, pause_s), left_s)


def _poll_after_s(job: JobDocument) -> float | None:
    return None if job.poll_after_ms is None else pause_s_of(min(job.poll_after_ms, 1e9) / 1000)


def result(id: str, to: PathLike | None) -> Steps[Any]:
    path = None if to is None else Path(to)
    try:
        answer = good((yield Request(method="GET", target=f"{job_path(id)}/result", save_to=path)))
    except errors.WrongState as wrong:
        if wrong.state in LIVE:
            raise
        (yield from get(id)).unwrap()  # why it has none
        raise
    if path is not None:
        return path
    media_type = answer.headers.get("content-type", "")
    if media_type.partition(";")[0].strip() != "application/json":
        raise ValueError(f"the result of job {id} is a file of {media_type or 'no media type'}: fetch it with to=path")
    return decoded(answer, object)


def cancel(id: str) -> Steps[JobDocument]:
    return document((yield Request(method="POST", target=f"{job_path(id)}:cancel")))


def delete(id: str) -> Steps[None]:
    good((yield Request(method="DELETE", target=job_path(id))))


def retry(id: str) -> Steps[JobDocument]:
    return document((yield Request(method="POST", target=f"{job_path(id)}:retry")))


def run_now(id: str) -> Steps[JobDocument]:
    return document((yield Request(method="POST", target=f"{job_path(id)}:run")))


def bulk(action: Literal["retry", "cancel", "delete"], job_filter: JobFilter) -> Steps[BulkCount]:
    body = encode({name: as_seconds(member) for name, member in job_filter.items()})
    headers = {"Content-Type": "application/json"}
    return decoded((yield Request(method="POST", target=f"/v1/jobs:{action}", headers=headers, body=body)), BulkCount)


def page(filters: ListFilter) -> Steps[JobPage]:
    return decoded((yield Request(method="GET", target=f"/v1/jobs?{urlencode(filters)}")), JobPage)


class _Missing(msgspec.Struct, frozen=True):
    id: str
    status: int = 0
    problem: Problem | None = None


class _RawJobs(msgspec.Struct, frozen=True):
    jobs: tuple[msgspec.Raw, ...]


def job_path(id: str) -> str:
    return f"/v1/jobs/{quote(id, safe='')}"


def document(answer: Answer) -> JobDocument:
    return decoded(answer, JobDocument)
