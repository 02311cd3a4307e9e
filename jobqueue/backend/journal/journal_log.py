"""Log lines of the journal: a function an event, so that its level and fields are the same wherever it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = event_logger(__name__)


def opened(folder: Path, *, sync: str, segments: int, size_bytes: int) -> None:
    """The folder is ours, locked and readable."""
    log.info("journal.opened", folder=str(folder), sync=sync, segments=segments, bytes=size_bytes)


def small(bytes_max: int, *, least_bytes: int, enough_bytes: int) -> None:
    """The records that may be held can fill the folder for good."""
    log.warning("journal.small", bytes_max=bytes_max, least_bytes=least_bytes, enough_bytes=enough_bytes)


def recovered(jobs: Mapping[str, int], *, records: int, seconds: float, clean: bool) -> None:
    """The jobs of the log are back."""
    log.info("journal.recovered", jobs=dict(jobs), records=records, seconds=round(seconds, 3), clean=clean)


def torn_tail(file: Path, *, offset: int, dropped_bytes: int) -> None:
    """The log ends within a write that was never acknowledged."""
    log.warning("journal.torn_tail", file=file.name, offset=offset, dropped_bytes=dropped_bytes)


def files_lost(jobs: int) -> None:
    """Files of restored jobs are not there."""
    log.error("journal.files_lost", jobs=jobs)


def unknown(queues: Mapping[str, int], types: Mapping[str, int]) -> None:
    """Jobs of queues or types that the program does not have any more have failed."""
    log.warning("journal.unknown", queues=dict(queues), types=dict(types))


def starts_paused(starts: int, *, within_s: float) -> None:
    """The server crashed again and again, so the queues start nothing by themselves."""
    log.error("journal.starts_paused", starts=starts, within_s=round(within_s, 1))


def snapshotted(file: Path, *, jobs: int, size_bytes: int, seconds: float) -> None:
    """A snapshot is on disk, and what it makes superfluous is gone."""
    log.info("journal.snapshot", file=file.name, jobs=jobs, bytes=size_bytes, seconds=round(seconds, 3))


def snapshot_failed(error: BaseException) -> None:
    """There is no new snapshot: the log goes on to grow."""
    log.error("journal.snapshot_failed", reason=str(error))


def full(size_bytes: int, *, bytes_max: int) -> None:
    """The folder has reached its bound: nothing is admitted."""
    log.error("journal.full", bytes=size_bytes, bytes_max=bytes_max)


def failed(error: BaseException | str) -> None:
    """A write or a sync failed: nothing is admitted until fresh files hold everything."""
    log.error("journal.failed", reason=str(error))


def resumed(failed_s: float) -> None:
    """Fresh files hold everything: jobs are admitted again."""
    log.warning("journal.resumed", failed_s=round(failed_s, 3))
