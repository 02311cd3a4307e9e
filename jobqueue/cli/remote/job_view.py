"""A job on a terminal: its row in a table, its one line, its screen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jobqueue.cli.remote.output import compact, pretty
from jobqueue.cli.terminal.table import Column
from jobqueue.cli.terminal.times import clock, since
from jobqueue.cli.terminal.visible import visible, visible_lines
from jobqueue.duration import spell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.client import JobDocument

BAR_COLUMNS = 10


def bar(fraction: float, columns: int = BAR_COLUMNS) -> str:
    """Return a bar of text."""
    full = round(max(0.0, min(1.0, fraction)) * columns)
    return "█" * full + "░" * (columns - full)


def progress(job: JobDocument) -> str:
    """Return the progress of a job, with its note."""
    if job.progress is None:
        return ""
    note = f" {job.progress.note}" if job.progress.note else ""
    return f"{bar(job.progress.fraction)} {100 * job.progress.fraction:.0f} %{note}"


def waited_s(job: JobDocument) -> float | None:
    """Return the seconds from the submission to the start of the latest attempt."""
    return None if job.started_at is None else (job.started_at - job.created_at).total_seconds()


def ran_s(job: JobDocument) -> float | None:
    """Return the seconds of the latest attempt."""
    if job.started_at is None:
        return None
    end = job.finished_at or (datetime.now(UTC) if job.state == "running" else None)
    return None if end is None else (end - job.started_at).total_seconds()


def error(job: JobDocument) -> str:
    """Return why a job failed, or why it waits."""
    if job.error is not None:
        return f"{job.error.code}: {job.error.message}"
    return job.waiting_for.reason if job.waiting_for is not None else ""


COLUMNS = (
    Column("id", lambda job: job.id, cut=64),
    Column("type", lambda job: job.type, cut=32, flexible=True),
    Column("queue", lambda job: job.queue, cut=20, drop=2),
    Column("state", lambda job: str(job.state)),
    Column("attempt", lambda job: f"{job.attempt}/{job.attempts_max}", right=True),
    Column("age", lambda job: since(job.created_at), right=True),
    Column("waited", lambda job: spell(waited_s(job)), right=True, drop=1),
    Column("ran", lambda job: spell(ran_s(job)), right=True),
    Column("", lambda job: progress(job) if not job.over else error(job), cut=80, flexible=True),
)


def line_of(job: JobDocument) -> str:
    """Return a job in one line."""
    facts = [job.state.value, f"in queue {job.queue}"]
    if job.position is not None:
        facts.append(f"position {job.position:,}")
    if job.eta_s is not None:
        facts.append(f"done in about {spell(job.eta_s)}")
    if job.over and (took_s := ran_s(job)) is not None:
        facts.append(f"ran {spell(took_s)}")
    if job.deduplicated:
        facts.append("submitted before")
    if told := error(job):
        facts.append(told)
    return visible(f"{job.id}  {job.type}  {', '.join(facts)}", 500)


def screen_of(job: JobDocument, document: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that show all of a job.

    Args:
        document: The job as the server gave it, which may have more: its arguments, its options, its files.
    """
    yield line_of(job)
    for label, text in _facts(job):
        if text:
            yield f"  {label:<12}{visible(text, 300)}"
    for label in ("args", "spec", "files", "result"):
        if document.get(label) not in (None, {}, []):
            yield from _json(label, document[label])
    for attempt in job.history or ():
        told = visible(f"{attempt.code}: {attempt.message}", 300)
        yield f"  attempt {attempt.attempt}, {clock(attempt.started_at)}: {told}"
        for line in visible_lines((attempt.traceback or "").rstrip("\n")):
            yield f"    {line}".rstrip()


def _facts(job: JobDocument) -> Iterator[tuple[str, str]]:
    yield "attempt", f"{job.attempt} of {job.attempts_max}"
    yield "group", job.group or ""
    yield "priority", str(job.priority) if job.priority else ""
    yield "created", f"{clock(job.created_at)}, {since(job.created_at)} ago"
    if not job.over and job.run_at is not None and job.run_at > datetime.now(UTC):
        yield "runs at", clock(job.run_at)
    if job.started_at is not None:
        yield "started", f"{clock(job.started_at)}, after {spell(waited_s(job))}"
    if job.finished_at is not None:
        yield "finished", f"{clock(job.finished_at)}, after {spell(ran_s(job))}"
    yield "progress", progress(job)
    if job.waiting_for is not None:
        again = job.waiting_for.retry_at
        yield "waits for", f"{job.waiting_for.reason}{f', until {clock(again)}' if again else ''}"


def _json(label: str, value: Any) -> Iterator[str]:
    short = compact(value)
    if len(short) <= 100:
        yield f"  {label:<12}{short}"
        return
    yield f"  {label}"
    for line in visible_lines(pretty(value)):
        yield f"    {line}"
