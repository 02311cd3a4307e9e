"""`jobqueue submit`: submits a job, and may wait for its end."""

from __future__ import annotations

import argparse
import difflib
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.cli.command import Command
from jobqueue.cli.remote import watching
from jobqueue.cli.remote.connection import Connection, optional, talking
from jobqueue.cli.remote.job_view import line_of
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.values import arguments, assignment, count, duration, instant, part, unique
from jobqueue.errors import InvalidSubmission, UnknownType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output
    from jobqueue.client import JobDocument

OPTIONS = {
    "queue": "queue",
    "priority": "priority",
    "group": "group",
    "delay": "delay_s",
    "at": "run_at",
    "start_by": "start_by_s",
    "timeout": "timeout_s",
    "attempts": "attempts_max",
    "unique": "unique",
    "ttl": "ttl_s",
    "callback": "callback",
    "after": "after",
    "on_failure": "on_failure",
}
"""The flags, with the options of a submission that they set."""

FOREVER = -1.0
"""`--wait` without a duration."""

EPILOG = (
    "A value is JSON if it can be read as such, else text: width=128 is a number, name=a.png a text, id='\"17\"' the "
    "text 17. A job that is not over after --wait ends the command with exit code 1; the job goes on."
)


def submit(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Submit a job; with `--wait` or `--follow`, to its end."""
    given = {option: value for flag, option in OPTIONS.items() if (value := getattr(options, flag)) is not None}
    args = {**(options.args or {}), **dict(options.assignments)}
    try:
        job = connection.submit(
            options.type,
            args,
            files=_files(options.file),
            idempotency_key=options.idempotency_key,
            retry_for_s=options.retry_for,
            **given,
        )
    except UnknownType as error:
        raise _with_nearest(connection, options.type, error) from None
    except InvalidSubmission as error:
        raise _with_hint(error, options.assignments) from None
    return run_to_end(connection, output, job, wait_s=options.wait, follow=options.follow)


def run_to_end(
    connection: Connection, output: Output, job: JobDocument, *, wait_s: float | None, follow: bool = False
) -> int:
    """Write an accepted job, or wait for its end, as asked; return the exit code."""
    if wait_s is None and not follow:
        if output.is_table:
            output.line(line_of(job))
        else:
            output.document(document_of(job))
        return 0
    output.say(line_of(job))
    if follow:
        job = watching.follow(connection, output, job.id)
    else:
        job = watching.wait(connection, output, job, None if wait_s == FOREVER else wait_s)
    return watching.finish(output, job, document_of(job))


def document_of(job: JobDocument) -> dict[str, Any]:
    """Return a job as a document, its instants as the server writes them."""
    document: dict[str, Any] = msgspec.to_builtins(job, builtin_types=(datetime,))
    for each in (document, *(document["history"] or ()), document["waiting_for"] or {}):
        for name, value in each.items():
            if isinstance(value, datetime):
                each[name] = value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return document


def _files(given: Sequence[tuple[str, Path]]) -> dict[str, Any] | None:
    files: dict[str, Any] = {}
    for name, path in given:
        files.setdefault(name, []).append(path)
    return files or None


def _with_nearest(connection: Connection, type: str, error: UnknownType) -> Exception:
    """Say which type was meant, if one is similar, and the key may read them."""
    known = (optional(connection, "/v1/types") or {}).get("types") or ()
    near = difflib.get_close_matches(type, [str(each.get("type")) for each in known if isinstance(each, dict)], n=1)
    return ValueError(f"{error}; did you mean {near[0]!r}?") if near else error


def _with_hint(error: InvalidSubmission, assignments: Sequence[tuple[str, Any]]) -> Exception:
    """Say how to write a text, if it was a number that the server finds to be none."""
    named = {fault.pointer.removeprefix("/args/"): fault.detail for fault in error.errors}
    for name, value in assignments:
        if "str" in named.get(name, "") and not isinstance(value, str | list | dict):
            return ValueError(f"{error}; as a text, write {name}='\"…\"'")
    return error


def completed(words: list[str]) -> list[str]:
    """Let `--wait` stand before other words: only a duration belongs to it."""
    full: list[str] = []
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        full.append("--wait=" if word == "--wait" and not _is_duration(following) else word)
    return full


def _is_duration(text: str) -> bool:
    try:
        duration(text)
    except argparse.ArgumentTypeError:
        return False
    return True


def waiting(text: str) -> float:
    """Read the duration of `--wait`; an empty one has no end."""
    return duration(text) if text else FOREVER


def add_waiting(parser: Parser) -> None:
    """Add the flags that wait for the end of a job."""
    parser.add_argument(
        "--wait",
        nargs="?",
        const="",
        type=waiting,
        metavar="TIME",
        help="wait for the end, at most this long, and print the result",
    )
    parser.add_argument("--follow", action="store_true", help="print the events of the job to its end")


def add_options(parser: Parser) -> None:
    """Add the options of a submission."""
    group = parser.add_argument_group("options of the job")
    group.add_argument("--queue", metavar="QUEUE", help="the queue (default: the handler's)")
    group.add_argument("--priority", type=int, choices=range(10), metavar="N", help="0 to 9, 9 first")
    group.add_argument("--group", metavar="GROUP", help="for fairness and limits between groups")
    start = group.add_mutually_exclusive_group()
    start.add_argument("--delay", type=duration, metavar="TIME", help="start after this time, such as 5m")
    start.add_argument("--at", type=instant, metavar="INSTANT", help="start at this instant, such as 2026-01-31T18:00")
    group.add_argument("--start-by", type=duration, metavar="TIME", help="expire unless it starts in this time")
    group.add_argument("--timeout", type=duration, metavar="TIME", help="that one attempt may take")
    group.add_argument("--attempts", type=count, metavar="N", help="how often it may run")
    group.add_argument(
        "--unique",
        type=unique,
        metavar="VALUE[:MODE]",
        help="one live job of its type has this value; mode return, reject, replace or debounce",
    )
    group.add_argument(
        "--after", action="append", metavar="ID", help="start after this job has succeeded; may be repeated"
    )
    group.add_argument(
        "--on-failure",
        choices=("cancel", "run"),
        help="with --after: what happens if such a job fails (default: cancel)",
    )
    group.add_argument("--ttl", type=duration, metavar="TIME", help="that the record is kept after the end")
    group.add_argument("--callback", metavar="URL", help="where its end is sent, if the server lists the host")


def _arguments(parser: Parser) -> None:
    parser.intermixed = True
    parser.add_argument("type", metavar="TYPE", help="the type of the job")
    parser.add_argument(
        "assignments", nargs="*", default=[], type=assignment, metavar="NAME=VALUE", help="an argument of the job"
    )
    parser.add_argument(
        "--args", type=arguments, metavar="JSON", help="all arguments: JSON, @FILE, or - for standard input"
    )
    parser.add_argument(
        "--file", action="append", default=[], type=part, metavar="PART=PATH", help="a file of the job; may be repeated"
    )
    add_options(parser)
    group = parser.add_argument_group("this submission")
    group.add_argument(
        "--idempotency-key", metavar="KEY", help="a repeated submission with the same key makes no second job"
    )
    group.add_argument(
        "--retry-for",
        type=duration,
        default=0.0,
        metavar="TIME",
        help="try again this long while the server rejects it",
    )
    add_waiting(parser)
    add_flags(parser)


COMMANDS = (Command("", "Submit a job.", talking(submit), _arguments, EPILOG),)
