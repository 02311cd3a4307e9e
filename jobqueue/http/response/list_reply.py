"""Lists of jobs: their entity tags and their documents, in the form common to both HTTP paths."""

from __future__ import annotations

from hashlib import blake2b
from http import HTTPStatus
from typing import TYPE_CHECKING

from jobqueue.http.response.documents import list_document, missing_document
from jobqueue.http.response.reply import COMMON, JSON, RESULT_BYTES_MAX, Reply, names_tag, reply_head

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobqueue.core.job_view import AnyJob
    from jobqueue.errors import JobQueueError
    from jobqueue.service import Service

    Listed = AnyJob | tuple[str, JobQueueError]
    """A job, or an id without a record, and why there is none."""

IDS_END = b"]}"
"""The end of a list of given ids, which has no next page."""


def list_tag(listed: Iterable[Listed], end: bytes) -> str:
    """Return the opaque tag of a list: which jobs are in it, in which version each, and where the next page begins."""
    digest = blake2b(end, digest_size=12)
    for job in listed:
        line = f"{job[0]} {job[1]!r}\n" if isinstance(job, tuple) else f"{job.id} {job.version}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
    return f'"{digest.hexdigest()}"'


def list_reply(listed: Sequence[Listed], documents: Sequence[bytes], end: bytes, known_tags: tuple[str, ...]) -> Reply:
    """Return the reply with a list.

    Args:
        documents: Of all jobs.
        end: The end of the document.
        known_tags: The tags that the request names, as `opaque_tags` returns them.
    """
    opaque_tag = list_tag(listed, end)
    told = {"ETag": f"W/{opaque_tag}"}
    if names_tag(known_tags, opaque_tag):
        return Reply(reply_head(HTTPStatus.NOT_MODIFIED, {**COMMON, **told}))
    body = b'{"jobs":[%b%b' % (b",".join(documents), end)
    return Reply(reply_head(HTTPStatus.OK, {**JSON, **told}), 0, body, len(body) + 1)


def fitting(listed: Sequence[Listed], service: Service) -> tuple[int, list[bytes]]:
    """Return the number of first jobs that fit into one response, and their documents."""
    documents: list[bytes] = []
    room_bytes = RESULT_BYTES_MAX
    for job in listed:
        if not isinstance(job, tuple) and len(job.result or b"") > room_bytes:
            break
        document = listed_document(job, service)
        room_bytes -= len(document)
        if room_bytes < 0:
            break
        documents.append(document)
    return len(documents), documents


def listed_document(job: Listed, service: Service) -> bytes:
    """Return the document of a job within a list."""
    if isinstance(job, tuple):
        return missing_document(*job)
    estimate = service.backend.estimate(job) if job.live else None
    return list_document(job, service, estimate)
