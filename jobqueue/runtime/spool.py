"""The spool: the folder of uploaded files and handlers' result files, bounded in bytes.

It has one folder for each run of a server, and in it one folder for each job with files. Rules:

1. No client's name becomes part of a path.
2. Files of rejected or broken-off uploads are removed. A job's inputs go when it ends (a failed
   job keeps them for a retry), its result file goes with its record, everything with the run.
3. A run holds a lock on its folder, so that another can tell the folders of dead runs, and remove
   them. (`systemd-tmpfiles` leaves locked folders alone, too.)
4. The disk is never waited for on the loop; `folder_of` and `on_event` touch no disk.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from jobqueue.context import RESULT_PREFIX
from jobqueue.core.events import Ended, Evicted
from jobqueue.core.job import JobState
from jobqueue.core.stored_file import StoredFile, Upload
from jobqueue.errors import ConfigError, RateLimited, SpoolFull
from jobqueue.files.uploaded import safe_filename
from jobqueue.log import event_logger
from jobqueue.paths import written_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jobqueue.config import SpoolSettings
    from jobqueue.core.events import Event
    from jobqueue.core.job import Job, JobId

T = TypeVar("T")

WRITE_BYTES = 64 * 1024
"""Bytes of an uploaded file that are buffered before a thread writes them."""

RETRY_AFTER_S = 10.0
STRANGE_TOLD_MAX = 10
THREADS = 4
UPLOAD_PREFIX = "up-"
JOB_PREFIX = "job-"
_RUN_PREFIX = "run-"

log = event_logger(__name__)


class Doomed(NamedTuple):
    """A folder to be cleared of all but the files in `keep`; it is removed itself if there are none.

    `attempt` is that of a failed job: its folder stays, and so do the result files of later attempts.
    """

    folder: str
    keep: frozenset[str] = frozenset()
    attempt: int | None = None

    def contents(self) -> list[str]:
        """Return the paths to remove."""
        if not self.keep and self.attempt is None:
            return [self.folder]
        return [os.path.join(self.folder, name) for name in os.listdir(self.folder) if not self._stays(name)]

    def _stays(self, name: str) -> bool:
        if name in self.keep or self.attempt is None:
            return name in self.keep
        number = name.removeprefix(RESULT_PREFIX)
        return number != name and number.isdecimal() and int(number) > self.attempt


class Share(NamedTuple):
    """The uploaded files of one caller: the bytes that they may have together; None: they are not bounded."""

    caller: str
    bytes_max: int | None


class Found(NamedTuple):
    """Folders of dead runs, and entries that have such a name but are none, each with a reason."""

    dead: list[Path]
    strange: list[tuple[Path, str]]


class Spool:
    """The files of one run. Every method is for the loop's thread, except `folder_of`."""

    def __init__(self, settings: SpoolSettings) -> None:
        self._dir = settings.dir
        self._bytes_max = settings.bytes_max
        self._bytes_used = 0
        self.errors_total = 0
        # Bytes by folder: of each upload, and of each job that has files.
        self._held: dict[str, int] = {}
        # The caller of each upload, and what each of them has.
        self._caller_of: dict[str, str] = {}
        self._by_caller: dict[str, int] = {}
        # The folder that a job's handler knows: an abandoned one may write to it even after the job's end.
        self._handed: dict[JobId, str] = {}
        self._run: Path | None = None
        self._lock_fd = -1
        self._threads: ThreadPoolExecutor | None = None
        self._doomed: list[Doomed] = []
        self._removing: asyncio.Task[None] | None = None

    @property
    def bytes_used(self) -> int:
        """Bytes of the files of held jobs and of uploads in progress."""
        return self._bytes_used

    @property
    def folder(self) -> Path:
        """This run's folder."""
        assert self._run is not None, "the spool is not open"
        return self._run

    async def open(self) -> None:
        """Make this run's folder, and remove those of dead runs. Raises ConfigError if `spool.dir` can't be used."""
        try:
            base = written_path(self._dir or tempfile.gettempdir()) / f"jobqueue-{os.geteuid()}"
        except ValueError as error:
            raise ConfigError(f"spool.dir: {error}") from error
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="jobqueue-spool")
        try:
            self._run, self._lock_fd, found = await self.in_thread(partial(_claim_run, base))
        except OSError as error:
            raise ConfigError(f"spool.dir: the folder {base} can't be used: {error.strerror}") from error
        for folder in found.dead:
            self._remove(Doomed(str(folder)))
        for path, reason in found.strange[:STRANGE_TOLD_MAX]:
            log.warning("spool.entry_ignored", path=str(path), reason=reason, count=len(found.strange))

    async def close(self) -> None:
        """Remove this run's folder with everything in it."""
        if self._threads is None:
            return
        if self._removing is not None:
            await self._removing
        if self._run is not None:
            await self.in_thread(partial(shutil.rmtree, self._run, ignore_errors=True))
            os.close(self._lock_fd)
            self._run = None
        self._threads.shutdown(wait=False)
        self._threads = None

    async def adopt(self, jobs: Iterable[Job]) -> None:
        """Count the files of restored jobs, and remove all others: here there are none yet."""

    async def settle(self, folder: str) -> None:
        """Wait until a folder's files are as durable as their record is going to be: here they end with the process.

        Raises:
            SpoolFull: The disk can't take them.
        """

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Run something that touches the disk, beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    # -- uploads

    def check_room(self, size_bytes: int) -> None:
        """Raise SpoolFull if there is no room for this many bytes."""
        if self._bytes_used + size_bytes > self._bytes_max:
            detail = f"the spool holds {self._bytes_used} of {self._bytes_max} bytes of files"
            raise SpoolFull(detail, retry_after_s=RETRY_AFTER_S)

    def check_share(self, share: Share, size_bytes: int) -> None:
        """Raise RateLimited if a caller would have more bytes of uploaded files than it may."""
        held_bytes = self._by_caller.get(share.caller, 0)
        if share.bytes_max is not None and held_bytes + size_bytes > share.bytes_max:
            detail = f"this caller has {held_bytes} of {share.bytes_max} bytes of uploaded files, its limit"
            raise RateLimited(f"{detail} (limits.caller_spool_bytes_max)", retry_after_s=RETRY_AFTER_S)

    def new_upload(self, share: Share | None = None) -> PendingUpload:
        """Begin to receive a submission's files; leaving the `async with` removes them, unless they were kept.

        Args:
            share: Of the caller; None: it is the application itself.
        """
        return PendingUpload(self, str(self.folder / f"{UPLOAD_PREFIX}{secrets.token_urlsafe(16)}"), share)

    def reserve(self, folder: str, size_bytes: int, share: Share | None = None) -> None:
        """Count bytes that are about to be written below `folder`. Raises SpoolFull, RateLimited."""
        if share is not None:
            self.check_share(share, size_bytes)
        self.check_room(size_bytes)
        if share is not None:
            self._caller_of[folder] = share.caller
        self._count(folder, size_bytes)

    def _count(self, folder: str, change_bytes: int) -> None:
        """Count the change of a folder, for its caller, too."""
        self._bytes_used += change_bytes
        held_bytes = self._held.pop(folder, 0) + change_bytes
        caller = self._caller_of.get(folder)
        if caller is not None:
            of_caller = self._by_caller.pop(caller, 0) + change_bytes
            if of_caller:
                self._by_caller[caller] = of_caller
        if held_bytes:
            self._held[folder] = held_bytes
        else:
            self._caller_of.pop(folder, None)

    def discard(self, folder: str) -> None:
        """Remove a folder and free its bytes."""
        self._keep(folder, {})

    # -- jobs

    def folder_of(self, job_id: JobId, upload: Upload | None) -> Path | None:
        """Return the folder of a job's result file, without making it; None: it can't have one. Thread-safe."""
        folder = str(self.folder / f"{JOB_PREFIX}{job_id}") if upload is None else upload.folder
        self._handed[job_id] = folder
        return Path(folder)

    def follow(self, subscribe: Callable[..., Callable[[], None]]) -> None:
        """Follow the events of the backend. Args: subscribe: `Backend.subscribe`."""
        subscribe(self.on_event, Ended, Evicted)

    def on_event(self, event: Event) -> None:
        """Remove what the end of a job, or the loss of its record, has made useless."""
        if isinstance(event, Ended):
            if self._handed or event.job.upload is not None:
                self._end(event.job)
        elif isinstance(event, Evicted) and (self._held or self._handed):
            for job in event.jobs:
                folder = self._folder_if_any(job)
                if folder is not None:
                    self._handed.pop(job.id, None)
                    self.discard(folder)

    def _end(self, job: Job) -> None:
        folder = self._folder_if_any(job)
        if folder is None:
            return
        kept: dict[str, int] = {}
        if job.keeps_args and job.upload is not None:
            kept = {
                os.path.basename(file.path): file.size_bytes for files in job.upload.files.values() for file in files
            }
        elif job.file is not None:
            kept = {os.path.basename(job.file.path): job.file.size_bytes}
        self._keep(folder, kept, job.attempt if job.state is JobState.FAILED else None)

    def _folder_if_any(self, job: Job) -> str | None:
        return self._handed.get(job.id) if job.upload is None else job.upload.folder

    def _keep(self, folder: str, files: dict[str, int], attempt: int | None = None) -> None:
        """Remove all of a folder but these files (name and size), as `Doomed` for a failed attempt."""
        self._count(folder, sum(files.values()) - self._held.get(folder, 0))
        if files:
            self._held.setdefault(folder, 0)
        self._remove(Doomed(folder, frozenset(files), attempt))

    def _remove(self, doomed: Doomed) -> None:
        self._doomed.append(doomed)
        if self._removing is None:
            self._removing = asyncio.get_running_loop().create_task(self._remove_doomed())

    async def _remove_doomed(self) -> None:
        while self._doomed:
            batch, self._doomed = self._doomed, []
            for error in await self.in_thread(partial(_clear_all, batch)):
                self.errors_total += 1
                log.sampled("spool.remove_failed", reason=str(error))
        self._removing = None


