"""Reports of attempts: progress and outcome, and what a job keeps of failures.

They are structs in both forms of the package, since worker processes and clients get them encoded.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from jobqueue.core.stored_file import StoredFile

MESSAGE_LENGTH_MAX = 1000
"""Maximum length of an error's message, in characters."""

ATTEMPT_BYTES = 150
"""Bytes of the record of one failed attempt, beside its texts."""


class ErrorCode(StrEnum):
    """Why an attempt failed, as a word for programs."""

    HANDLER_ERROR = "handler_error"
    TIMED_OUT = "timed_out"
    WORKER_CRASHED = "worker_crashed"
    REJECTED = "rejected"
    BAD_RESULT = "bad_result"
    RESULT_TOO_LARGE = "result_too_large"
    SHUTDOWN = "shutdown"
    FILES_LOST = "files_lost"
    PARENT_FAILED = "parent_failed"


class Progress(msgspec.Struct, frozen=True, gc=False):
    """Progress of a running job.

    Attributes:
        fraction: How much is done, from 0 to 1.
        note: A few words; null: none.
    """

    fraction: float
    note: str | None = None


class Success(msgspec.Struct, frozen=True, gc=False):
    """The outcome of an attempt that succeeded: the result's JSON bytes, and the result file, if one was written."""

    result: bytes
    file: StoredFile | None = None


class Failure(msgspec.Struct, frozen=True, gc=False):
    """The outcome of an attempt that failed.

    `retry_after_s` overrides the backoff; `final` forbids another attempt; `traceback` is for the log, and
    its end for the attempts' history.
    """

    code: ErrorCode
    message: str
    retry_after_s: float | None = None
    final: bool = False
    traceback: str | None = None


class JobError(msgspec.Struct, frozen=True, gc=False):
    """Why a job failed.

    Attributes:
        code: A word for programs.
        message: A sentence for readers.
    """

    code: ErrorCode
    message: str


class FailedAttempt(msgspec.Struct, frozen=True, gc=False):
    """One attempt that failed; `traceback` is its last lines, if the handler raised."""

    attempt: int
    started_at: float
    ended_at: float
    code: ErrorCode
    message: str
    traceback: str | None = None

    @property
    def size_bytes(self) -> int:
        size = ATTEMPT_BYTES + text_bytes(self.message)
        return size if self.traceback is None else size + text_bytes(self.traceback)


def text_bytes(text: str) -> int:
    """Return the memory of a text at most: Python keeps up to four bytes for each character unless all are ASCII."""
    return len(text) if text.isascii() else 4 * len(text)
