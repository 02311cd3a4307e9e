"""The spool beside a journal: files outlive the process, as the records of their jobs do.

Rules:

1. All is in one folder, which the journal has locked. A clean stop leaves it as it is.
2. Files are on disk before the record that names them (with `journal.sync: always`): so a record has its files.
3. Files are removed once it is kept that their job does not need them: a crash before that brings the job back, and it
   may run again.
4. After a start, files that no record needs are removed. Those of a broken-off upload, of a job that was withdrawn, or
   of one that had just ended, are left by a crash.
"""

from __future__ import annotations

import asyncio
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from jobqueue.core.events import Submitted
from jobqueue.errors import ConfigError, SpoolFull
from jobqueue.log import event_logger
from jobqueue.runtime.spool import JOB_PREFIX, RETRY_AFTER_S, THREADS, UPLOAD_PREFIX, Doomed, Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from jobqueue.config import SpoolSettings
    from jobqueue.core.events import Event
    from jobqueue.core.job import Job
    from jobqueue.errors import JournalFailed
    from jobqueue.runtime.spool import PendingUpload, Share

AGAIN_S = 10.0
"""How long files are left that can't be removed, since nothing is kept; then it is tried again."""

log = event_logger(__name__)


class KeptSpool(Spool):
    """The files of jobs that outlive the process.

    Args:
        settings: Its `dir` counts for nothing.
        folder: Of the files; this process alone uses it.
        syncs: Files have to be on disk before their record is.
        when_kept: As `Keeper.when_kept`.
    """

    def __init__(
        self,
        settings: SpoolSettings,
        folder: Path,
        *,
        syncs: bool,
        when_kept: Callable[[Callable[[JournalFailed | None], None]], None],
    ) -> None:
        super().__init__(settings)
        self._run = folder
        self._syncs = syncs
        self._when_kept = when_kept
        # What is left since nothing could be kept, until it is tried again.
        self._left: list[Doomed] = []
        # Uploads that no job has yet, by folder.
        self._received: dict[str, PendingUpload] = {}
        self._subscribe: Callable[..., Callable[[], None]] = _no_events
        self._end_following: Callable[[], None] = _nothing

    async def open(self) -> None:
        """Make the folder, unless it is there. Raises ConfigError if it can't be used."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="jobqueue-spool")
        try:
            await self.in_thread(partial(_make, self.folder))
        except OSError as error:
            raise ConfigError(f"journal.dir: the folder {self.folder} can't be used: {error.strerror}") from error

    async def close(self) -> None:
        if self._threads is None:
            return
        if self._removing is not None:
            await self._removing
        self._threads.shutdown(wait=False)
        self._threads = None

    async def settle(self, folder: str) -> None:
        if not self._syncs:
            return
        try:
            await self.in_thread(partial(_sync_all, folder))
        except OSError as error:
            self.errors_total += 1
            log.sampled("spool.write_failed", reason=str(error))
            detail = f"the spool can't take the files now: {error.strerror}"
            raise SpoolFull(detail, retry_after_s=RETRY_AFTER_S) from error

    async def adopt(self, jobs: Iterable[Job]) -> None:
        """Count the files of restored jobs, and remove all others."""
        known = set()
        for job in jobs:
            folder, size_bytes = self._restored(job)
            known.add(os.path.basename(folder))
            if job.upload is not None and job.caller is not None:
                self._caller_of[folder] = job.caller
            self._count(folder, size_bytes)
            if job.upload is None:
                self._handed[job.id] = folder
            if not job.live:
                self._end(job)
        for name in await self.in_thread(partial(os.listdir, self.folder)):
            if name not in known and name.startswith((UPLOAD_PREFIX, JOB_PREFIX)):
                self._remove(Doomed(str(self.folder / name)))

    def new_upload(self, share: Share | None = None) -> PendingUpload:
        upload = super().new_upload(share)
        if not self._received:
            self._end_following = self._subscribe(self._on_submitted, Submitted)
        self._received[upload.folder] = upload
        return upload

    def discard(self, folder: str) -> None:
        self._take(folder)
        super().discard(folder)

    def follow(self, subscribe: Callable[..., Callable[[], None]]) -> None:
        super().follow(subscribe)
        self._subscribe = subscribe
        if self._received:  # while jobs were recovered, which none of these have
            self._end_following = subscribe(self._on_submitted, Submitted)

    def _on_submitted(self, event: Submitted) -> None:
        """Let a new job have its files. Heard only while there are some: each job is submitted."""
        upload = event.job.upload
        if upload is not None and (received := self._take(upload.folder)) is not None:
            received.keep()

    def _take(self, folder: str) -> PendingUpload | None:
        """Take what was received in this folder, if no job has it yet."""
        received = self._received.pop(folder, None)
        if received is not None and not self._received:
            self._end_following()
        return received

    def _remove(self, doomed: Doomed) -> None:
        self._when_kept(partial(self._on_kept, [doomed]))

    def _on_kept(self, doomed: list[Doomed], error: JournalFailed | None) -> None:
        if self._threads is None:
            return
        if error is None:
            for each in doomed:
                super()._remove(each)
            return
        if not self._left:
            asyncio.get_running_loop().call_later(AGAIN_S, self._again)
        self._left += doomed

    def _again(self) -> None:
        left, self._left = self._left, []
        if self._threads is not None:
            self._when_kept(partial(self._on_kept, left))

    def _restored(self, job: Job) -> tuple[str, int]:
        """Return the folder of a job's files, and the bytes of those that it still has."""
        if job.upload is not None and (job.live or job.keeps_args):
            files = [file for several in job.upload.files.values() for file in several]
            return job.upload.folder, sum(file.size_bytes for file in files)
        size_bytes = 0 if job.file is None else job.file.size_bytes
        return str(self.folder / f"{JOB_PREFIX}{job.id}") if job.upload is None else job.upload.folder, size_bytes


def _nothing() -> None: ...


def _no_events(listener: Callable[[Any], None], *kinds: type[Event]) -> Callable[[], None]:
    return _nothing


def _make(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        _sync(str(folder.parent))
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(20, "it must be a folder")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def _sync_all(folder: str) -> None:
    """Wait until the files of a folder, and their names, are on disk."""
    for name in os.listdir(folder):
        _sync(os.path.join(folder, name))
    _sync(folder)
    _sync(os.path.dirname(folder))


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
