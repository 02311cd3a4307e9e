"""A submission with files: the part `job` first, then one part for each file, streamed to the spool.

It checks the order and the limits of the parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.files.media import media_type_or_default
from jobqueue.http.errors import BodyTooLarge, MalformedRequest
from jobqueue.http.request.body import BodyDeadline
from jobqueue.http.request.idempotency import content_digest
from jobqueue.http.request.json_body import decode_submission
from jobqueue.http.request.multipart import FormReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.config import LimitsSettings
    from jobqueue.handlers import Submission
    from jobqueue.http.request.body import Bodies
    from jobqueue.http.request.idempotency import Fingerprint
    from jobqueue.http.request.receiving import Body
    from jobqueue.runtime.spool import PendingUpload


async def receive(
    body: Body,
    content_type: str,
    limits: LimitsSettings,
    bodies: Bodies,
    upload: PendingUpload,
    check: Callable[[Submission], object],
    fingerprint: Fingerprint | None = None,
) -> Submission:
    """Read a form: return its submission, and add its files to `upload`.

    Args:
        content_type: The request's header, with the form's boundary.
        check: Checks the submission before any file is read, so that an invalid one costs no upload.
        fingerprint: Updated with the job part and each file.

    Raises:
        MalformedRequest, MalformedJson, InvalidSubmission: The form is invalid.
        BodyTooLarge, BodyTooSlow, Overloaded, SpoolFull: It is too large, or too slow.
    """
    form = FormReader(body, content_type)
    async with BodyDeadline(limits.body_timeout_s) as deadline:
        part = await form.next_part()
        if part is None or part.name != "job":
            raise MalformedRequest('the first part must have the name "job" and hold the submission; files follow it')
        job_part = await bodies.gather(form.read)
        submission = decode_submission(job_part)
        check(submission)
        if fingerprint is not None:
            fingerprint.add(job_part)
        # Its arguments are held while the files are received.
        job_bytes, job_part = len(job_part), b""
        files_bytes = 0
        while (part := await form.next_part()) is not None:
            if part.name == "job":
                raise MalformedRequest("duplicate part 'job'; a form contains one submission")
            if upload.count == limits.files:
                raise BodyTooLarge(f"a job may have at most {limits.files} files")
            media_type = media_type_or_default(part.media_type)
            file = upload.new_file(part.name, media_type, part.filename)
            content = content_digest() if fingerprint is not None else None
            while chunk := await form.read():
                files_bytes += len(chunk)
                if files_bytes > limits.files_bytes:
                    raise BodyTooLarge(f"the files have more than {limits.files_bytes} bytes together")
                deadline.extend_for(files_bytes)
                if content is not None:
                    content.update(chunk)
                await file.write(chunk)
                body.keep(job_bytes + form.buffered_bytes + file.buffered_bytes)
            await file.finish()
            if fingerprint is not None and content is not None:
                fingerprint.add_file(part.name, part.filename, media_type, content.digest())
    return submission
