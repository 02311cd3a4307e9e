"""`jobqueue jobs`: lists jobs, reads one, and changes one or many."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobqueue.cli.command import Command
from jobqueue.cli.remote import watching
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.events import line_of_event
from jobqueue.cli.remote.failures import FAILED
from jobqueue.cli.remote.job_changes import cancel, delete, resubmit, retry, run_now
from jobqueue.cli.remote.job_filters import add_changing_filters, add_list_filters, pages, total
from jobqueue.cli.remote.job_view import COLUMNS, screen_of
from jobqueue.cli.remote.output import compact, pretty, seen
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.remote.submit import add_options, add_waiting, document_of
from jobqueue.cli.remote.submit import completed as with_wait
from jobqueue.cli.values import assignment, duration, path_of
from jobqueue.client import JobDocument
from jobqueue.client.documents import job_path
from jobqueue.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output

INCLUDE = "args,spec,files"
"""What the screen of a job has beside its document."""


def listing(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print jobs, newest first."""
    if options.count:
        return _count(connection, output, options)
    limit = None if options.all else options.limit
    found = pages(connection, options, states=options.state, limit=limit)
    count = output.listing(found, COLUMNS, JobDocument)
    if not count:
        output.say("no job matches")
        return FAILED
    if output.is_table and count == limit:
        output.say(f"the first {count:,}; more with --limit N or --all")
    return 0


def _count(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    found, complete = total(connection, options)
    if output.is_table:
        output.line(f"{found:,}" if complete else f"at least {found:,}: the search has ended before the last record")
    else:
        output.document({"total": found, "total_complete": complete}, id="total")
    return 0 if found else FAILED


def show(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print one job, with its arguments and options where the server tells them."""
    document = document_with(connection, options.id)
    if not output.is_table:
        output.document(document)
        return 0
    for line in screen_of(seen(document, JobDocument), document):
        output.line(line)
    return 0


def wait(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Wait for the end of a job, and print its result."""
    job = watching.wait(connection, output, connection.get(options.id), options.timeout)
    return watching.finish(output, job, document_of(job))


def result(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print the result of a job, or write it to a file."""
    if options.output_file is None:
        try:
            value = connection.result(options.id)
        except ValueError as error:
            raise ConfigError(
                str(error).replace("fetch it with to=path", "give -O FILE, or -O - for standard output")
            ) from None
        output.line(pretty(value) if output.form in ("table", "json") else compact(value))
        return 0
    if str(options.output_file) != "-":
        connection.result(options.id, to=options.output_file)
        output.say(f"wrote {options.output_file}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result"
        connection.result(options.id, to=file)
        with file.open("rb") as content:
            while chunk := content.read(1 << 18):
                output.bytes(chunk)
    return 0


def events(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print the events of a job to its end."""
    for event in connection.events(options.id):
        if output.is_table:
            output.line(line_of_event(event))
        else:
            output.document({"event": event.name, **event.data})
        output.out.flush()
    return 0


def document_with(connection: Connection, id: str) -> dict[str, Any]:
    """Return a job with all that the server tells of it."""
    document: dict[str, Any] = connection.read(f"{job_path(id)}?include={INCLUDE}")
    return document


def completed(words: list[str]) -> list[str]:
    """Write `jobs` as `jobs list`."""
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        return ["list", *words]
    return with_wait(words) if words[0] == "resubmit" else words


def _add_list(parser: Parser) -> None:
    add_list_filters(parser)
    add_flags(parser)


def _add_id(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", help="the job")
    add_flags(parser)


def _add_wait(parser: Parser) -> None:
    parser.add_argument("--timeout", type=duration, metavar="TIME", help="give up after this time, exit code 1")
    _add_id(parser)


def _add_result(parser: Parser) -> None:
    parser.add_argument(
        "-O", "--output-file", type=path_of, metavar="FILE", help="write the result there; - is standard output"
    )
    _add_id(parser)


def _add_changes(parser: Parser) -> None:
    parser.intermixed = True
    parser.add_argument("ids", nargs="*", default=[], metavar="ID", help="these jobs; else all that match the filters")
    add_changing_filters(parser)
    add_flags(parser)


def _add_resubmission(parser: Parser) -> None:
    parser.intermixed = True
    parser.add_argument("id", metavar="ID", help="the job that gives type, arguments and options")
    parser.add_argument(
        "assignments", nargs="*", default=[], type=assignment, metavar="NAME=VALUE", help="a changed argument"
    )
    add_options(parser)
    add_waiting(parser)
    add_flags(parser)


COMMANDS = (
    Command("list", "List jobs, newest first.", talking(listing), _add_list),
    Command("show", "Show a job.", talking(show), _add_id),
    Command("wait", "Wait for the end of a job, and print its result.", talking(wait), _add_wait),
    Command("result", "Print the result of a job, or write it to a file.", talking(result), _add_result),
    Command("events", "Print the events of a job, to its end.", talking(events), _add_id),
    Command("retry", "Queue failed jobs again.", talking(retry), _add_changes),
    Command("cancel", "Cancel live jobs.", talking(cancel), _add_changes),
    Command("delete", "Delete the records and files of terminal jobs.", talking(delete), _add_changes),
    Command("run", "Let delayed jobs start now.", talking(run_now), _add_changes),
    Command("resubmit", "Submit a job again, with changes.", talking(resubmit), _add_resubmission),
)
