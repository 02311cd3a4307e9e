"""Every call of the Python client, without its I/O.

A call is a generator: it yields a `Request`, is sent the `Answer`, and returns what
the caller asked for. `client.py` carries the requests, on a loop or in a thread;
nothing here opens a connection or sleeps.
"""

from __future__ import annotations

import json
import math
import mimetypes
import os
import secrets
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from jobqueue import errors
from jobqueue.core.job import LIVE, JobState, Progress

T = TypeVar("T")
PathLike = str | os.PathLike[str]

CHUNK_BYTES = 1 << 18
IDS_MAX = 100  # ids in one `?ids=`
PAUSE_S = 1.0  # before the next try, where the server doesn't say
REFUSALS: dict[str, type[errors.Refused]] = {
    "queue-full": errors.QueueFull,
    "statuses-full": errors.StatusesFull,
    "spool-full": errors.SpoolFull,
    "rate-limited": errors.RateLimited,
    "draining": errors.Draining,
}


class ErrorAnswer(errors.JobQueueError):
    """The server answered with an error that no other type stands for."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"HTTP {status}: {detail}")
        self.status = status
        self.detail = detail


class JobError(msgspec.Struct, frozen=True):
    """Why a job failed; `code` is one of `jobqueue.core.job.ErrorCode`, or a newer server's."""

    code: str
    message: str


class JobDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What the server tells of a job."""

    id: str
    type: str
    queue: str
    state: JobState
    attempt: int
    attempts_max: int
    priority: int
    group: str | None
    created_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    progress: Progress | None
    position: int | None
    eta_s: float | None
    poll_after_ms: int | None
    result: Any
    error: JobError | None

    @property
    def over(self) -> bool:
        return self.state not in LIVE


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a HEAD tells; `code` is 202 while the job lives and 200 once it is over."""

    code: int
    state: JobState
    etag: str | None
    retry_after_s: float | None

    @property
    def over(self) -> bool:
        return self.state not in LIVE


class JobPage(msgspec.Struct, frozen=True):
    """Some jobs, newest first; `next_cursor` begins the next page (None: that was all)."""

    jobs: tuple[JobDocument, ...]
    next_cursor: str | None


class SubmitOptions(TypedDict, total=False):
    """What a submission may say beside its type and arguments."""

    queue: str
    priority: int
    delay_s: float
    run_at: datetime
    start_by_s: float
    timeout_s: float
    attempts_max: int
    group: str
    ttl_s: float


class ListFilter(TypedDict, total=False):
    """What a listed job must match, and where its page begins."""

    state: str
    type: str
    queue: str
    group: str
    limit: int
    cursor: str


class Multipart:
    """A multipart/form-data body (RFC 7578), read from its files while it is sent."""

    def __init__(self, job: bytes, files: Mapping[str, PathLike]) -> None:
        self.boundary = secrets.token_hex(16)
        self._start = self._head('name="job"', "application/json") + job
        self._files = [
            (self._file_head(name, Path(path)), Path(path), os.path.getsize(path)) for name, path in files.items()
        ]
        self._end = f"\r\n--{self.boundary}--\r\n".encode()
        self.size_bytes = len(self._start) + sum(len(head) + size for head, _, size in self._files) + len(self._end)

    def chunks(self) -> Iterator[bytes]:
        """Read the body, from its beginning.

        Raises:
            OSError: A file can't be read, or is shorter than it was.
        """
        yield self._start
        for head, path, size in self._files:
            yield head
            with path.open("rb") as file:
                while size:
                    chunk = file.read(min(size, CHUNK_BYTES))
                    if not chunk:
                        raise OSError(f"{path} shrank while it was sent: its last {size} bytes are missing")
                    size -= len(chunk)
                    yield chunk
        yield self._end

    def _file_head(self, name: str, path: Path) -> bytes:
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return b"\r\n" + self._head(f'name="{_quoted(name)}"; filename="{_quoted(path.name)}"', media_type)

    def _head(self, names: str, media_type: str) -> bytes:
        lines = (
            f"--{self.boundary}",
            f"Content-Disposition: form-data; {names}",
            f"Content-Type: {media_type}",
            "",
            "",
        )
        return "\r\n".join(lines).encode()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, after a pause of `after_s`; a 200's body goes to the file `save_to`, if one is named."""

    method: str
    target: str
    headers: Mapping[str, str] = {}
    body: bytes | Multipart | None = None
    after_s: float = 0.0
    save_to: Path | None = None