class PendingUpload:
    """The files of a submission that is not accepted yet."""

    def __init__(self, spool: Spool, folder: str, share: Share | None = None) -> None:
        self.spool = spool
        self.folder = folder
        self.share = share
        self.files: dict[str, tuple[StoredFile, ...]] = {}
        self.count = 0
        self.writing: asyncio.Future[None] | None = None
        self._kept = False

    async def __aenter__(self) -> PendingUpload:
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            if self.writing is not None and not self.writing.done():
                # A thread still writes, although its task has been cancelled.
                await asyncio.wait({self.writing})
        finally:
            if not self._kept:
                self.spool.discard(self.folder)

    def new_file(self, part: str, media_type: str, filename: str = "") -> PendingFile:
        """Begin a file; on disk its name is its number."""
        stored = StoredFile(os.path.join(self.folder, f"file-{self.count}"), media_type, 0, safe_filename(filename))
        self.count += 1
        return PendingFile(self, part, stored)

    def received(self) -> Upload | None:
        """Return the files for a job to be submitted with; None if none came."""
        return Upload(self.folder, self.files) if self.files else None

    def keep(self) -> None:
        """Leave the files to the job that was accepted with them."""
        self._kept = True


class PendingFile:
    """One file that is being received."""

    def __init__(self, upload: PendingUpload, part: str, stored: StoredFile) -> None:
        self._upload = upload
        self._part = part
        self._stored = stored
        self._buffer = bytearray()
        self.size_bytes = 0

    @property
    def buffered_bytes(self) -> int:
        """Bytes that are not written yet."""
        return len(self._buffer)

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            SpoolFull: The spool or its disk has no room for them.
            RateLimited: The caller's share has none.
        """
        self._upload.spool.reserve(self._upload.folder, len(chunk), self._upload.share)
        self.size_bytes += len(chunk)
        self._buffer += chunk
        if len(self._buffer) >= WRITE_BYTES:
            await self._flush()

    async def finish(self) -> None:
        """Write the rest; the file is part of the upload now. Raises SpoolFull."""
        await self._flush()
        stored = msgspec.structs.replace(self._stored, size_bytes=self.size_bytes)
        self._upload.files[self._part] = (*self._upload.files.get(self._part, ()), stored)

    async def _flush(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        append = partial(_append, self._upload.folder, self._stored.path, data)
        writing = asyncio.ensure_future(self._upload.spool.in_thread(append))
        self._upload.writing = writing
        try:
            # Shielded, because a thread can't be cancelled: `__aexit__` waits for it.
            await asyncio.shield(writing)
        except OSError as error:
            self._upload.spool.errors_total += 1
            log.sampled("spool.write_failed", reason=str(error))
            detail = f"the spool can't take the file now: {error.strerror}"
            raise SpoolFull(detail, retry_after_s=RETRY_AFTER_S) from error


def _append(folder: str, path: str, data: bytearray) -> None:
    """Append to a file. Opened each time: an upload that stalls must not hold a descriptor."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        os.makedirs(folder, 0o700)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
    finally:
        os.close(fd)


