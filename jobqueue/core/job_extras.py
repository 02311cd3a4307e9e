"""Job extras: the rare fields of a job, beside its record."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, final

from mypy_extensions import mypyc_attr

from jobqueue.core.record import MutableRecord

if TYPE_CHECKING:
    from jobqueue.core.lineage import Lineage
    from jobqueue.core.report import FailedAttempt, JobError, Progress
    from jobqueue.core.stored_file import StoredFile


class StopReason(StrEnum):
    """Why a running attempt was asked to stop."""

    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SHUTDOWN = "shutdown"


@final
@mypyc_attr(acyclic=True)
class Extras(MutableRecord):
    """Rare fields of a job: kept beside the record, so that most records stay small.

    Attributes:
        attempts_before: Number of attempts of earlier series; a retry begins a new one.
        progress: Progress of the latest attempt.
        stopping: Why the latest attempt was asked to stop.
        error: Why it failed, or was cut off.
        history: The latest failed attempts, oldest first.
        held_bytes: Size of the record beside arguments and result (`record_size`), with its history.
        recovered: Of a job that was live when a process crashed, and has not been started since: one more than in any
            earlier process that may have started it; else 0.
        lineage: Its parents and its flow.
        file: The file that is its result, or part of it.
    """

    attempts_before: int
    progress: Progress | None
    stopping: StopReason | None
    error: JobError | None
    history: tuple[FailedAttempt, ...] | None
    held_bytes: int
    recovered: int
    lineage: Lineage | None
    file: StoredFile | None

    def __init__(
        self,
        *,
        attempts_before: int = 0,
        progress: Progress | None = None,
        stopping: StopReason | None = None,
        error: JobError | None = None,
        history: tuple[FailedAttempt, ...] | None = None,
        held_bytes: int = 0,
        recovered: int = 0,
        lineage: Lineage | None = None,
        file: StoredFile | None = None,
    ) -> None:
        self.attempts_before = attempts_before
        self.progress = progress
        self.stopping = stopping
        self.error = error
        self.history = history
        self.held_bytes = held_bytes
        self.recovered = recovered
        self.lineage = lineage
        self.file = file
