"""Files of restored jobs: where they are now, and which of them are missing."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.job import FAILED
from jobqueue.core.report import ErrorCode, JobError
from jobqueue.core.stored_file import Upload

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from jobqueue.core.job import Job
    from jobqueue.core.stored_file import StoredFile

LOST = "files of the job were not in the journal's folder any more, or cut short, when the server started"


def move_to(folder: Path, jobs: Iterable[Job]) -> None:
    """Let the paths of jobs' files lie below a folder: that of the journal may have been moved, or copied."""
    for job in jobs:
        if job.upload is not None:
            files = {
                name: tuple(_below(folder, file) for file in several) for name, several in job.upload.files.items()
            }
            job.upload = Upload(str(folder / os.path.basename(job.upload.folder)), files)
        if job.file is not None:
            job.file = _below(folder, job.file)


def with_missing(jobs: Iterable[Job]) -> list[Job]:
    """Return the live jobs with files that are missing, or cut short. Looks at the disk.

    With `sync: interval` the record of a job may be on disk where its files are not yet. They may be longer: a handler
    may write to them.
    """
    return [job for job in jobs if job.live and job.upload is not None and not _are_there(job.upload)]


def fail(job: Job, now: float) -> None:
    """Let a live job have failed, for its files are missing."""
    job.version += 1
    job.state, job.finished_at, job.error = FAILED, now, JobError(ErrorCode.FILES_LOST, LOST)


def _below(folder: Path, file: StoredFile) -> StoredFile:
    own, name = os.path.split(file.path)
    return msgspec.structs.replace(file, path=str(folder / os.path.basename(own) / name))


def _are_there(upload: Upload) -> bool:
    return all(_is_whole(file) for files in upload.files.values() for file in files)


def _is_whole(file: StoredFile) -> bool:
    try:
        status = os.stat(file.path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size >= file.size_bytes
