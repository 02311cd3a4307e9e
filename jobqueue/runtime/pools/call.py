"""Call: one attempt of a handler, with its context, to be run in a thread or a process.

The same code runs in a thread of the server and in a process of its own, without loop,
socket or pool. For blocking handlers encoding the result
and checking its size happen here, off the loop.
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.context import JobContext, scheduled
from jobqueue.core.report import Success
from jobqueue.core.stored_file import StoredFile
from jobqueue.files.uploaded import UploadedFile
from jobqueue.handlers.result import BadResult, encode_result, failure_of

if TYPE_CHECKING:
    from jobqueue.context import ProgressSink, Reach
    from jobqueue.core.report import Failure


NO_RESULT_FILES = (
    "there are no result files with backend: valkey, whose servers share no folder: return the result, or keep the "
    "file elsewhere and return its address"
)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A handler with its arguments and context.

    `context_name` is the parameter that takes the context; empty if it goes by position only; None: it takes none.
    `files` are those of each part name, in order; `folder` is where a result file goes, made when it is first
    asked for, empty if there can be none; `result_bytes_max` bounds the JSON of the result; `retry_on` are the
    exceptions that are worth another attempt (None: all), `reject_on` those that mean what `Reject` does;
    `log_level` is that of the server's log, for a process.
    """

    func: Callable[..., Any]
    kwargs: dict[str, Any]
    context_name: str | None
    job_id: str
    type: str
    attempt: int
    group: str | None
    files: dict[str, tuple[StoredFile, ...]]
    folder: str
    result_bytes_max: int
    retry_on: tuple[builtins.type[BaseException], ...] | None = None
    reject_on: tuple[builtins.type[BaseException], ...] = ()
    log_level: int = logging.WARNING
    traceparent: str | None = None
    recovered: bool = False
    scheduled: tuple[str, float | None] | None = None

    def context(
        self,
        on_progress: ProgressSink,
        folder: Callable[[], Path | None] | None = None,
        *,
        state: Any = None,
        reach: Reach | None = None,
    ) -> JobContext:
        """Make the handler's context.

        Args:
            folder: Names the folder where none was given with the call.
            state: The value of the queue's lifespan, or of the process's initializer.
            reach: The handler's way to its queue; None: it has none.
        """

        def made() -> Path:
            path = folder() if folder is not None else Path(self.folder) if self.folder else None
            if path is None:
                raise RuntimeError(NO_RESULT_FILES)
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return path

        return JobContext(
            job_id=self.job_id,
            type=self.type,
            attempt=self.attempt,
            group=self.group,
            files=_uploaded(self.files),
            folder=made,
            on_progress=on_progress,
            state=state,
            traceparent=self.traceparent,
            recovered=self.recovered,
            schedule=None if self.scheduled is None else scheduled(*self.scheduled),
            reach=reach,
        )

    def begin(self, context: JobContext) -> Any:
        """Call the handler, with its context where its signature wants it."""
        match self.context_name:
            case None:
                return self.func(**self.kwargs)
            case "":
                return self.func(context, **self.kwargs)
        return self.func(**self.kwargs, **{self.context_name: context})

    def carry_out(self, context: JobContext) -> Success | Failure:
        """Run the handler and return its outcome. Raises nothing, whatever the handler raises."""
        try:
            return success_of(self.begin(context), context, bytes_max=self.result_bytes_max)
        except BaseException as error:
            return failure_of(error, self.retry_on, self.reject_on)


def _uploaded(files: dict[str, tuple[StoredFile, ...]]) -> dict[str, UploadedFile | list[UploadedFile]]:
    """Return a handler's files, by part name."""
    uploaded: dict[str, UploadedFile | list[UploadedFile]] = {}
    for name, stored in files.items():
        paths = [
            UploadedFile.of(file.path, filename=file.filename, media_type=file.media_type, size_bytes=file.size_bytes)
            for file in stored
        ]
        uploaded[name] = paths if len(paths) > 1 else paths[0]
    return uploaded


def success_of(value: Any, context: JobContext, *, bytes_max: int) -> Success:
    """Return the success of a handler's return value and result file. Raises BadResult, ResultTooLarge."""
    result = encode_result(value, bytes_max=bytes_max)
    try:
        written = context.written_result()
    except ValueError as error:
        raise BadResult(str(error)) from None
    return Success(result, None if written is None else StoredFile(*written))