class Answer(msgspec.Struct, frozen=True):
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after_s(self) -> float | None:
        seconds = self.headers.get("retry-after", "")
        return float(seconds) if seconds.isdecimal() else None


Steps = Generator[Request, Answer, T]


def submit(
    type: str,
    args: Mapping[str, Any] | None,
    files: Mapping[str, PathLike] | None,
    retry_for_s: float,
    options: SubmitOptions,
) -> Steps[JobDocument]:
    submission: dict[str, Any] = {"type": type, "args": args or {}, **options}
    if isinstance(submission.get("run_at"), datetime):
        submission["run_at"] = submission["run_at"].isoformat()
    # The standard library's encoder, because it refuses NaN where faster ones send null.
    job = json.dumps(submission, allow_nan=False, ensure_ascii=False).encode()
    body: bytes | Multipart = Multipart(job, files) if files else job
    media_type = f"multipart/form-data; boundary={body.boundary}" if isinstance(body, Multipart) else "application/json"
    request = Request(method="POST", target="/v1/jobs", headers={"Content-Type": media_type}, body=body)
    give_up_at = time.monotonic() + retry_for_s
    while True:
        try:
            return _document((yield request))
        except errors.Refused as refused:
            if time.monotonic() + refused.retry_after_s > give_up_at:
                raise
            request = msgspec.structs.replace(request, after_s=refused.retry_after_s)


def status(id: str) -> Steps[JobStatus]:
    answer = yield Request(method="HEAD", target=_job(id))
    if answer.status not in (200, 202):
        answer = yield Request(method="GET", target=_job(id))  # only a body tells why
    if answer.status not in (200, 202):
        raise _error(answer)
    try:
        state = JobState(answer.headers.get("job-state", ""))
    except ValueError as error:
        raise ErrorAnswer(answer.status, f"not a job's status: {error}") from error
    etag = answer.headers.get("etag")
    return JobStatus(code=answer.status, state=state, etag=etag, retry_after_s=answer.retry_after_s)


def get(id: str) -> Steps[JobDocument]:
    return _document((yield Request(method="GET", target=_job(id))))


def get_many(ids: Iterable[str]) -> Steps[dict[str, JobDocument | errors.JobQueueError]]:
    wanted = list(dict.fromkeys(ids))
    found: dict[str, JobDocument | errors.JobQueueError] = {}
    for start in range(0, len(wanted), IDS_MAX):
        query = ",".join(quote(id, safe="") for id in wanted[start : start + IDS_MAX])
        answer = yield Request(method="GET", target=f"/v1/jobs?ids={query}")
        for raw in _decoded(answer, _RawJobs).jobs:
            missing = msgspec.json.decode(raw, type=_Missing)
            if missing.problem is None:
                found[missing.id] = msgspec.json.decode(raw, type=JobDocument)
            else:
                found[missing.id] = _error_of(missing.status, missing.problem, None)
    return found


def wait(id: str, timeout_s: float | None) -> Steps[JobDocument]:
    give_up_at = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
    request = Request(method="GET", target=_job(id))
    state, pause_s = "unread", PAUSE_S
    while True:
        answer = yield request
        if answer.status == 304:
            pause_s = answer.retry_after_s or pause_s
        else:
            try:
                job = _document(answer)
            except errors.Refused as refused:  # the server is too busy to tell
                pause_s = refused.retry_after_s
            else:
                if job.over:
                    return job
                state = job.state.value
                pause_s = job.poll_after_ms / 1000 if job.poll_after_ms else answer.retry_after_s or PAUSE_S
                if "etag" in answer.headers:
                    request = msgspec.structs.replace(request, headers={"If-None-Match": answer.headers["etag"]})
        left_s = give_up_at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"job {id} is still {state} after {timeout_s} s")
        request = msgspec.structs.replace(request, after_s=min(pause_s, left_s))


