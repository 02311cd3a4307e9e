"""Calls on existing jobs: reading and changing one or many."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

from jobqueue import errors
from jobqueue.api_limits import IDS_MAX
from jobqueue.client.documents import document, job_path, list_path, listed
from jobqueue.client.models import BulkCount, JobDocument, JobFilter, JobPage, JobStatus, ListFilter, PathLike
from jobqueue.client.protocol import (
    ErrorAnswer,
    Request,
    Steps,
    decoded,
    error_in,
    good,
)
from jobqueue.core.job import LIVE, JobState
from jobqueue.duration import as_seconds
from jobqueue.encoder import encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobqueue.client.models import FailureFilter, Include


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


def get(id: str, include: Iterable[Include] = ()) -> Steps[JobDocument]:
    names = ",".join(include)
    query = f"?include={quote(names, safe=',')}" if names else ""
    return document((yield Request(method="GET", target=job_path(id) + query)))


def get_many(ids: Iterable[str]) -> Steps[dict[str, JobDocument | errors.JobQueueError]]:
    wanted = list(dict.fromkeys(ids))
    found: dict[str, JobDocument | errors.JobQueueError] = {}
    for start in range(0, len(wanted), IDS_MAX):
        answer = yield Request(method="GET", target=list_path(wanted[start : start + IDS_MAX]))
        found.update(listed(answer))
    return found


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


def bulk(action: Literal["retry", "cancel", "delete", "run"], job_filter: JobFilter) -> Steps[BulkCount]:
    body = encode({name: as_seconds(member) for name, member in job_filter.items()})
    headers = {"Content-Type": "application/json"}
    return decoded((yield Request(method="POST", target=f"/v1/jobs:{action}", headers=headers, body=body)), BulkCount)


def page(filters: ListFilter) -> Steps[JobPage]:
    return decoded((yield Request(method="GET", target=f"/v1/jobs?{urlencode(query_of(filters))}")), JobPage)


def query_of(filters: ListFilter | FailureFilter) -> dict[str, object]:
    """Return the parameters of a list, of jobs or of groups of failures."""
    query: dict[str, object] = dict(filters)
    for path, value in filters.get("args", {}).items():
        query[f"arg.{path}"] = encode(value).decode()  # as JSON, so that "17" is no number
    if "message" in filters:
        query["message~"] = filters["message"]
    if "count" in filters:
        query["count"] = int(bool(query["count"]))
    for name in ("since", "until"):
        if isinstance(instant := query.get(name), datetime):
            query[name] = instant.isoformat()
    return {name: value for name, value in query.items() if name not in ("args", "message")}
