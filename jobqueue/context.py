"""JobContext: a handler's access to its job.

The same object serves a handler on the loop, in a thread and in a process;
the sink of `progress` and the way to the queue differ, so they are arguments.
"""

from __future__ import annotations

import math
import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from jobqueue.encoder import encode
from jobqueue.errors import InvalidField, InvalidSubmission
from jobqueue.files.uploaded import UploadedFiles
from jobqueue.log import AttemptLogger
from jobqueue.parents import Parents
from jobqueue.publish_values import checked_key, checked_topic, encoded_data

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from jobqueue.parents import ParentRecord

    ProgressSink = Callable[[float, str | None], None]

RESULT_PREFIX = "result-"
"""Prefix of a result file's name; the attempt's number follows."""

NOTE_LENGTH_MAX = 200


def printable(text: str) -> str:
    """Replace the lone surrogates in a text, which JSON can't represent."""
    return text.encode("utf-8", "replace").decode("utf-8")


class Scheduled(msgspec.Struct, frozen=True):
    """The schedule that submitted a job, and the instant for which it did.

    Attributes:
        name: That of the schedule.
        due_at: The instant of the schedule for which it runs, in UTC: the same in each attempt, however late it starts,
            and another one for each tick; without the jitter. None: it was run on request.
    """

    name: str
    due_at: datetime | None


def scheduled(name: str, due_at: float | None) -> Scheduled:
    """Return what `JobContext.schedule` has. Args: due_at: In Unix seconds."""
    return Scheduled(name, None if due_at is None else datetime.fromtimestamp(due_at, UTC))


class Reach(Protocol):
    """A handler's way to the queue that runs it.

    What changes something is awaited on the loop, and blocks in a thread or a process until it is done; what reads is
    a plain call everywhere.
    """

    def parents(self, job_id: str) -> Sequence[ParentRecord]:
        """Return the parents of a job, in order."""
        ...

    def result(self, parent_id: str) -> bytes:
        """Return the result of one of them, as JSON. Raises JobGone."""
        ...

    def submit(self, job_id: str, attempt: int, fields: dict[str, Any]) -> Any:
        """Submit a job from within an attempt; its id is returned, or what is to be awaited for it."""
        ...

    def publish(self, job_id: str, attempt: int, topic: str, data: bytes, key: str | None) -> Any:
        """Publish data, which is JSON, from within an attempt; the ids of its jobs come likewise."""
        ...


