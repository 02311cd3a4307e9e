"""Watching one job to its end: a progress bar, or its events, and the exit code of its end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jobqueue.cli.remote.events import line_of_event
from jobqueue.cli.remote.failures import FAILED
from jobqueue.cli.remote.job_view import error, line_of
from jobqueue.cli.remote.output import compact, pretty
from jobqueue.cli.terminal.table import console
from jobqueue.cli.terminal.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobqueue.cli.remote.connection import Connection
    from jobqueue.cli.remote.output import Output
    from jobqueue.client import JobDocument


def wait(connection: Connection, output: Output, job: JobDocument, timeout_s: float | None) -> JobDocument:
    """Wait for the end of a job, with a bar on a terminal.

    Raises:
        TimeoutError: It is not over yet.
    """
    with _shown(output, job) as show:
        return job if job.over else connection.wait(job.id, timeout_s, on_progress=show)


def follow(connection: Connection, output: Output, id: str) -> JobDocument:
    """Write the events of a job to its end, and return it."""
    for event in connection.events(id):
        if output.is_table:
            output.say(line_of_event(event))
        else:
            output.line(compact({"event": event.name, **event.data}))
            output.out.flush()
    return connection.get(id)


def finish(output: Output, job: JobDocument, document: dict[str, Any]) -> int:
    """Write the end of a job; return the exit code."""
    if not output.is_table:
        output.document(document)
    elif job.state == "succeeded":
        output.say(line_of(job))
        output.line(pretty(job.result))
    if job.state == "succeeded":
        return 0
    if output.is_table or not output.quiet:
        why = error(job)
        output.say(visible(f"job {job.id} {job.state}{f': {why}' if why else ''}", 1000))
    return FAILED


@contextmanager
def _shown(output: Output, job: JobDocument) -> Iterator[Callable[[JobDocument], None] | None]:
    """Show the progress on standard error, if that is a terminal."""
    screen = None if output.quiet or job.over else console(output.err, colour=output.colour)
    if screen is None:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, TimeElapsedColumn(), console=screen, transient=True) as bar:
        task = bar.add_task(job.state.value, total=None, note="")

        def show(job: JobDocument) -> None:
            if job.progress is not None and job.state == "running":
                note = visible(job.progress.note or "", 60)
                bar.update(task, total=1.0, completed=job.progress.fraction, description=job.state.value, note=note)
            else:
                position = "" if job.position is None else f"position {job.position:,}"
                bar.update(task, total=None, description=job.state.value, note=position or error(job)[:60])

        show(job)
        yield show
