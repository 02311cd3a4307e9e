"""`jobqueue errors`: failed jobs, grouped by type, error code and message."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.failures import FAILED
from jobqueue.cli.remote.job_filters import add_filters, pages
from jobqueue.cli.remote.output import seen
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.terminal.table import Column
from jobqueue.cli.terminal.times import since
from jobqueue.cli.values import count
from jobqueue.client import JobDocument

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output

LIMIT = 1000
_VARIABLE = re.compile(
    r"""0x[0-9a-fA-F]+                                   # addresses
    | [0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12} # UUIDs
    | \b(?=[A-Za-z0-9_-]*[0-9])[A-Za-z0-9_-]{16,}\b      # ids, digests
    | \d+(?:[.,:]\d+)*                                   # numbers, times, addresses
    """,
    re.VERBOSE,
)


class Failures(msgspec.Struct, kw_only=True):
    """Failed jobs with one error.

    Attributes:
        message: With numbers and ids masked as `#`.
        sample: The newest job of them.
    """

    type: str
    code: str
    message: str
    count: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    sample: str = ""


COLUMNS = (
    Column("count", lambda group: f"{group.count:,}", right=True),
    Column("type", lambda group: group.type, cut=32),
    Column("code", lambda group: group.code, style=lambda group: "red"),
    Column("message", lambda group: group.message, cut=100, flexible=True),
    Column("first", lambda group: f"{since(group.first_at)} ago", right=True, drop=1),
    Column("last", lambda group: f"{since(group.last_at)} ago", right=True),
    Column("newest", lambda group: group.sample, cut=64),
)


def errors(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print the groups, the largest first; exit code 1 if no job has failed."""
    found = pages(connection, options, states=["failed"], limit=options.limit)
    read = [seen(document, JobDocument) for document in found]
    groups = grouped(read)
    if not groups:
        output.say("no failed job is held")
        return FAILED
    output.listing((msgspec.to_builtins(group) for group in groups), COLUMNS, Failures, id="sample")
    if len(read) == options.limit:
        output.say(f"of the newest {len(read):,} failed jobs; more with --limit N")
    return 0


def grouped(jobs: Iterable[JobDocument]) -> list[Failures]:
    """Group jobs, newest first, by type, code and masked message."""
    groups: dict[tuple[str, str, str], Failures] = {}
    for job in jobs:
        code, message = ("", "") if job.error is None else (job.error.code, masked(job.error.message))
        group = groups.setdefault((job.type, code, message), Failures(type=job.type, code=code, message=message))
        group.count += 1
        group.first_at = job.finished_at
        group.last_at = group.last_at or job.finished_at
        group.sample = group.sample or job.id
    return sorted(groups.values(), key=lambda group: -group.count)


def masked(message: str) -> str:
    """Replace what differs between messages of one error: numbers, ids, digests."""
    return _VARIABLE.sub("#", message[:300])


def _arguments(parser: Parser) -> None:
    add_filters(parser)
    parser.add_argument(
        "--limit",
        type=count,
        default=LIMIT,
        metavar="N",
        help=f"failed jobs that are read, the newest (default: {LIMIT:,})",
    )
    add_flags(parser)


COMMANDS = (Command("", "Group the failed jobs by their errors.", talking(errors), _arguments),)