def result(id: str, to: PathLike | None) -> Steps[Any]:
    path = None if to is None else Path(to)
    answer = _good((yield Request(method="GET", target=f"{_job(id)}/result", save_to=path)))
    if path is not None:
        return path
    media_type = answer.headers.get("content-type", "")
    if media_type.partition(";")[0].strip() != "application/json":
        raise ValueError(f"the result of job {id} is a file of {media_type or 'no media type'}: fetch it with to=path")
    return msgspec.json.decode(answer.body)


def cancel(id: str) -> Steps[JobDocument]:
    return _document((yield Request(method="POST", target=f"{_job(id)}:cancel")))


def delete(id: str) -> Steps[None]:
    _good((yield Request(method="DELETE", target=_job(id))))


def queues() -> Steps[tuple[dict[str, Any], ...]]:
    return _decoded((yield Request(method="GET", target="/v1/queues")), _Queues).queues


def page(filters: ListFilter) -> Steps[JobPage]:
    return _decoded((yield Request(method="GET", target=f"/v1/jobs?{urlencode(filters)}")), JobPage)


class _Fault(msgspec.Struct, frozen=True):
    pointer: str
    detail: str


class _Problem(msgspec.Struct, frozen=True):
    """A problem document (RFC 9457) with the members that this server adds."""

    type: str = ""
    title: str = ""
    detail: str = ""
    reason: str = "unknown"
    state: str | None = None
    errors: tuple[_Fault, ...] = ()


class _Missing(msgspec.Struct, frozen=True):
    id: str
    status: int = 0
    problem: _Problem | None = None


class _RawJobs(msgspec.Struct, frozen=True):
    jobs: tuple[msgspec.Raw, ...]


class _Queues(msgspec.Struct, frozen=True):
    queues: tuple[dict[str, Any], ...]


def _document(answer: Answer) -> JobDocument:
    return _decoded(answer, JobDocument)


def _decoded(answer: Answer, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(_good(answer).body, type=kind)
    except msgspec.DecodeError as error:
        raise ErrorAnswer(answer.status, f"not what this server's API says: {error}") from error


def _good(answer: Answer) -> Answer:
    if 200 <= answer.status < 300:
        return answer
    raise _error(answer)


def _error(answer: Answer) -> errors.JobQueueError:
    try:
        problem = msgspec.json.decode(answer.body, type=_Problem)
    except msgspec.DecodeError:  # not this server's: a proxy's, perhaps
        problem = _Problem(detail=answer.body[:200].decode(errors="replace"))
    return _error_of(answer.status, problem, answer)


def _error_of(status: int, problem: _Problem, answer: Answer | None) -> errors.JobQueueError:
    name = problem.type.rpartition("/")[2]
    detail = problem.detail or problem.title or "no detail"
    match status:
        case 404:
            return errors.JobNotFound(detail)
        case 410:
            return errors.JobGone(problem.reason)
        case 409 if state := problem.state or (answer and answer.headers.get("job-state")):
            return errors.WrongState(detail, state=state)
        case 422:
            faults = (errors.InvalidField(pointer=fault.pointer, detail=fault.detail) for fault in problem.errors)
            return (errors.UnknownType if name == "unknown-type" else errors.InvalidSubmission)(*faults)
        case 429 | 503:
            refusal = REFUSALS.get(name, errors.RateLimited if status == 429 else errors.Refused)
            return refusal(detail, retry_after_s=(answer and answer.retry_after_s) or PAUSE_S)
        case _:
            return ErrorAnswer(status, detail)


def _job(id: str) -> str:
    return f"/v1/jobs/{quote(id, safe='')}"


def _quoted(name: str) -> str:
    # As browsers escape it (HTML, "multipart/form-data encoding algorithm").
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
