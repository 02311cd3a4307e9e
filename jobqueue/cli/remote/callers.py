"""`jobqueue callers`: what each caller uses of its limits, and the blocks of single ones."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.failures import FAILED
from jobqueue.cli.remote.output import seen
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.terminal.table import Column
from jobqueue.cli.terminal.times import clock
from jobqueue.cli.terminal.visible import visible
from jobqueue.cli.values import count, duration

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output

LIMIT = 50


class Rate(msgspec.Struct, frozen=True):
    """What a caller uses of a rate."""

    used: int
    limit: int


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A caller, as far as it is shown."""

    name: str | None
    kind: str
    requests: Rate | None = None
    submissions: Rate | None = None
    jobs_live: int = 0
    jobs_max: int | None = None
    records: int = 0
    records_max: int | None = None
    connections: int | None = None
    connections_max: int | None = None
    waits: int | None = None
    waits_max: int | None = None
    rejected: int = 0
    blocked_until: datetime | None = None


class Callers(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a server."""

    callers: tuple[dict[str, Any], ...]
    total: int
    complete: bool


def _of(used: int | None, most: int | None) -> str:
    if used is None:
        return ""
    return f"{used:,}" if most is None else f"{used:,}/{most:,}"


def _rate(rate: Rate | None) -> str:
    return "" if rate is None else _of(rate.used, rate.limit)


COLUMNS = (
    Column("caller", lambda caller: caller.name or "(the application)", cut=60, flexible=True),
    Column("kind", lambda caller: caller.kind, drop=2),
    Column("requests", lambda caller: _rate(caller.requests), right=True),
    Column("submissions", lambda caller: _rate(caller.submissions), right=True),
    Column("live", lambda caller: _of(caller.jobs_live, caller.jobs_max), right=True),
    Column("records", lambda caller: _of(caller.records, caller.records_max), right=True, drop=3),
    Column("conns", lambda caller: _of(caller.connections, caller.connections_max), right=True, drop=4),
    Column("waits", lambda caller: _of(caller.waits, caller.waits_max), right=True, drop=5),
    Column("rejected", lambda caller: f"{caller.rejected:,}", right=True),
    Column(
        "blocked until",
        lambda caller: "" if caller.blocked_until is None else clock(caller.blocked_until),
        style=lambda caller: "red",
    ),
)


def listing(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print the callers that use most; exit code 1 if none is known."""
    found: Callers = seen(connection.callers(limit=options.limit), Callers)
    if not output.listing(found.callers, COLUMNS, Caller, id="name"):
        output.say("no caller is known")
        return FAILED
    if found.total > len(found.callers):
        output.say(f"{len(found.callers):,} of {found.total:,} callers that were read; more with --limit N")
    return 0


def block(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Have every request of a caller rejected for a while."""
    return _print(output, connection.block_caller(options.name, options.duration_s))


def unblock(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """End a block."""
    return _print(output, connection.unblock_caller(options.name))


def _print(output: Output, document: dict[str, Any]) -> int:
    if not output.is_table:
        output.document(document, id="name")
        return 0
    caller: Caller = seen(document, Caller)
    until = "not blocked" if caller.blocked_until is None else f"blocked until {clock(caller.blocked_until)}"
    output.line(f"{visible(caller.name or '', 100)} is {until}")
    return 0


def completed(words: list[str]) -> list[str]:
    """Write `callers` as `callers list`."""
    first = words[0] if words else ""
    return ["list", *words] if not first or (first.startswith("-") and first not in ("-h", "--help")) else words


def _add_limit(parser: Parser) -> None:
    parser.add_argument(
        "--limit", type=count, default=LIMIT, metavar="N", help=f"callers at most, up to 200 (default: {LIMIT})"
    )
    add_flags(parser)


def _add_name(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the caller, as the list has it, such as key:ci")
    add_flags(parser)


def _add_block(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the caller, as the list has it, such as key:ci")
    parser.add_argument(
        "--for", dest="duration_s", type=duration, required=True, metavar="TIME", help="for how long, such as 10m"
    )
    add_flags(parser)


COMMANDS = (
    Command("list", "List the callers that use most: `jobqueue callers` is the same.", talking(listing), _add_limit),
    Command("block", "Have every request of a caller rejected for a while.", talking(block), _add_block),
    Command("unblock", "End the block of a caller.", talking(unblock), _add_name),
)
