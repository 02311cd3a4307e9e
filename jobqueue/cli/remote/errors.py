"""`jobqueue errors`: failed jobs, grouped by type, error code and message."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.failures import FAILED
from jobqueue.cli.remote.job_filters import add_filters, query_of
from jobqueue.cli.remote.output import seen
from jobqueue.cli.remote.samples import spark
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.terminal.table import Column
from jobqueue.cli.terminal.times import since
from jobqueue.cli.values import count

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output

LIMIT = 50


class Other(msgspec.Struct, kw_only=True):
    """Failed jobs that are in no group, since there are too many."""

    count: int


class Failures(msgspec.Struct, kw_only=True):
    """Failed jobs with one error.

    Attributes:
        message: With quoted texts, numbers and ids masked as `#`.
        sample: The newest jobs of them.
        counts: How many failed, by time.
    """

    id: str
    type: str
    code: str
    message: str
    count: int
    first_at: datetime
    last_at: datetime
    sample: tuple[str, ...]
    counts: tuple[int, ...]


class Found(msgspec.Struct, kw_only=True):
    """The answer of a server."""

    groups: tuple[Failures, ...]
    total: int
    other: Other | None
    complete: bool


COLUMNS = (
    Column("count", lambda group: f"{group.count:,}", right=True),
    Column("group", lambda group: group.id, cut=16, drop=2),
    Column("type", lambda group: group.type, cut=32),
    Column("code", lambda group: group.code, style=lambda group: "red"),
    Column("message", lambda group: group.message, cut=100, flexible=True),
    Column("", lambda group: spark(group.counts), style=lambda group: "cyan", drop=3),
    Column("first", lambda group: f"{since(group.first_at)} ago", right=True, drop=1),
    Column("last", lambda group: f"{since(group.last_at)} ago", right=True),
    Column("newest", lambda group: "".join(group.sample[:1]), cut=64),
)


def errors(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print the groups, the largest first; exit code 1 if no job has failed."""
    query = {**query_of(options, None), "sort": options.sort, "limit": options.limit}
    document = connection.read(f"/v1/failures?{urlencode(query)}")
    found: Found = seen(document, Found)
    if not found.groups:
        output.say("no failed job is held")
        return FAILED
    output.listing(document["groups"], COLUMNS, Failures, id="id")
    if found.total > len(found.groups):
        output.say(f"{len(found.groups):,} of {found.total:,} groups; more with --limit N")
    if found.other is not None:
        output.say(f"{found.other.count:,} more failed jobs are in further groups; a filter leaves fewer")
    if not found.complete:
        output.say("only the newest failed jobs were searched; a filter leaves fewer")
    return 0


def _arguments(parser: Parser) -> None:
    add_filters(parser)
    parser.add_argument(
        "--sort", choices=("count", "newest"), default="count", help="which groups come first (default: count)"
    )
    parser.add_argument(
        "--limit", type=count, default=LIMIT, metavar="N", help=f"groups at most, up to 100 (default: {LIMIT})"
    )
    add_flags(parser)


TEXT = "Group the failed jobs by their errors. The id of a group is a filter: jobqueue jobs retry --failure ID."
COMMANDS = (Command("", TEXT, talking(errors), _arguments),)