def _clear_all(batch: list[Doomed]) -> list[OSError]:
    errors = []
    for doomed in batch:
        try:
            paths = doomed.contents()
        except FileNotFoundError:  # a job that was handed its folder need not have made it
            continue
        for path in paths:
            try:
                _clear(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                errors.append(error)
    return errors


def _clear(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _claim_run(base: Path) -> tuple[Path, int, Found]:
    """Make and lock a folder for this run; return it, its lock, and what lies beside it."""
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_owner(base)
    # Locked meanwhile, so that no other server takes a folder that is not locked yet for a dead run's.
    guard = _open_folder(base)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        found = _look_around(base)
        run = Path(tempfile.mkdtemp(prefix=_RUN_PREFIX, dir=base))
        lock_fd = _open_folder(run)
        fcntl.flock(lock_fd, fcntl.LOCK_EX)
    finally:
        os.close(guard)
    return run, lock_fd, found


def _look_around(base: Path) -> Found:
    found = Found([], [])
    for path in sorted(base.glob(f"{_RUN_PREFIX}*")):
        try:
            if _is_dead(path):
                found.dead.append(path)
        except (
            OSError
        ) as error:  # a file, a link, another user's folder: not ours to remove, and no reason not to start
            reason = "is a symbolic link" if path.is_symlink() else error.strerror or repr(error)
            found.strange.append((path, reason))
    return found


def _open_folder(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _check_owner(base: Path) -> None:
    """Reject a folder that another user could have prepared, such as a symbolic link in /tmp."""
    status = base.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it must be a folder of the user that runs the server")
    if status.st_mode & 0o077:
        base.chmod(0o700)


def _is_dead(folder: Path) -> bool:
    """Whether the run of this folder is dead; False if another server has just removed it."""
    try:
        fd = _open_folder(folder)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