class JobContext:
    """The first argument of every handler.

    Attributes:
        job_id: The job's id, as its client knows it.
        type: The type under which its handler is registered.
        attempt: The number of this run, counted from 1.
        recovered: Whether this may be a second run of work that is done: an earlier server process crashed while it had
            the job, maybe within an attempt whose end nothing tells. Only with a journal; False without one.
        group: The group that the client chose, if any.
        files: The uploaded files: part name to a path that may be read until the job ends, with `filename`,
            `media_type` and `size_bytes`; a list of them where a part name came several times (`files.getall(name)`
            always is one).
        state: The value that the queue's `lifespan` yielded; in a process, the one that `process_init` returned; None
            without one.
        traceparent: The trace of the request that submitted the job (W3C Trace Context); None: it had none.
        schedule: The schedule that submitted the job, and the instant for which it runs; None: no schedule did.
    """

    __slots__ = (
        "_cancelled",
        "_folder",
        "_log",
        "_on_progress",
        "_parents",
        "_reach",
        "_result",
        "attempt",
        "files",
        "group",
        "job_id",
        "recovered",
        "schedule",
        "state",
        "traceparent",
        "type",
    )

    def __init__(
        self,
        *,
        job_id: str,
        type: str = "",
        attempt: int,
        group: str | None,
        files: Mapping[str, Any],
        folder: Callable[[], Path],
        on_progress: ProgressSink,
        state: Any = None,
        traceparent: str | None = None,
        recovered: bool = False,
        schedule: Scheduled | None = None,
        reach: Reach | None = None,
    ) -> None:
        self.job_id = job_id
        self.type = type
        self.attempt = attempt
        self.recovered = recovered
        self.schedule = schedule
        self.group = group
        self.files = UploadedFiles(files)
        self._folder = folder
        self._on_progress = on_progress
        self._result: tuple[Path, str] | None = None
        self._cancelled = False
        self._log: AttemptLogger | None = None
        self._parents: Parents | None = None
        self._reach = reach
        self.state = state
        self.traceparent = traceparent

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger of this attempt, `job.<type>`: its records tell the job's id, type and attempt.

        So do the records of any other logger that the handler's code uses, but in threads of its own making.
        """
        if self._log is None:
            self._log = AttemptLogger(self)
        return self._log

    def progress(self, fraction: float, note: str | None = None) -> None:
        """Report progress to clients: 0 to 1, and a note (cut after 200 characters).

        Raises:
            ValueError: The fraction is not a number from 0 to 1.
            TypeError: The note is no text.
        """
        if not (math.isfinite(fraction) and 0.0 <= fraction <= 1.0):
            raise ValueError(f"progress takes a fraction from 0 to 1, got {fraction!r}")
        if note is not None:
            if not isinstance(note, str):
                raise TypeError(f"progress takes a string as its note, got {note!r}")
            note = printable(note[:NOTE_LENGTH_MAX])
        self._on_progress(float(fraction), note)

    def result_file(self, media_type: str = "application/octet-stream") -> Path:
        """Return a path to write the result to; `/result` then streams that file as `media_type`.

        One result file a job: a second call returns the same path, with the newer media type.

        Raises:
            TypeError: The media type is no text.
            RuntimeError: Jobs have no files, since several servers share them (`backend: valkey`).
        """
        if not isinstance(media_type, str):
            raise TypeError(f"result_file takes a string as its media type, got {media_type!r}")
        path = self._folder() / f"{RESULT_PREFIX}{self.attempt}"
        self._result = (path, media_type)
        return path

    @property
    def parents(self) -> Parents:
        """The jobs that this one came after, by name: `ctx.parents["resize"].result`. Empty for most jobs."""
        if self._parents is None:
            reach = self._reach
            self._parents = Parents() if reach is None else Parents(reach.parents(self.job_id), reach.result)
        return self._parents

    def submit(
        self,
        type: str,
        args: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        key: str | None = None,
        **options: Any,
    ) -> Any:
        """Submit a job from within this one; it belongs to the same caller, and to the same flow, if there is one.

        On the loop it is awaited, `await ctx.submit(…)`; in a thread or a process it blocks until the job is accepted.
        Returns its id, for the `after` of the next one.

        An attempt that is repeated submits again. With a `key`, the job that the first attempt submitted under it is
        the answer, and no second one is made.

        Args:
            args: Arguments of the handler, by name. Defaults to none.
            name: Its name in the flow, for the `ctx.parents` of its children. Defaults to none.
            key: 1 to 255 printable ASCII characters. Defaults to none.
            options: Those of `JobQueue.submit` without `files`: `after`, `on_failure`, `queue`, `delay_s` and the rest.

        Raises:
            InvalidSubmission, UnknownType, Refused, JobNotFound, JobGone: As `JobQueue.submit`.
            KeyReused: The job has submitted something else under this key.
            StaleLease: This attempt is over: its time is up, or its job was cancelled.
            RuntimeError: The context belongs to no running queue.
        """
        reach = self._reached()
        try:
            encoded = encode(args if args is not None else {})
        except ValueError as error:
            raise InvalidSubmission(InvalidField(pointer="/args", detail=str(error))) from None
        return reach.submit(
            self.job_id, self.attempt, {**options, "type": type, "args": encoded, "name": name, "key": key}
        )

    def publish(self, topic: str, data: Any = None, *, key: str | None = None) -> Any:
        """Publish data from within this job: one job for each subscriber of the topic, all of them or none.

        On the loop it is awaited, `await ctx.publish(…)`; in a thread or a process it blocks until the jobs are
        accepted. Returns their ids. They belong to the same caller.

        Args:
            data: Whatever JSON can say. Defaults to None.
            key: As of `submit`: a repeated attempt gets the jobs that it has published under it.

        Raises:
            InvalidSubmission, KeyReused, NotInStore, Refused: As `JobQueue.publish`.
            StaleLease, RuntimeError: As `submit`.
        """
        reach, encoded = self._reached(), encoded_data(data)
        return reach.publish(self.job_id, self.attempt, checked_topic(topic), encoded, checked_key(key))

    def _reached(self) -> Reach:
        if self._reach is None:
            raise RuntimeError("this context belongs to no running queue")
        return self._reach

    @property
    def cancelled(self) -> bool:
        """Whether this attempt should stop: its time is up, or its job is being cancelled.

        For handlers in threads, which can't be interrupted: check it regularly, and return.
        """
        return self._cancelled

    def cancel(self) -> None:
        """Set `cancelled`. For the runtime, not for handlers."""
        self._cancelled = True

    def written_result(self) -> tuple[str, str, int] | None:
        """Return (path, media type, size in bytes) of the result file, if the handler wrote one. For the runtime.

        Raises:
            ValueError: It is no regular file: reading it could hang, or lead elsewhere.
        """
        if self._result is None:
            return None
        path, media_type = self._result
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"what the handler left at its result file's path is a {stat.filemode(found.st_mode)}")
        return str(path), media_type, found.st_size
