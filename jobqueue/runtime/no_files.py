"""The spool where jobs have no files: servers on other machines, which run them, too, could not read these."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from jobqueue.errors import InvalidField, InvalidSubmission
from jobqueue.runtime.spool import THREADS, Share, Spool

if TYPE_CHECKING:
    from jobqueue.core.job import JobId
    from jobqueue.core.stored_file import Upload
    from jobqueue.runtime.spool import PendingUpload

NO_FILES = "jobs have no files with backend: valkey, as any of its servers may run them: pass the address of a file"


class NoFiles(Spool):
    """A spool that has threads, and no folder."""

    async def open(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="jobqueue-spool")

    def new_upload(self, share: Share | None = None) -> PendingUpload:
        raise InvalidSubmission(InvalidField(pointer="/files", detail=NO_FILES))

    def folder_of(self, job_id: JobId, upload: Upload | None) -> None:
        return None
