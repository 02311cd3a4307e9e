"""Documents of jobs in answers, and the paths that they are read from."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from jobqueue.client.models import JobDocument
from jobqueue.client.protocol import Answer, ErrorAnswer, Problem, decoded, error_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobqueue.errors import JobQueueError


def job_path(id: str) -> str:
    return f"/v1/jobs/{quote(id, safe='')}"


def list_path(ids: Iterable[str]) -> str:
    return f"/v1/jobs?ids={','.join(quote(id, safe='') for id in ids)}"


def document(answer: Answer) -> JobDocument:
    return decoded(answer, JobDocument)


def listed(answer: Answer) -> Iterator[tuple[str, JobDocument | JobQueueError]]:
    """Yield the jobs of a list by ids: the id, and its document or the error that stands in its place."""
    for raw in decoded(answer, _RawJobs).jobs:
        part = msgspec.structs.replace(answer, body=bytes(raw))
        missing = decoded(part, _Missing)
        if missing.problem is None:
            yield missing.id, document(part)
        else:
            yield missing.id, error_of(missing.status, missing.problem)


def one_of_list(answer: Answer, id: str) -> JobDocument:
    """Return the only job of a list. Raises the error in its place, and ErrorAnswer if it is another list."""
    jobs = dict(listed(answer))
    if list(jobs) != [id]:
        raise ErrorAnswer(answer.status, f"a list of {len(jobs)} jobs instead of the one that was asked for")
    job = jobs[id]
    if isinstance(job, JobDocument):
        return job
    raise job


class _Missing(msgspec.Struct, frozen=True):
    id: str
    status: int = 0
    problem: Problem | None = None


class _RawJobs(msgspec.Struct, frozen=True):
    jobs: tuple[msgspec.Raw, ...]
