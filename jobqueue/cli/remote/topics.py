"""`jobqueue topics`: lists subscribers and listeners, publishes data, and prints what is published."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.output import compact, seen
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.terminal.table import Column
from jobqueue.cli.terminal.times import clock
from jobqueue.cli.terminal.visible import visible
from jobqueue.cli.values import assignment, duration, json_value

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.output import Output
    from jobqueue.client import TopicEvent

EVENT_LENGTH_MAX = 500
"""Characters of an event on a terminal."""


class Subscriber(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber, as far as it is shown."""

    name: str
    queue: str
    patterns: tuple[str, ...]
    delivered_total: int | None = None


class Listeners(msgspec.Struct, frozen=True):
    """The listeners of a pattern."""

    pattern: str
    count: int


class Topics(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a server."""

    subscribers: tuple[dict[str, object], ...]
    listeners: tuple[Listeners, ...] = ()
    published_total: int | None = None
    unheard_total: int | None = None

    @property
    def line(self) -> str:
        """The listeners and counts in words."""
        listeners = ", ".join(f"{each.count:,} of {visible(each.pattern, 50)}" for each in self.listeners[:10])
        parts = [
            f"published: {self.published_total:,}" if self.published_total is not None else "",
            f"without a subscriber: {self.unheard_total:,}" if self.unheard_total is not None else "",
            f"listeners: {listeners or 'none'}",
        ]
        return "; ".join(part for part in parts if part)


COLUMNS = (
    Column("subscriber", lambda subscriber: subscriber.name, cut=40),
    Column("queue", lambda subscriber: subscriber.queue, cut=32, drop=2),
    Column(
        "jobs",
        lambda subscriber: "" if subscriber.delivered_total is None else f"{subscriber.delivered_total:,}",
        right=True,
    ),
    Column("patterns", lambda subscriber: " ".join(subscriber.patterns), cut=100, flexible=True),
)


def listing(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print the subscribers."""
    topics: Topics = seen(connection.topics(), Topics)
    if not output.listing(topics.subscribers, COLUMNS, Subscriber, id="name"):
        output.say("no handler subscribes to topics")
    if output.is_table:
        output.line("")
        output.line(topics.line)
    return 0


def publish(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Publish data, and print its jobs."""
    data = dict(options.assignments) if options.assignments else options.data
    publication = connection.publish(
        options.topic, data, idempotency_key=options.idempotency_key, retry_for_s=options.retry_for
    )
    if output.form == "id":
        for job in publication.jobs:
            output.line(visible(job.id))
    elif output.is_table:
        for job in publication.jobs:
            output.line(visible(f"{job.id}  {job.type}", 200))
        if not publication.jobs:
            output.say("no handler subscribes to this topic")
    else:
        output.document(msgspec.to_builtins(publication))
    return 0


def listen(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print what is published until Ctrl-C; a server that restarts is waited for."""
    output.say(f"what is published to {visible(options.pattern, 200)}, from now on; Ctrl-C ends")
    for event in connection.listen(options.pattern, retry_for_s=math.inf if options.forever else 30.0):
        if output.is_table:
            output.line(line_of(event))
        elif output.form == "id":
            output.line(visible(event.id))
        else:
            output.document(msgspec.to_builtins(event))
        output.out.flush()
    return 0


def line_of(event: TopicEvent) -> str:
    """Return an event in one line."""
    if event.topic is None:
        return f"--:--:--  {visible(event.name, 20)}: some may be missed"
    at = "--:--:--" if event.at is None else clock(event.at)
    data = f"({event.omitted_bytes:,} bytes)" if event.omitted_bytes is not None else compact(event.data)
    return visible(f"{at}  {event.topic}  {data}", EVENT_LENGTH_MAX)


def completed(words: list[str]) -> list[str]:
    """Write `topics` as `topics list`."""
    first = words[0] if words else ""
    return ["list", *words] if not first or (first.startswith("-") and first not in ("-h", "--help")) else words


def _add_publish(parser: Parser) -> None:
    parser.intermixed = True
    parser.add_argument("topic", metavar="TOPIC", help="tokens joined by dots, such as order.paid")
    parser.add_argument(
        "assignments", nargs="*", default=[], type=assignment, metavar="NAME=VALUE", help="a member of the data"
    )
    parser.add_argument(
        "--data", type=json_value, metavar="JSON", help="all data: JSON, @FILE, or - for standard input (default: null)"
    )
    parser.add_argument(
        "--idempotency-key", metavar="KEY", help="a repeated publish with the same key makes no further jobs"
    )
    parser.add_argument(
        "--retry-for",
        type=duration,
        default=0.0,
        metavar="TIME",
        help="try again this long while the server rejects it",
    )
    add_flags(parser)


def _add_listen(parser: Parser) -> None:
    parser.add_argument("pattern", metavar="PATTERN", help="such as order.paid, 'order.*' or 'order.>', in quotes")
    parser.add_argument(
        "--forever", action="store_true", help="wait for a server that is away, however long (else 30 s)"
    )
    add_flags(parser)


COMMANDS = (
    Command("list", "List the subscribers and listeners: `jobqueue topics` is the same.", talking(listing), add_flags),
    Command("publish", "Publish data: one job for each subscriber, or none.", talking(publish), _add_publish),
    Command("listen", "Print what is published to the topics that match, from now on.", talking(listen), _add_listen),
)
