"""Copies files of this process into the spool, under the limits that uploads have, too."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from jobqueue.errors import InvalidField, InvalidSubmission
from jobqueue.files.source import sources_of
from jobqueue.runtime.spool import WRITE_BYTES

if TYPE_CHECKING:
    from jobqueue.files.source import Files
    from jobqueue.runtime.spool import PendingUpload


async def copy_into(upload: PendingUpload, files: Files, *, files_max: int, bytes_max: int) -> None:
    """Copy files into an upload, beside the loop.

    Args:
        files_max, bytes_max: Maximum number of files, and of bytes together, of one job.

    Raises:
        InvalidSubmission: They are more, or larger.
        SpoolFull: The spool or its disk has no room for them.
        TypeError, ValueError, OSError: A value is no file, or can't be read.
    """
    in_thread = upload.spool.in_thread
    sources = await in_thread(partial(sources_of, files))
    if len(sources) > files_max:
        raise _fault(f"a job may have at most {files_max} files (limits.files), not {len(sources)}")
    size_bytes = sum(source.size_bytes for source in sources)
    if size_bytes > bytes_max:
        raise _fault(f"the files have {size_bytes} bytes together, and {bytes_max} are allowed (limits.files_bytes)")
    upload.spool.check_room(size_bytes)
    for source in sources:
        file = upload.new_file(source.part, source.media_type, source.filename)
        chunks = source.chunks(WRITE_BYTES)
        while (chunk := await in_thread(partial(next, chunks, None))) is not None:
            await file.write(chunk)
        await file.finish()


def _fault(detail: str) -> InvalidSubmission:
    return InvalidSubmission(InvalidField(pointer="/files", detail=detail))
