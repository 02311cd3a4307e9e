"""Changes of jobs: retry, cancel, delete, run now, submit again.

Rules:

1. Ids or filters, never both, and never neither: nothing acts on all jobs by omission.
2. An action by filters is asked about on a terminal, with the number of jobs, and needs `--yes` elsewhere.
3. Of several ids each is tried; the exit code is that of the first that failed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from jobqueue.cli.remote import failures
from jobqueue.cli.remote.failures import FAILED
from jobqueue.cli.remote.job_filters import filter_of
from jobqueue.cli.remote.job_view import line_of
from jobqueue.cli.remote.submit import OPTIONS, document_of, run_to_end
from jobqueue.client.documents import job_path
from jobqueue.errors import ConfigError, JobQueueError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from jobqueue.cli.remote.connection import Connection
    from jobqueue.cli.remote.output import Output
    from jobqueue.client import JobDocument

REDACTED = "•••"
DONE = {"retry": "queued again", "cancel": "cancelled", "delete": "deleted", "run": "queued now"}
SPEC = ("queue", "priority", "group", "timeout_s", "attempts_max", "ttl_s")
"""The options of a job that a new submission takes over: no instant, and no unique value."""


def retry(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Queue failed jobs again."""
    return _change(connection, output, options, "retry", connection.retry)


def cancel(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Cancel live jobs."""
    return _change(connection, output, options, "cancel", connection.cancel)


def delete(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Delete the records of terminal jobs."""
    return _change(connection, output, options, "delete", connection.delete)


def run_now(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Let delayed jobs start now."""
    return _change(connection, output, options, "run", connection.run_now)


def resubmit(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Submit a job again, with changed arguments and options."""
    document: dict[str, Any] = connection.read(f"{job_path(options.id)}?include=args,spec,files")
    if document.get("files"):
        raise ConfigError("the job has files, which the server doesn't give back: use `jobqueue submit` with --file")
    if document.get("args") is None:
        raise ConfigError("the server keeps the arguments of live and failed jobs only: use `jobqueue submit`")
    args = {**document["args"], **dict(options.assignments)}
    if hidden := [name for name, value in args.items() if REDACTED in str(value)]:
        raise ConfigError(f"the server hides {', '.join(hidden)}: give {'=… '.join(hidden)}=…")
    told = {**document, **(document.get("spec") or {})}
    given = {name: told[name] for name in SPEC if told.get(name) is not None}
    given |= {option: value for flag, option in OPTIONS.items() if (value := getattr(options, flag)) is not None}
    job = connection.submit(document["type"], args, **given)
    return run_to_end(connection, output, job, wait_s=options.wait, follow=options.follow)


def _change(
    connection: Connection,
    output: Output,
    options: argparse.Namespace,
    action: str,
    act: Callable[[str], JobDocument | None],
) -> int:
    filters = filter_of(options)
    if bool(filters) == bool(options.ids):
        raise ConfigError(
            f"jobqueue jobs {action}: give ids, or filters such as --type, but not both"
            if filters
            else f"jobqueue jobs {action}: give ids, or filters such as --type: nothing acts on all jobs by omission"
        )
    if filters:
        return _change_all(connection, output, options, action, filters)
    if options.dry_run or options.limit:
        raise ConfigError(f"jobqueue jobs {action}: --dry-run and --limit belong to filters, not to ids")
    code = 0
    for id in options.ids:
        try:
            _print(output, act(id), id, DONE[action])
        except JobQueueError as error:
            print(f"jobqueue: {id}: {failures.line_of(error)}", file=sys.stderr)
            code = code or failures.code_of(error)
            if code == failures.UNREACHABLE:
                return code
    return code


def _print(output: Output, job: JobDocument | None, id: str, done: str) -> None:
    if job is None:
        if output.is_table:
            output.line(f"{id}  {done}")
        else:
            output.document({"id": id, "state": None})
    elif output.is_table:
        output.line(line_of(job))
    else:
        output.document(document_of(job))


def _change_all(
    connection: Connection, output: Output, options: argparse.Namespace, action: str, filters: dict[str, Any]
) -> int:
    body = filters | ({"limit": options.limit} if options.limit else {})
    target = f"/v1/jobs:{action}"
    if options.dry_run:
        return _counted(output, connection.ask("POST", target, {**body, "dry_run": True}), f"would be {DONE[action]}")
    if not options.yes:
        _confirm(connection, output, action, body)
    return _counted(output, connection.ask("POST", target, body), DONE[action])


def _confirm(connection: Connection, output: Output, action: str, body: dict[str, Any]) -> None:
    """Ask whether to go on. Raises ConfigError where it can't be asked; KeyboardInterrupt for a no."""
    if not sys.stdin.isatty() or not output.err.isatty():
        raise ConfigError(f"jobqueue jobs {action}: changes many jobs: give --yes, or see them with --dry-run")
    many = connection.ask("POST", f"/v1/jobs:{action}", {**body, "dry_run": True}).get("count") or 0
    if not many:
        return
    print(f"{action} {many:,} job{'' if many == 1 else 's'}? [y/N] ", end="", file=output.err, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("nothing was changed")


def _counted(output: Output, document: dict[str, Any], done: str) -> int:
    count = document.get("count")
    if not output.is_table:
        output.document(document)
    else:
        skipped = document.get("skipped") or 0
        reasons = "; ".join(sorted(name.replace("-", " ") for name in document.get("skipped_by") or ()))
        told = f", {skipped:,} skipped" + (f": {reasons}" if reasons else "") if skipped else ""
        output.line(f"{count:,} {done}{told}")
        for id in document.get("sample") or ():
            output.line(f"  {id}")
    return 0 if count else FAILED
