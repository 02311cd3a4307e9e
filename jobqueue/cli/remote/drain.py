"""`jobqueue drain`: what SIGTERM does, over HTTP."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

import msgspec

from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.output import seen
from jobqueue.cli.remote.queues import views
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.client import NoAnswer
from jobqueue.errors import Refused

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output

LOOK_S = 0.5


class Draining(msgspec.Struct, frozen=True):
    """The answer to a drain."""

    live: int
    drain_s: float
    linger_s: float


def drain(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Let the server finish its jobs and end; with `--wait`, until it has."""
    document = connection.ask("POST", "/v1/server:drain")
    if options.wait:
        _wait(connection, output)
    if not output.is_table:
        output.document(document)
    else:
        output.line("the server has ended" if options.wait else _line_of(seen(document, Draining)))
    return 0


def _wait(connection: Connection, output: Output) -> None:
    """Wait until nothing listens there, and tell how many jobs are live meanwhile."""
    before: int | None = None
    while True:
        try:
            queues = views(connection.read("/v1/queues"))
        except NoAnswer:
            return
        except Refused:
            queues = ()
        live = sum(queue.live for queue in queues)
        if live != before:
            output.say(f"{live:,} live job{'' if live == 1 else 's'}")
            before = live
        select.select([], [], [], LOOK_S)


def _line_of(told: Draining) -> str:
    jobs = f"{told.live:,} live job{'' if told.live == 1 else 's'}"
    return f"draining {jobs}, up to {told.drain_s:g} s; statuses are readable for {told.linger_s:g} s more"


def _arguments(parser: Parser) -> None:
    parser.add_argument("--wait", action="store_true", help="until the server has ended")
    add_flags(parser)


COMMANDS = (Command("", "Let the server finish its jobs and end, as SIGTERM does.", talking(drain), _arguments),)
